"""What stands before every route: who may call, what is logged and counted, and the headers of
every answer."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vprtrain.serving.metrics import Metrics
from vprtrain.serving.problems import ProblemError
from vprtrain.serving.settings import ServerSettings, is_loopback

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect", "worker")),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PROTECTED = ("/v1/", "/metrics")


class Guard:
    """An ASGI application around the service's.

    A page of another site is refused by its ``Origin``; browsers send it with every request that
    could change something. Without tokens, so is another name of this machine in ``Host``, because
    a stranger's name may lead to it (DNS rebinding). Then a token is asked for. A WebSocket may
    bring its token later, so it is let through with ``scope["caller"]`` ``None``.

    A log line has the route, not the path, whose names are of users.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self._require_own_site(headers)
        except ProblemError as problem:
            log.info("a stream is refused: %s", problem)
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["caller"] = self._caller(headers)
        await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, started, status = Headers(scope=scope), time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._require_own_site(headers)
            scope["caller"] = self._caller(headers)
            if scope["caller"] is None and scope["path"].startswith(_PROTECTED):
                raise wrong_token("authorization" in headers)
        except ProblemError as problem:
            await problem.response()(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = scope["route"].path if "route" in scope else "none"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            log.debug("%s %s: %d in %.0f ms", scope["method"], route, status, 1000 * seconds)

    def _require_own_site(self, headers: Headers) -> None:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or "" if "@" not in host else ""
        if self._settings.tokens is None and not is_loopback(name):
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"the host is {host[:80]!r}; without tokens only localhost is served",
            )
        origin = headers.get("origin")
        if origin not in (None, *self._settings.origins) and urlsplit(origin).netloc != host:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "pages of other sites may not call this service (--allow_origin names those that "
                "may)",
            )

    def _caller(self, headers: Headers) -> str | None:
        """The label of the request's token; ``None`` if there is no right one."""
        if self._settings.tokens is None:
            return "anyone"
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self._settings.tokens.label(token.strip()) if scheme.lower() == "bearer" else None


def wrong_token(given: bool) -> ProblemError:
    """The refusal of a caller without a right token."""
    found = "the token is not one of this service's" if given else "there is no token"
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        f"{found}: expected the header 'Authorization: Bearer TOKEN'",
        headers={"WWW-Authenticate": "Bearer"},
    )
