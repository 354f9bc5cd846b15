"""Errors as answers: RFC 9457 problem details, with the same one line as the commands."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import UsageError, VprTrainError, cut

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ProblemError(VprTrainError):
    """A request that is refused.

    Args:
        status: of HTTP.
        detail: one line: what was found, what was expected, what to do.
        kind: as ``kind`` of the commands' ``--json``.
        headers: of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        kind: str = "usage",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.cause_kind, self.headers = status, kind, headers or {}

    @classmethod
    def of(cls, error: Exception) -> ProblemError:
        """The problem that an error is for the client."""
        if isinstance(error, ProblemError):
            return error
        if isinstance(error, AudioError):
            return cls(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), kind=error.kind)
        if isinstance(error, UsageError):
            return cls(HTTPStatus.BAD_REQUEST, str(error), kind=error.kind)
        if isinstance(error, VprTrainError):
            log.error("%s", error)
            return cls(HTTPStatus.SERVICE_UNAVAILABLE, str(error), kind=error.kind)
        log.error("an unexpected error", exc_info=error)
        return cls(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"{type(error).__name__}: the log of the service says more",
            kind="internal",
        )

    def content(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": cut(" ".join(str(self).split()), 1000),
            "kind": self.cause_kind,
        }

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(
            self.content(), int(self.status), headers=self.headers, media_type=MEDIA_TYPE
        )


def report_problems(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    async def any_error(request: Request, error: Exception) -> JSONResponse:
        return ProblemError.of(error).response()

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return ProblemError(
            HTTPStatus(error.status_code), str(error.detail), headers=dict(error.headers or {})
        ).response()

    async def wrong_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
            for each in error.errors()
        )
        return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, found).response()

    app.add_exception_handler(VprTrainError, any_error)
    app.add_exception_handler(Exception, any_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, wrong_request)
