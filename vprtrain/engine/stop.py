"""Requests to the loop: from callbacks, from other threads, from signal handlers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple


class Interrupted(BaseException):
    """Raised inside a wait for data when a stop is requested there. Never leaves the loop."""


class Pending(NamedTuple):
    """The requests that the loop serves between two steps."""

    stop: str | None = None
    """The reason to stop."""
    validation: bool = False
    commit: bool = False

    @classmethod
    def merge(cls, all_ranks: Sequence[Pending]) -> Pending:
        """What at least one rank requests; of several reasons to stop, that of the lowest rank."""
        reasons, validations, commits = zip(*all_ranks, strict=True)
        return cls(next(filter(None, reasons), None), any(validations), any(commits))


class Requests:
    """What was requested and is not done yet. The loop looks only where the contract says so."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.validation = False
        self.end_validation = False
        self.commit_tags: list[str] = []
        self.waiting_for_data = _Wait(self)
        """A context around a wait for data. A stop requested before or inside it raises
        :class:`Interrupted`."""

    @property
    def any_pending(self) -> bool:
        """Whether the loop has a request to serve between two steps."""
        return self.stop_reason is not None or self.validation or bool(self.commit_tags)

    @property
    def ends_validation(self) -> bool:
        """Whether a request ends the validation in progress."""
        return self.end_validation or self.stop_reason is not None

    def pending(self) -> Pending:
        """The requests of this process now."""
        return Pending(self.stop_reason, self.validation, bool(self.commit_tags))

    def stop(self, reason: str) -> None:
        """Request a commit and the end of the run. The first reason stays.

        In the thread that waits for data (where signal handlers run) this ends the wait at once:
        no batch has been taken from the iterator, so the position does not change.
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
        """End the wait if the calling thread is the one that waits, as in a signal handler."""
        if self._thread == threading.get_ident():
            self._thread = None
            raise Interrupted
