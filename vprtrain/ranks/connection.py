"""One control connection between two ranks, and the report of a failure that it may carry."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from vprtrain.errors import RunError

Json = Any
"""Any value that :mod:`json` can encode."""

NO_REASON = "it ended without giving a reason (killed, or out of memory?)"
MESSAGE_BYTES = 16 * 2**20
"""The most bytes of a message of one rank. The hub's answer may have as many for each rank."""
_NESTING = 32
"""The most levels of lists and objects in a message."""
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


class MessageError(Exception):
    """What the other end sent is not a message of this program, told in one line."""


class Connection:
    """Lines of JSON in both directions. Any thread may send.

    Args:
        link: proved to lead to another rank of the run.
        receives: the most bytes of a message that is received.
        sends: the most bytes of a message that is sent.

    Raises:
        OSError: the other end has reset the connection.
    """

    def __init__(self, link: socket.socket, *, receives: int, sends: int) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _detect_dead_machine(link)
        self._link = link
        self._reader: BinaryIO = link.makefile("rb")
        self._receives = receives
        self._sends = sends
        self._send_lock = threading.Lock()

    def send(self, **message: Json) -> None:
        """Send a message; do nothing if the other end is gone, which :meth:`messages` notices.

        Raises:
            RunError: the message is too large.
        """
        line = json.dumps(message).encode() + b"\n"
        if len(line) > self._sends:
            raise RunError(
                f"a value of {len(line)} bytes is too large to be exchanged between the ranks: "
                f"{self._sends} is the most"
            )
        with self._send_lock:
            try:
                self._link.sendall(line)
            except OSError:
                self.close_sending()

    def messages(self) -> Iterator[dict[str, Json]]:
        """The messages of the other end, until it closes the connection or is gone.

        Raises:
            MessageError: what it sent is too large, or not an object of JSON.
        """
        while True:
            try:
                line = self._reader.readline(self._receives)
            except OSError:  # reset
                return
            if not line.endswith(b"\n"):
                if len(line) == self._receives:
                    raise MessageError(f"it sent a message of more than {self._receives} bytes")
                return  # the connection ended, perhaps within a message
            yield decode(line)

    def close_sending(self) -> None:
        """Send nothing more. Messages already sent still arrive."""
        with suppress(OSError):  # the other end has closed the connection already
            self._link.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End the connection in both directions, whatever the other end still sends."""
        with suppress(OSError):  # the other end has closed the connection already
            self._link.shutdown(socket.SHUT_RDWR)


def decode(line: bytes) -> dict[str, Json]:
    """The message in a line.

    Raises:
        MessageError: the line is not an object of JSON, or is nested too deeply.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"it sent a message that is not JSON ({type(error).__name__})") from None
    # Counting is fast. Brackets within strings count too, so the count alone proves nothing.
    if line.count(b"[") + line.count(b"{") > _NESTING and not _is_shallow(message, _NESTING):
        raise MessageError(f"it sent a message of more than {_NESTING} nested levels")
    if not isinstance(message, dict):
        raise MessageError("it sent a message that is not an object of JSON")
    return message


def _is_shallow(value: Json, levels: int) -> bool:
    """Whether lists and objects are nested in at most ``levels`` levels."""
    if not isinstance(value, list | dict):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts)


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
