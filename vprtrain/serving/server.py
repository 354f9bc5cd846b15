"""The process that serves."""

from __future__ import annotations

import logging
import socket
import ssl

import uvicorn
from starlette.types import ASGIApp

from vprtrain.errors import UsageError
from vprtrain.serving.connections import impatient
from vprtrain.serving.settings import ServerSettings

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 1024
_MOST_MESSAGE = 1 << 20
"""Bytes of a message of a WebSocket"""


def run_server(app: ASGIApp, settings: ServerSettings, *, time_limit: float) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs.

    Args:
        app: the service.
        settings: where it listens.
        time_limit: seconds that requests have to finish after a signal, and that a connection may
            last without a request.

    Raises:
        UsageError: the address cannot be used, or the TLS files cannot be read.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=impatient(time_limit),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=round(time_limit),
            ws_max_size=_MOST_MESSAGE,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
            lifespan="off",
        )
    )
    try:
        server.config.load()
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"{settings.certificate} and {settings.key} cannot be used for TLS ({error}): expected "
            "a certificate and its key in PEM"
        ) from error
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every wrong byte
    listening = listen(settings)
    scheme = "http" if settings.certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    log.info("serving on %s://%s:%d", scheme, host, listening.getsockname()[1])
    server.run(sockets=[listening])


def listen(settings: ServerSettings) -> socket.socket:
    """The socket that waits for connections.

    Raises:
        UsageError: the address cannot be used.
    """
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened on ({error}): choose another --host or --port"
        ) from error
    # Its connections inherit this. asyncio sets it only on sockets that name TCP as their protocol,
    # and without it an answer's body waits 40 ms for the acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
