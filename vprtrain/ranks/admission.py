"""Who may connect to the hub: each rank of the run, once. The port is closed after that."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

from vprtrain.ranks.greeting import (
    JOIN_SECONDS,
    LINE_BYTES,
    REFUSAL,
    Address,
    checked_answer,
    new_nonce,
)

log = logging.getLogger(__name__)

MOST_UNPROVEN = 64
"""The most connections that have not proved the secret yet. Another one ends the oldest."""
GREETING_SECONDS = 10.0
"""How long one connection may take to prove the secret, from its first to its last byte."""


class Admission:
    """Accepts connections in one thread until every rank has proved that it knows the secret.

    Args:
        server: the listening socket, which this object closes.
        address: the address that the ranks connect to.
        size: the number of ranks.
        admit: called with each rank's number and connection, in the thread of this object.
        miss: called with the ranks that have not connected within ``JOIN_SECONDS``.
    """

    def __init__(
        self,
        *,
        server: socket.socket,
        address: Address,
        secret: bytes,
        size: int,
        admit: Callable[[int, socket.socket], None],
        miss: Callable[[list[int]], None],
    ) -> None:
        self._server = server
        self._address = address
        self._secret = secret
        self._missing = set(range(size))
        self._admit = admit
        self._miss = miss
        self._unproven: dict[socket.socket, _Unproven] = {}  # the oldest first
        self._selector = selectors.DefaultSelector()
        self._deadline: float | None = time.monotonic() + JOIN_SECONDS
        self._closing = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="admission", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Admit nobody more, and close the port."""
        self._closing = True
        with suppress(OSError):  # the port is closed already
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join(timeout=GREETING_SECONDS)

    def _run(self) -> None:
        with closing(self._selector), self._server:
            self._server.setblocking(False)
            self._selector.register(self._server, selectors.EVENT_READ)
            while self._missing and not self._closing:
                for key, _ in self._selector.select(self._end_late()):
                    if key.fileobj is self._server:
                        self._accept()
                    elif key.data.link in self._unproven:  # not ended by an accept in this round
                        self._read(key.data)
            for link in [*self._unproven]:
                self._end(link)

    def _end_late(self) -> float | None:
        """End connections that take too long, and report missing ranks.

        Returns:
            The seconds until this is due again; ``None`` if it is due for nothing.
        """
        now = time.monotonic()
        for link, unproven in [*self._unproven.items()]:
            if unproven.deadline <= now:
                self._end(link)
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None  # a rank may still connect: it learns of the failure
            self._miss(sorted(self._missing))
        deadlines = [each.deadline for each in self._unproven.values()]
        if self._deadline is not None:
            deadlines.append(self._deadline)
        return min(deadlines) - now if deadlines else None

    def _accept(self) -> None:
        try:
            link, _ = self._server.accept()
        except OSError:
            if not self._closing:
                # Out of file descriptors for the moment, or the other end has given up.
                self._end_oldest()
                time.sleep(0.1)
            return
        if len(self._unproven) >= MOST_UNPROVEN:
            self._end_oldest()
        link.setblocking(False)
        unproven = _Unproven(link)
        self._unproven[link] = unproven
        self._selector.register(link, selectors.EVENT_READ, unproven)
        self._send(link, unproven.nonce)

    def _read(self, unproven: _Unproven) -> None:
        link = unproven.link
        try:
            received = link.recv(LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset
            received = b""
        unproven.received += received
        if unproven.received.endswith(b"\n"):
            self._judge(unproven)
        elif not received or len(unproven.received) >= LINE_BYTES:
            self._end(link)

    def _judge(self, unproven: _Unproven) -> None:
        """Admit the connection as a rank, or refuse it."""
        link = unproven.link
        greeting = checked_answer(
            unproven.received[:-1],
            address=self._address,
            hub_nonce=unproven.nonce,
            secret=self._secret,
        )
        if greeting is None:
            if not self._warned:  # once: strangers must not fill the log
                log.warning("a connection to the port of the ranks did not prove their secret")
                self._warned = True
            self._refuse(link)
        elif greeting.rank not in self._missing:
            log.warning(
                "a second connection as rank %d, or one of a rank that the run does not have, was "
                "refused",
                greeting.rank,
            )
            self._refuse(link)
        else:
            self._forget(link)
            self._send(link, greeting.proof("hub", self._secret))
            link.setblocking(True)
            self._missing.remove(greeting.rank)
            self._admit(greeting.rank, link)

    def _refuse(self, link: socket.socket) -> None:
        self._send(link, REFUSAL)
        self._end(link)

    def _send(self, link: socket.socket, line: bytes) -> None:
        """Send a line to a socket whose buffer is empty."""
        with suppress(OSError):  # the other end is gone, which the next read notices
            link.send(line + b"\n")

    def _end_oldest(self) -> None:
        for link in [*self._unproven][:1]:
            self._end(link)

    def _end(self, link: socket.socket) -> None:
        self._forget(link)
        link.close()

    def _forget(self, link: socket.socket) -> None:
        del self._unproven[link]
        self._selector.unregister(link)


class _Unproven:
    """A connection that has not proved the secret yet."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.nonce = new_nonce()
        self.deadline = time.monotonic() + GREETING_SECONDS
        self.received = b""
