"""The routes of the users, whose changes leave a line in the audit log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request

from vprtrain.errors import UsageError, shown
from vprtrain.serving.admission import Admission
from vprtrain.serving.problems import ProblemError
from vprtrain.serving.quality import quality_of
from vprtrain.serving.recognizer import Recognizer
from vprtrain.serving.schemas import Enrollment, Export, Removal, Users, problems, uploads
from vprtrain.serving.uploads import recordings
from vprtrain.voiceprints.user import checked_name, checked_purpose

audit = logging.getLogger("vprtrain.serving.audit")

_NOT_IN_AN_ADDRESS = (".", "..")
"""Browsers and proxies take them out of a path."""


def user_routes(recognizer: Recognizer, admission: Admission) -> APIRouter:
    """``/v1/users`` and ``/v1/users/{name}``."""
    router = APIRouter(
        prefix="/v1/users", tags=["users"], responses=problems(400, 401, 422, 429, 503)
    )
    voiceprints = recognizer.predictor.voiceprints

    @router.get("")
    async def users(
        older_than: Annotated[
            float | None,
            Query(
                description="only users whose newest recording was enrolled more than so many days "
                "ago",
                examples=[365],
            ),
        ] = None,
    ) -> Users:
        """List the users and the number of recordings of each."""
        with admission.place():
            found = await admission.run(voiceprints.users, older_than=older_than)
        return Users(users=list(found), recordings=found)

    @router.get("/{name:path}", responses=problems(404))
    async def export(name: str) -> Export:
        """Everything that is stored of a user."""
        user = checked_name(name)
        with admission.place(), known_user(user):
            return Export(**await admission.run(voiceprints.export, user))

    @router.post(
        "/{name:path}",
        status_code=HTTPStatus.CREATED,
        openapi_extra=uploads("audio"),
        responses=problems(408, 413, 415),
    )
    async def enroll(
        name: str,
        request: Request,
        purpose: Annotated[
            str,
            Query(
                description="what the recordings may be used for, stored with each of them",
                examples=["door of building 7"],
            ),
        ] = "",
    ) -> Enrollment:
        """Enrol one or several recordings of a new or known user: all of them, or none. The time
        and the purpose are stored with each."""
        user, purpose = checked_name(name), checked_purpose(purpose)
        if user in _NOT_IN_AN_ADDRESS:
            raise UsageError(f"the user's name is {user!r}, which no address can have: add letters")
        with admission.place():
            contents = await recordings(request, ("audio",), recognizer.limits)
            count, found = await admission.run(recognizer.enroll, contents, user, purpose)
        _audit(request, f"enrol user={shown(user, 300)} recordings={len(found)}")
        return Enrollment(user=user, recordings=count, qualities=[*map(quality_of, found)])

    @router.delete("/{name:path}")
    async def remove(name: str, request: Request) -> Removal:
        """Remove a user with all stored data."""
        user = checked_name(name)
        with admission.place():
            removed = await admission.run(voiceprints.remove, user)
        _audit(request, f"remove user={shown(user, 300)} removed={str(removed).lower()}")
        return Removal(user=user, removed=removed)

    return router


@contextmanager
def known_user(name: str) -> Iterator[None]:
    """A context in which the user must be known.

    Raises:
        ProblemError: the user is not.
    """
    user = checked_name(name)
    try:
        yield
    except UsageError as error:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, f"there is no user {shown(user)}: /v1/users lists all users"
        ) from error


def _audit(request: Request, what: str) -> None:
    client = "unknown" if request.client is None else request.client.host
    audit.info("audit: %s caller=%s from=%s", what, shown(request.scope["caller"]), client)
