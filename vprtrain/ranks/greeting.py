"""How a rank and the hub prove to each other that they know the secret, before any message.

::

    hub  -> rank   NONCE
    rank -> hub    RANK NONCE PROOF
    hub  -> rank   PROOF, or "refused"

A proof is an HMAC-SHA256 of the side, the hub's address, the rank and both nonces. It is worthless
in another connection (nonces), in the other direction (side), and in the hands of a stranger who
lets the rank connect to himself and passes everything on (address). The secret itself is not sent.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Literal

from vprtrain.errors import RunError

JOIN_SECONDS = 120.0
"""How long all ranks together may take to connect, from the start of the hub."""
LINE_BYTES = 200
"""The most bytes of one line of a greeting."""
REFUSAL = b"refused"
_RETRY_SECONDS = 0.1
_NONCE = re.compile(rb"[0-9a-f]{32}")
_ANSWER = re.compile(
    rb"(?P<rank>0|[1-9][0-9]{0,8}) (?P<nonce>[0-9a-f]{32}) (?P<proof>[0-9a-f]{64})"
)

Address = tuple[str, int]
"""Host and port."""


class RefusedError(RunError):
    """The other end does not know the secret, or refused this rank."""


class EndedError(Exception):
    """The other end closed the connection within the greeting."""


def new_nonce() -> bytes:
    """A number that is used in one greeting only."""
    return secrets.token_hex(16).encode()


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What the proofs of one connection are made of."""

    address: Address
    """The hub's, as the ranks know it."""
    rank: int
    hub_nonce: bytes
    rank_nonce: bytes

    def proof(self, side: Literal["hub", "rank"], secret: bytes) -> bytes:
        """What the named side sends to prove that it knows the secret."""
        host, port = self.address
        text = f"{side} {host} {port} {self.rank} ".encode() + self.hub_nonce + self.rank_nonce
        return hmac.new(secret, text, "sha256").hexdigest().encode()

    def proves(self, proof: bytes, side: Literal["hub", "rank"], secret: bytes) -> bool:
        """Whether ``proof`` is that of the named side."""
        return hmac.compare_digest(proof, self.proof(side, secret))


def checked_answer(
    line: bytes, *, address: Address, hub_nonce: bytes, secret: bytes
) -> Greeting | None:
    """The greeting that a rank answers the hub's nonce with.

    ``None`` if the line is malformed or does not prove the secret.
    """
    found = _ANSWER.fullmatch(line)
    if found is None:
        return None
    greeting = Greeting(
        address=address, rank=int(found["rank"]), hub_nonce=hub_nonce, rank_nonce=found["nonce"]
    )
    return greeting if greeting.proves(found["proof"], "rank", secret) else None


def join(address: Address, *, rank: int, secret: bytes) -> socket.socket:
    """Connect to the hub as ``rank``, and prove the secret to each other.

    Connects again if the hub ends the greeting, as it may while strangers connect in great numbers.

    Raises:
        OSError: the hub cannot be reached, or does not answer within :data:`JOIN_SECONDS`.
        RefusedError: the hub does not know the secret, or refuses this rank.
    """
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        link = socket.create_connection(address, timeout=JOIN_SECONDS)
        try:
            _greet(link, address, rank, secret, deadline)
            link.settimeout(None)
            return link
        except (EndedError, ConnectionError) as error:
            link.close()
            if time.monotonic() + _RETRY_SECONDS > deadline:
                raise _refused(rank) from error
            time.sleep(_RETRY_SECONDS)
        except BaseException:
            link.close()
            raise


def _greet(
    link: socket.socket, address: Address, rank: int, secret: bytes, deadline: float
) -> None:
    hub_nonce = _read_line(link, deadline)
    if not _NONCE.fullmatch(hub_nonce):
        raise _refused(rank)
    greeting = Greeting(address=address, rank=rank, hub_nonce=hub_nonce, rank_nonce=new_nonce())
    proof = greeting.proof("rank", secret)
    link.sendall(b"%d %s %s\n" % (rank, greeting.rank_nonce, proof))
    if not greeting.proves(_read_line(link, deadline), "hub", secret):
        raise _refused(rank)


def _refused(rank: int) -> RefusedError:
    return RefusedError(
        f"rank 0 and rank {rank} do not share a secret, or rank 0 refused this rank, as its log "
        "then says: VPRTRAIN_SECRET must be the same on all machines"
    )


def _read_line(link: socket.socket, deadline: float) -> bytes:
    """A line without its end. Reads no byte after it: messages may follow."""
    line = b""
    while len(line) < LINE_BYTES:
        link.settimeout(max(0.001, deadline - time.monotonic()))
        byte = link.recv(1)
        if byte == b"\n":
            return line
        if not byte:
            raise EndedError
        line += byte
    return line
