"""What the ranks of a run tell each other beside their gradients: small values, requests, and that
one has failed.

A star over TCP, with the first rank in its midst. It waits without a time limit (gloo's collectives
end after 30 s, whatever is asked for), an exchange takes a fraction of a millisecond (Paddle's own
store takes 45 to 90 ms an operation), and the connection of a rank that dies is closed by its
system at once, wherever it runs.
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

from vprtrain.errors import RunError

Json = Any
_SILENT = "it ended without a word (killed, or out of memory?)"
_HURRY_SECONDS = 0.2
_FAREWELL_SECONDS = 2.0
"""How long the hub waits for the others to have read what it told them last."""
_GREETING_SECONDS = 10.0
"""How long a connection may take to say the secret."""
_SILENCE_SECONDS = 30
"""After which a machine that does not answer counts as dead."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first rank that failed, and why, as far as that is known."""

    rank: int
    reason: str
    """In one line."""
    traceback: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} failed: {self.reason}"


class _Connection:
    """Lines of JSON in both directions; any thread may send."""

    def __init__(self, link: socket.socket) -> None:
        """Raises :class:`OSError` where the other end has reset the link."""
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_a_dead_machine(link)
        self._link = link
        self._reading: BinaryIO = link.makefile("rb")
        self._sending = threading.Lock()

    def send(self, **message: Json) -> None:
        """Send, or do nothing where the other end is gone: whoever reads from here hears of
        that."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            try:
                self._link.sendall(line)
            except OSError:
                self.end()

    def read_greeting(self) -> str:
        """The first line; empty where none comes in time."""
        self._link.settimeout(_GREETING_SECONDS)
        try:
            return self._reading.readline(200).decode(errors="replace").strip()
        except OSError:
            return ""
        finally:
            self._link.settimeout(None)

    def messages(self) -> Iterator[dict[str, Json]]:
        """What the other end sends, until it closes or is gone."""
        try:
            for line in self._reading:
                yield json.loads(line)
        except (OSError, ValueError):  # reset, or cut within a line
            return

    def end(self) -> None:
        """Send no more; what was sent still arrives."""
        try:
            self._link.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other end was faster


class Hub:
    """The first rank's: collects what each says, and tells all.

    Only connections that begin with the secret are listened to.
    """

    def __init__(self, *, size: int, host: str, secret: str) -> None:
        self._size = size
        self._secret = secret
        self._lock = threading.Lock()
        self._connections: dict[int, _Connection] = {}
        self._said: dict[int, Json] = {}
        self._left: set[int] = set()
        self._first_has_left = threading.Event()
        self._failure: Failure | None = None
        self._readers: list[threading.Thread] = []
        self._closing = False
        try:
            self._server = socket.create_server((host, 0), backlog=size)
        except OSError as error:
            raise RunError(
                f"the first rank cannot listen on {host} ({error}), which the launcher says it is"
            ) from error
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="hub", daemon=True).start()

    def close(self) -> None:
        """Tell all that the hub ends, after what the first rank said last; wait until they have
        read it."""
        self._first_has_left.wait(_FAREWELL_SECONDS)
        self._closing = True
        self._server.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        self._server.close()
        with self._lock:
            for connection in self._connections.values():
                connection.send(kind="closed")
                connection.end()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for reader in list(self._readers):
            reader.join(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                if self._closing:
                    return
                time.sleep(0.1)  # no file is to be had just now, or the other end has given up
                continue
            threading.Thread(
                target=self._greet, args=(link,), name="hub reader", daemon=True
            ).start()

    def _greet(self, link: socket.socket) -> None:
        try:
            connection = _Connection(link)
        except OSError:
            link.close()
            return
        secret, _, rank_text = connection.read_greeting().partition(" ")
        if (
            not hmac.compare_digest(secret.encode(), self._secret.encode())
            or not rank_text.isdigit()
        ):
            connection.end()
            return
        self._readers.append(threading.current_thread())
        self._listen(connection, int(rank_text))

    def _listen(self, connection: _Connection, rank: int) -> None:
        with self._lock:
            self._connections[rank] = connection
            if self._failure is not None:  # of a rank that was here earlier
                connection.send(kind="failure", **asdict(self._failure))
        for message in connection.messages():
            with self._lock:
                self._take(rank, message)
        with self._lock:
            if rank not in self._left:
                self._fail(Failure(rank=rank, reason=_SILENT))
        if rank == 0:
            self._first_has_left.set()

    def _take(self, rank: int, message: dict[str, Json]) -> None:
        match message:
            case {"kind": "value", "value": value}:
                self._said[rank] = value
            case {"kind": "attention"}:
                self._tell_all(kind="attention")
            case {"kind": "failed", "reason": reason, "traceback": traceback}:
                self._fail(Failure(rank=rank, reason=reason, traceback=traceback))
            case {"kind": "left"}:
                self._left.add(rank)
        if len(self._said) == self._size:
            self._tell_all(kind="values", values=[self._said[each] for each in range(self._size)])
            self._said = {}
        elif self._said and (missing := self._left - self._said.keys()):
            self._fail(Failure(rank=min(missing), reason="it ended while others wait for it"))

    def _fail(self, failure: Failure) -> None:
        if self._failure is None:
            self._failure = failure
            self._tell_all(kind="failure", **asdict(failure))

    def _tell_all(self, **message: Json) -> None:
        for connection in self._connections.values():
            connection.send(**message)


class Control:
    """A rank's end of the star.

    Args:
        address: where the hub listens.
        on_failure: called in another thread, once, when another rank has failed.

    Raises:
        RunError: the hub cannot be reached.
    """

    def __init__(
        self,
        *,
        rank: int,
        address: tuple[str, int],
        secret: str,
        on_failure: Callable[[Failure], None],
    ) -> None:
        self.rank = rank
        self.attention = False
        """Whether some rank has asked all to look up from what they do."""
        self.failure: Failure | None = None
        self._on_failure = on_failure
        self._answers: SimpleQueue[Sequence[Json] | None] = SimpleQueue()
        self._closed = False
        try:
            link = socket.create_connection(address)
            link.sendall(f"{secret} {rank}\n".encode())
            self._connection = _Connection(link)
        except OSError as error:
            raise RunError(
                f"rank {rank} cannot reach the first one at {address[0]}:{address[1]} ({error}): open all ports "
                "between the machines"
            ) from error
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    def exchange(self, value: Json, *, hurry: Callable[[], bool] = lambda: False) -> Sequence[Json]:
        """What every rank says, in their order; waits until all have, without attention to begin
        with after it.

        Args:
            hurry: asked now and then while this rank waits; once it is true, the others' attention
                is called.

        Raises:
            RunError: a rank has failed, or ended.
        """
        if self.failure is None:
            self._connection.send(kind="value", value=value)
            answer = self._wait(hurry)
            if answer is not None:
                return answer
        raise RunError(str(self.failure))

    def call_attention(self) -> None:
        """Ask all ranks, this one too, to look up. Not from a signal handler, which may have
        interrupted a sending."""
        self._connection.send(kind="attention")

    def fail(self, reason: str, traceback: str = "") -> None:
        """Tell all that this rank fails. Of several failures the first counts."""
        self._connection.send(kind="failed", reason=reason, traceback=traceback)

    def leave(self) -> None:
        """Say that this rank ends as it should."""
        self._closed = True
        self._connection.send(kind="left")
        self._connection.end()

    def _wait(self, hurry: Callable[[], bool]) -> Sequence[Json] | None:
        called = False
        while True:
            with suppress(Empty):
                return self._answers.get(timeout=_HURRY_SECONDS)
            if not called and hurry():
                called = True
                self.call_attention()

    def _listen(self) -> None:
        for message in self._connection.messages():
            match message:
                case {"kind": "values", "values": values}:
                    self.attention = False  # what it was called for before stands in the values
                    self._answers.put(values)
                case {"kind": "attention"}:
                    self.attention = True
                case {"kind": "failure", "rank": rank, "reason": reason, "traceback": traceback}:
                    self._take_failure(Failure(rank=rank, reason=reason, traceback=traceback))
                case {"kind": "closed"}:
                    self._closed = True
        reason = "it has ended" if self._closed else _SILENT
        self._take_failure(Failure(rank=0, reason=reason), expected=self._closed)
        self._connection.end()

    def _take_failure(self, failure: Failure, *, expected: bool = False) -> None:
        if self.failure is None:
            self.failure = failure
            self._answers.put(None)
            if failure.rank != self.rank and not expected:
                self._on_failure(failure)


def _notice_a_dead_machine(link: socket.socket) -> None:
    """A machine that loses power closes nothing; its silence is noticed after
    :data:`_SILENCE_SECONDS`."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # While something sent is not acknowledged, nothing is probed.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _SILENCE_SECONDS)
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 4),
    ):
        link.setsockopt(socket.IPPROTO_TCP, option, value)
