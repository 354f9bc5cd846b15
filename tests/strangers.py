"""Connections to the hub by hand: those of strangers, and of a rank that sends what it should
not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from vprtrain.ranks.control import Control
from vprtrain.ranks.greeting import Address, Greeting
from vprtrain.ranks.hub import Hub

SECRET = b"the secret of the run"
LIMIT = 20.0  # seconds; far more than is needed


def address(hub: Hub) -> Address:
    return ("127.0.0.1", hub.port)


def connect(at: Address, rank: int, secret: bytes = SECRET, size: int = 2) -> Control:
    """The rank as a run connects it."""
    return Control(rank=rank, size=size, address=at, secret=secret, on_failure=lambda failure: None)


class Stranger:
    """A connection to ``at`` that has read the nonce."""

    def __init__(self, at: Address) -> None:
        self.link = socket.create_connection(at, timeout=LIMIT)
        self.reader = self.link.makefile("rb")
        self.at = at
        self.nonce = self.reader.readline().strip()

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def greeting(self, rank: int) -> Greeting:
        return Greeting(
            address=self.at, rank=rank, hub_nonce=self.nonce, rank_nonce=b"0123456789abcdef" * 2
        )

    def answer(self, rank: int, *, secret: bytes = SECRET, text: str | None = None) -> bytes:
        """The line that proves ``secret`` as ``rank``, which is written as ``text``."""
        greeting = self.greeting(rank)
        number = str(rank) if text is None else text
        proof = greeting.proof("rank", secret)
        return b"%s %s %s\n" % (number.encode(), greeting.rank_nonce, proof)

    def sends(self, data: bytes) -> bytes:
        """Send, and read until the connection ends; ``b""`` also after a reset."""
        try:
            self.link.sendall(data)
            return self.reader.read()
        except ConnectionError:
            return b""

    def enters(self, rank: int) -> None:
        """Become ``rank``."""
        self.link.sendall(self.answer(rank))
        assert self.reader.readline().strip() == self.greeting(rank).proof("hub", SECRET)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
