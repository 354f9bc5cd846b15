"""Requests to the loop: from callbacks, from other threads, from signal handlers."""

from __future__ import annotations

import threading


class Interrupted(BaseException):
    """Raised inside a wait for data when a stop is requested there. Never leaves the loop."""


class Requests:
    """What has been asked for and not yet been done. The loop looks only where the contract says so."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.validation = False
        self.end_validation = False
        self.commit_tags: list[str] = []
        self.waiting_for_data = _Wait(self)
        """A context around a wait for data: a stop requested before or inside it ends it with :class:`Interrupted`."""

    @property
    def pending(self) -> bool:
        """Whether anything is asked for that is done between two steps."""
        return self.stop_reason is not None or self.validation or bool(self.commit_tags)

    def stop(self, reason: str) -> None:
        """Ask the loop to commit and leave; the first reason stands.

        Called in the thread that waits for data (as a signal handler is), it ends the wait at once:
        nothing is in flight there, so the position stays what it was.
        """
        if self.stop_reason is None:
            self.stop_reason = reason
        self.waiting_for_data.interrupt()


class _Wait:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._thread: int | None = None

    def __enter__(self) -> None:
        self._thread = threading.get_ident()
        if self._requests.stop_reason is not None:
            self.interrupt()

    def __exit__(self, *_: object) -> None:
        self._thread = None

    def interrupt(self) -> None:
        """End the wait if this is the thread that waits: a signal handler runs in it, whatever it waits for."""
        if self._thread == threading.get_ident():
            self._thread = None
            raise Interrupted
