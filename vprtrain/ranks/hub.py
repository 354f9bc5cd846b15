"""The centre of the control connections, in rank 0 (see :mod:`vprtrain.ranks.control`)."""

from __future__ import annotations

import hmac
import socket
import threading
import time
from dataclasses import asdict

from vprtrain.errors import RunError
from vprtrain.ranks.connection import NO_REASON, Connection, Failure, Json

CLOSE_SECONDS = 2.0
"""How long a closing hub waits until the ranks have read its last messages."""


class Hub:
    """The centre of the star: receives the messages of each rank, and answers to all.

    Connections that do not begin with the secret are closed.

    Args:
        size: the number of ranks.
        host: the address to listen on; the port is chosen by the system.
        secret: what every :class:`Control` must send first.

    Raises:
        RunError: ``host`` is not an address of this machine.
    """

    def __init__(self, *, size: int, host: str, secret: str) -> None:
        self._size = size
        self._secret = secret
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._values: dict[int, Json] = {}
        self._leavers: set[int] = set()
        self._rank_0_left = threading.Event()
        self._failure: Failure | None = None
        self._readers: list[threading.Thread] = []
        self._closing = False
        try:
            self._server = socket.create_server((host, 0), backlog=size)
        except OSError as error:
            raise RunError(
                f"rank 0 cannot listen on {host} ({error}), the address that the launcher gave it: "
                "check the endpoints of the launch"
            ) from error
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="hub", daemon=True).start()

    def close(self) -> None:
        """Tell all ranks that the hub ends, after the last message of rank 0.

        Waits until they have read it, :data:`CLOSE_SECONDS` at most.
        """
        self._rank_0_left.wait(CLOSE_SECONDS)
        self._closing = True
        self._server.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self._server.close()
        with self._lock:
            for connection in self._connections.values():
                connection.send(kind="closed")
                connection.close_sending()
        deadline = time.monotonic() + CLOSE_SECONDS
        for reader in list(self._readers):
            reader.join(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                if self._closing:
                    return
                # Out of file descriptors for the moment, or the other end has given up.
                time.sleep(0.1)
                continue
            threading.Thread(
                target=self._greet, args=(link,), name="hub reader", daemon=True
            ).start()

    def _greet(self, link: socket.socket) -> None:
        try:
            connection = Connection(link)
        except OSError:
            link.close()
            return
        secret, _, rank_text = connection.read_greeting().partition(" ")
        if (
            not hmac.compare_digest(secret.encode(), self._secret.encode())
            or not rank_text.isdigit()
        ):
            connection.close_sending()
            return
        self._readers.append(threading.current_thread())
        self._listen(connection, int(rank_text))

    def _listen(self, connection: Connection, rank: int) -> None:
        with self._lock:
            self._connections[rank] = connection
            if self._failure is not None:  # before this rank connected
                connection.send(kind="failure", **asdict(self._failure))
        for message in connection.messages():
            with self._lock:
                self._handle(rank, message)
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
            case {"kind": "failed", "reason": reason, "traceback": traceback}:
                self._fail(Failure(rank=rank, reason=reason, traceback=traceback))
            case {"kind": "left"}:
                self._leavers.add(rank)
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
