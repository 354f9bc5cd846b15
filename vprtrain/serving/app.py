"""The service as an ASGI application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi

from vprtrain.serving.admission import Admission
from vprtrain.serving.conversations import conversation_routes
from vprtrain.serving.guard import Guard
from vprtrain.serving.operation import operation_routes
from vprtrain.serving.page_files import page_routes
from vprtrain.serving.problems import report_problems
from vprtrain.serving.recognizer import Recognizer
from vprtrain.serving.schemas import ProblemDetails
from vprtrain.serving.settings import ServerSettings
from vprtrain.serving.streaming import stream_routes
from vprtrain.serving.users import user_routes
from vprtrain.serving.voices import voice_routes
from vprtrain.version import __version__

_DESCRIPTION = (
    "Compare, enrol and recognise voices, and find who speaks when. Recordings come as the body, "
    "as files of a form, or in base64 as JSON, in any format. `/v1/stream` is a WebSocket."
)
_THREADS = 16
"""That work on requests at once: so many recordings can wait for one batch."""


def create_app(recognizer: Recognizer, settings: ServerSettings) -> FastAPI:
    """The service of a recognizer, which the caller closes."""
    limits = recognizer.limits
    admission = Admission(
        places=limits.max_requests, threads=min(_THREADS, limits.max_requests), what="requests"
    )
    conversations = Admission(
        places=limits.max_diarizations, threads=limits.max_diarizations, what="conversations"
    )
    streams = Admission(places=limits.max_streams, threads=limits.max_streams, what="streams")
    app = FastAPI(
        title="vprtrain",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # it loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    report_problems(app)
    for routes in (
        voice_routes(recognizer, admission),
        conversation_routes(recognizer, admission, conversations),
        user_routes(recognizer, admission),
        operation_routes(recognizer, admission),
        stream_routes(recognizer, streams, settings.tokens),
        page_routes(),
    ):
        app.include_router(routes)
    app.add_middleware(Guard, settings=settings, metrics=recognizer.metrics)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    _describe(app, with_tokens=settings.tokens is not None)
    return app


def _describe(app: FastAPI, *, with_tokens: bool) -> None:
    """Complete the OpenAPI document: the schema of problems, and the tokens."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            components = found.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
            if with_tokens:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                found["security"] = [{"token": []}]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way
