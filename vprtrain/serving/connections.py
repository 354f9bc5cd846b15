"""Connections of clients that are slow on purpose."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection on which no request arrives within ``patience`` seconds.

    uvicorn waits without an end for the rest of a request's head, and for the rest of a body that
    was answered before it came. Such connections would take the places of all others. Not counted
    is the time in which a request is served, whose body has a time limit of its own. After an
    upgrade to a WebSocket the connection is another protocol's.
    """

    patience = 30.0
    """Seconds. A connection is looked at as often, so it may last twice as long."""
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self.patience, self._close_if_idle, self.cycle)

    def _close_if_idle(self, before: Any) -> None:
        """Close the connection unless there was another request than at the last look."""
        if self.transport.get_protocol() is not self:  # a WebSocket
            return
        is_served = self.cycle is not None and not self.cycle.response_complete
        if self.cycle is before and not is_served:
            self.transport.abort()
        else:
            self._look_later()


def impatient(patience: float) -> type[ImpatientProtocol]:
    """The protocol with another patience, in seconds."""
    return type("ImpatientProtocol", (ImpatientProtocol,), {"patience": patience})
