"""Requests to the loop: from callbacks, from other threads, from signal handlers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple


class Interrupted(BaseException):
    """Raised inside a wait for data when a stop is requested there. Never leaves the loop."""


class Asked(NamedTuple):
    """What is to be done between two steps, by all ranks alike."""

    stop: str | None = None
    """The reason to stop."""
    validation: bool = False
    commit: bool = False

    @classmethod
    def by_any(cls, all_ranks: Sequence[Asked]) -> Asked:
        """What at least one of them asks for; the first one's reason to stop."""
        reasons, validations, commits = zip(*all_ranks, strict=True)
        return cls(next(filter(None, reasons), None), any(validations), any(commits))


class Requests:
    """What has been asked for and not yet been done. The loop looks only where the contract says
    so."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.validation = False
        self.end_validation = False
        self.commit_tags: list[str] = []
        self.waiting_for_data = _Wait(self)
        """A context around a wait for data: a stop requested before or inside it ends it with
        :class:`Interrupted`."""

    @property
    def pending(self) -> bool:
        """Whether anything is asked for that is done between two steps."""
        return self.stop_reason is not None or self.validation or bool(self.commit_tags)

    @property
    def ending_validation(self) -> bool:
        """Whether anything asked for ends the validation under way."""
        return self.end_validation or self.stop_reason is not None

    def asked(self) -> Asked:
        """What is asked for now, in this process."""
        return Asked(self.stop_reason, self.validation, bool(self.commit_tags))

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
        """End the wait if this is the thread that waits: a signal handler runs in it, whatever it
        waits for."""
        if self._thread == threading.get_ident():
            self._thread = None
            raise Interrupted
