"""The control connections of a run: small values, requests for attention, and failures.

A star over TCP: rank 0 holds the :class:`vprtrain.ranks.hub.Hub`, and every rank, rank 0 included,
has a :class:`Control` connected to it. Compared with Paddle's own means:

- It waits without a time limit. A gloo collective fails after 30 s, whatever timeout is set.
- An exchange takes a fraction of a millisecond. An operation of Paddle's store takes 45 to 90 ms.
- When a rank dies, its operating system closes the connection at once, on any machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from vprtrain.errors import RunError
from vprtrain.ranks.connection import (
    MESSAGE_BYTES,
    NO_REASON,
    Connection,
    Failure,
    Json,
    MessageError,
)
from vprtrain.ranks.greeting import Address, join

_POLL_SECONDS = 0.2
_REASON_CHARACTERS = 10_000
_TRACEBACK_CHARACTERS = 100_000
"""What is sent of a failure, so that it never is too large to be sent."""


class Control:
    """One rank's connection to the hub.

    Args:
        size: the number of ranks.
        address: host and port of the hub.
        secret: the secret of the run. The hub must prove to know it, too.
        on_failure: called once, in another thread, when another rank has failed.

    Raises:
        RunError: the hub cannot be reached, refuses this rank, or does not know the secret.
    """

    def __init__(
        self,
        *,
        rank: int,
        size: int,
        address: Address,
        secret: bytes,
        on_failure: Callable[[Failure], None],
    ) -> None:
        self.rank = rank
        self.attention = False
        """Whether some rank has called for attention since the last exchange."""
        self.failure: Failure | None = None
        self._on_failure = on_failure
        self._answers: SimpleQueue[Sequence[Json] | None] = SimpleQueue()
        self._closed = False
        try:
            link = join(address, rank=rank, secret=secret)
            self._connection = Connection(link, receives=size * MESSAGE_BYTES, sends=MESSAGE_BYTES)
        except (OSError, ValueError) as error:  # ValueError: not a name of a host
            raise RunError(
                f"rank {rank} cannot reach rank 0 at {address[0]}:{address[1]} ({error}): open all "
                "ports between the machines"
            ) from error
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    def exchange(self, value: Json, *, hurry: Callable[[], bool] = lambda: False) -> Sequence[Json]:
        """Exchange a value with all ranks; waits until every rank has sent its own.

        :attr:`attention` is false after it.

        Args:
            value: this rank's value.
            hurry: polled while this rank waits. Once it returns true, attention is called.

        Returns:
            The values of all ranks, in rank order.

        Raises:
            RunError: a rank has failed or ended, or the value takes more than ``MESSAGE_BYTES``.
        """
        if self.failure is None:
            self._connection.send(kind="value", value=value)
            answer = self._wait(hurry)
            if answer is not None:
                return answer
        raise RunError(str(self.failure))

    def call_attention(self) -> None:
        """Set :attr:`attention` on all ranks, this one included.

        Not for signal handlers: one may have interrupted a send, which holds the lock.
        """
        self._connection.send(kind="attention")

    def fail(self, reason: str, traceback: str = "") -> None:
        """Tell all ranks that this one fails. Only the first of several failures counts."""
        self._connection.send(
            kind="failed",
            reason=reason[:_REASON_CHARACTERS],
            traceback=traceback[-_TRACEBACK_CHARACTERS:],
        )

    def leave(self) -> None:
        """Tell the hub that this rank ends normally."""
        self._closed = True
        self._connection.send(kind="left")
        self._connection.close_sending()

    def _wait(self, hurry: Callable[[], bool]) -> Sequence[Json] | None:
        called = False
        while True:
            with suppress(Empty):
                return self._answers.get(timeout=_POLL_SECONDS)
            if not called and hurry():
                called = True
                self.call_attention()

    def _listen(self) -> None:
        reason = NO_REASON
        try:
            for message in self._connection.messages():
                match message:
                    case {"kind": "values", "values": list(values)}:
                        self.attention = False  # the values answer every earlier call
                        self._answers.put(values)
                    case {"kind": "attention"}:
                        self.attention = True
                    case {
                        "kind": "failure",
                        "rank": int(rank),
                        "reason": str(text),
                        "traceback": str(traceback),
                    }:
                        self._set_failure(Failure(rank=rank, reason=text, traceback=traceback))
                    case {"kind": "closed"}:
                        self._closed = True
                    case _:
                        raise MessageError("it sent a message of an unknown kind")
        except MessageError as error:
            reason = str(error)
        if self._closed:
            reason = "it has ended"
        self._set_failure(Failure(rank=0, reason=reason), expected=self._closed)
        self._connection.cut()

    def _set_failure(self, failure: Failure, *, expected: bool = False) -> None:
        if self.failure is None:
            self.failure = failure
            self._answers.put(None)
            if failure.rank != self.rank and not expected:
                self._on_failure(failure)
