"""The centre of the control connections, in rank 0 (see :mod:`vprtrain.ranks.control`)."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import asdict

from vprtrain.errors import RunError
from vprtrain.ranks.admission import Admission
from vprtrain.ranks.connection import (
    MESSAGE_BYTES,
    NO_REASON,
    Connection,
    Failure,
    Json,
    MessageError,
)
from vprtrain.ranks.greeting import JOIN_SECONDS

CLOSE_SECONDS = 2.0
"""How long a closing hub waits until the ranks have read its last messages."""


class Hub:
    """The centre of the star: receives the messages of each rank, and answers to all.

    Args:
        size: the number of ranks.
        host: the address to listen on; the port is chosen by the system.
        secret: what every :class:`Control` must prove to know.

    Raises:
        RunError: ``host`` is not an address of this machine.
    """

    def __init__(self, *, size: int, host: str, secret: bytes) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._values: dict[int, Json] = {}
        self._leavers: set[int] = set()
        self._rank_0_left = threading.Event()
        self._failure: Failure | None = None
        self._readers: list[threading.Thread] = []
        try:
            # With a short backlog, strangers that connect in great numbers keep a rank waiting.
            server = socket.create_server((host, 0), backlog=1024)
        except OSError as error:
            raise RunError(
                f"rank 0 cannot listen on {host} ({error}), the address that the launcher gave it: "
                "check the endpoints of the launch"
            ) from error
        self.port: int = server.getsockname()[1]
        self._admission = Admission(
            server=server,
            address=(host, self.port),
            secret=secret,
            size=size,
            admit=self._admit,
            miss=self._miss,
        )

    def close(self) -> None:
        """Tell all ranks that the hub ends, after the last message of rank 0.

        Waits until they have read it, :data:`CLOSE_SECONDS` at most.
        """
        self._rank_0_left.wait(CLOSE_SECONDS)
        self._admission.close()
        with self._lock:
            for connection in self._connections.values():
                connection.send(kind="closed")
                connection.close_sending()
        deadline = time.monotonic() + CLOSE_SECONDS
        for reader in list(self._readers):
            reader.join(timeout=max(0.0, deadline - time.monotonic()))

    def _admit(self, rank: int, link: socket.socket) -> None:
        try:
            connection = Connection(link, receives=MESSAGE_BYTES, sends=self._size * MESSAGE_BYTES)
        except OSError:  # reset
            with self._lock:
                self._fail(Failure(rank=rank, reason=NO_REASON))
            return
        reader = threading.Thread(
            target=self._listen, args=(rank, connection), name=f"hub reader {rank}", daemon=True
        )
        self._readers.append(reader)
        reader.start()

    def _miss(self, ranks: list[int]) -> None:
        reason = (
            f"it has not connected within {JOIN_SECONDS:.0f} s (did it start, and is "
            "VPRTRAIN_SECRET the same on all machines?)"
        )
        with self._lock:
            self._fail(Failure(rank=ranks[0], reason=reason))

    def _listen(self, rank: int, connection: Connection) -> None:
        with self._lock:
            self._connections[rank] = connection
            if self._failure is not None:  # before this rank connected
                connection.send(kind="failure", **asdict(self._failure))
        try:
            for message in connection.messages():
                with self._lock:
                    self._handle(rank, message)
        except MessageError as error:
            with self._lock:
                self._fail(Failure(rank=rank, reason=str(error)))
            connection.cut()
        with self._lock:
            if rank not in self._leavers:
                self._fail(Failure(rank=rank, reason=NO_REASON))
        if rank == 0:
            self._rank_0_left.set()

    def _handle(self, rank: int, message: dict[str, Json]) -> None:
        match message:
            case {"kind": "value", "value": value}:
                self._values[rank] = value
            case {"kind": "attention"}:
                self._send_all(kind="attention")
            case {"kind": "failed", "reason": str(reason), "traceback": str(traceback)}:
                self._fail(Failure(rank=rank, reason=reason, traceback=traceback))
            case {"kind": "left"}:
                self._leavers.add(rank)
            case _:
                raise MessageError("it sent a message of an unknown kind")
        if len(self._values) == self._size:
            self._send_all(kind="values", values=[self._values[each] for each in range(self._size)])
            self._values = {}
        elif self._values and (missing := self._leavers - self._values.keys()):
            reason = "it ended while other ranks were waiting for it"
            self._fail(Failure(rank=min(missing), reason=reason))

    def _fail(self, failure: Failure) -> None:
        if self._failure is None:
            self._failure = failure
            self._send_all(kind="failure", **asdict(failure))

    def _send_all(self, **message: Json) -> None:
        for connection in self._connections.values():
            connection.send(**message)
