"""How much the service does at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from vprtrain.serving.problems import ProblemError

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_RETRY_AFTER = 1
"""Seconds"""


class Admission:
    """A bounded number of places, and of threads that work for those who have one.

    Nobody waits for a place: the client is asked to come again. Only the event loop's thread may
    use this.

    Args:
        places: that are given at once.
        threads: that work at once.
        what: takes the places, for the message.
    """

    def __init__(self, *, places: int, threads: int, what: str) -> None:
        self._places, self._what = places, what
        self._threads = anyio.CapacityLimiter(threads)
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for as long as the context lasts.

        Raises:
            ProblemError: all places are taken.
        """
        if self.taken == self._places:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._places} {self._what} are served at once, and all places are taken: "
                f"try again after {_RETRY_AFTER} s",
                kind="run",
                headers={"Retry-After": str(_RETRY_AFTER)},
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(
        self, function: Callable[_P, _Result], *args: _P.args, **options: _P.kwargs
    ) -> _Result:
        """The result of a function that takes its time, called in a thread."""
        return await anyio.to_thread.run_sync(
            partial(function, *args, **options), limiter=self._threads
        )
