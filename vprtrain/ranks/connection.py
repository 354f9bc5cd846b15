"""One control connection between two ranks, and the report of a failure that it may carry."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

Json = Any
"""Any value that :mod:`json` can encode."""

NO_REASON = "it ended without giving a reason (killed, or out of memory?)"
_GREETING_SECONDS = 10.0
"""How long a new connection may take to send the secret."""
_SILENCE_SECONDS = 30
"""A machine that is silent for this time counts as dead."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first rank that failed, and the reason if it is known."""

    rank: int
    reason: str
    """One line."""
    traceback: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} failed: {self.reason}"


class Connection:
    """Lines of JSON in both directions. Any thread may send."""

    def __init__(self, link: socket.socket) -> None:
        """Raises: OSError: the other end has reset the connection."""
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _detect_dead_machine(link)
        self._link = link
        self._reader: BinaryIO = link.makefile("rb")
        self._send_lock = threading.Lock()

    def send(self, **message: Json) -> None:
        """Send a message; do nothing if the other end is gone, which :meth:`messages` notices."""
        line = json.dumps(message).encode() + b"\n"
        with self._send_lock:
            try:
                self._link.sendall(line)
            except OSError:
                self.close_sending()

    def read_greeting(self) -> str:
        """The first line; empty if none arrives in time."""
        self._link.settimeout(_GREETING_SECONDS)
        try:
            return self._reader.readline(200).decode(errors="replace").strip()
        except OSError:
            return ""
        finally:
            self._link.settimeout(None)

    def messages(self) -> Iterator[dict[str, Json]]:
        """The messages of the other end, until it closes the connection or is gone."""
        try:
            for line in self._reader:
                yield json.loads(line)
        except (OSError, ValueError):  # reset, or cut off within a line
            return

    def close_sending(self) -> None:
        """Send nothing more. Messages already sent still arrive."""
        try:
            self._link.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other end has closed the connection already


def _detect_dead_machine(link: socket.socket) -> None:
    """Close the connection to a machine that is silent for :data:`_SILENCE_SECONDS`.

    A machine that loses power closes nothing itself.
    """
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Keep-alive sends no probes while sent data is unacknowledged; this limit covers that case.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _SILENCE_SECONDS)
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 4),
    ):
        link.setsockopt(socket.IPPROTO_TCP, option, value)
