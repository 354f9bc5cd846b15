"""How the ranks of a launch find rank 0 and connect to it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Protocol

from vprtrain.errors import RunError, UsageError
from vprtrain.ranks.connection import Failure
from vprtrain.ranks.control import Control
from vprtrain.ranks.hub import Hub
from vprtrain.ranks.secret import shared_secret_file

PORT_KEY = "vprtrain/port"
SECRET_FILE_KEY = "vprtrain/secret_file"


class Store(Protocol):
    """Paddle's store. Anybody who reaches its port can read and change what is in it."""

    def set(self, key: str, value: str, /) -> None:
        """Set a value."""

    def get(self, key: str, /) -> bytes:
        """The value of a key; waits for it."""


def rank_hosts(size: int) -> list[str]:
    """The host of each of ``size`` ranks, in rank order, as the launcher tells it.

    Raises:
        UsageError: it does not.
    """
    endpoints = [each for each in os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",") if each]
    if len(endpoints) != size:
        raise UsageError(
            f"PADDLE_TRAINER_ENDPOINTS has {len(endpoints)} addresses for {size} ranks: start the "
            "ranks with `vprtrain launch`"
        )
    return [endpoint.rpartition(":")[0] for endpoint in endpoints]


@contextmanager
def meet(
    store: Store,
    *,
    rank: int,
    hosts: Sequence[str],
    secret: bytes | None,
    on_failure: Callable[[Failure], None],
) -> Iterator[tuple[Hub | None, Control]]:
    """Start the hub in rank 0, and connect to it.

    A rank must not leave the block before all ranks are in it. The host of the hub is that of the
    launcher, so that nobody can lead the ranks elsewhere; its port is in the store.

    Args:
        hosts: the host of each rank. If all are the same, the hub is open to this machine only.
        secret: the secret of the run. With ``None`` rank 0 makes one for the ranks of its machine.
        on_failure: see :class:`Control`.

    Raises:
        RunError: the hub cannot be started or reached, or the two do not share the secret.
    """
    sharing = (
        nullcontext(secret)
        if secret is not None
        else shared_secret_file(
            first=rank == 0,
            tell=partial(store.set, SECRET_FILE_KEY),
            ask=partial(store.get, SECRET_FILE_KEY),
        )
    )
    host = hosts[0] if len(set(hosts)) > 1 else "127.0.0.1"
    with sharing as shared:
        hub = None
        if rank == 0:
            hub = Hub(size=len(hosts), host=host, secret=shared)
            store.set(PORT_KEY, str(hub.port))
        control = Control(
            rank=rank,
            size=len(hosts),
            address=(host, _port(store.get(PORT_KEY))),
            secret=shared,
            on_failure=on_failure,
        )
        yield hub, control


def _port(value: bytes) -> int:
    """The port of the hub in a value of the store."""
    if not re.fullmatch(rb"[0-9]{1,5}", value) or not 0 < int(value) < 65_536:
        raise RunError(
            f"the port of rank 0 in Paddle's store is {value[:20]!r}: another program changed it"
        )
    return int(value)
