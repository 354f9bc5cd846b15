"""The routes that take recordings and store nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from vprtrain.serving.admission import Admission
from vprtrain.serving.quality import quality_of
from vprtrain.serving.recognizer import Recognizer
from vprtrain.serving.schemas import (
    Contrast,
    Embedding,
    Identification,
    Verification,
    problems,
    uploads,
)
from vprtrain.serving.uploads import recordings
from vprtrain.serving.users import known_user

Threshold = Annotated[
    float | None,
    Query(
        allow_inf_nan=False,
        description="another threshold than the service's, in the scale of its scores: -1 to 1 for "
        "cosines",
        examples=[0.45],
    ),
]
REFUSALS = problems(400, 401, 408, 413, 415, 422, 429, 503)


def voice_routes(recognizer: Recognizer, admission: Admission) -> APIRouter:
    """``/v1/embed``, ``contrast``, ``identify`` and ``verify``."""
    router = APIRouter(prefix="/v1", tags=["voices"], responses=REFUSALS)
    limits = recognizer.limits

    @router.post("/embed", openapi_extra=uploads("audio"))
    async def embed(
        request: Request,
        enrolment: Annotated[
            bool, Query(description="warn of what is too little for an enrolment")
        ] = False,
    ) -> Embedding:
        """The embedding of a recording, and the recording's quality."""
        with admission.place():
            (audio,) = await one(request)
            found = await admission.run(recognizer.embed, audio, enrolment=enrolment)
        return Embedding(embedding=found.embedding.tolist(), **quality_of(found).model_dump())

    @router.post("/contrast", openapi_extra=uploads("first", "second"))
    async def contrast(request: Request, threshold: Threshold = None) -> Contrast:
        """Compare the voices of two recordings."""
        is_known = threshold is not None or recognizer.threshold is not None
        limit = recognizer.threshold_of(threshold) if is_known else None
        with admission.place():
            first, second = await recordings(request, ("first", "second"), limits)
            score = await admission.run(recognizer.contrast, first, second)
        same = None if limit is None else score >= limit
        return Contrast(score=score, same_speaker=same, threshold=limit)

    @router.post("/identify", openapi_extra=uploads("audio"))
    async def identify(request: Request, threshold: Threshold = None) -> Identification:
        """Find which enrolled user speaks, if any."""
        limit = recognizer.threshold_of(threshold)
        with admission.place():
            (audio,) = await one(request)
            user, score = await admission.run(recognizer.identify, audio, limit)
        return Identification(user=user, score=score, threshold=limit)

    @router.post("/verify", openapi_extra=uploads("audio"), responses=problems(404))
    async def verify(
        request: Request,
        user: Annotated[str, Query(description="who the speaker claims to be", examples=["Ann"])],
        threshold: Threshold = None,
    ) -> Verification:
        """Check whether a recording is of the user whom the speaker claims to be."""
        limit = recognizer.threshold_of(threshold)
        with admission.place():
            (audio,) = await one(request)
            with known_user(user):
                score = await admission.run(recognizer.verify, audio, user)
        return Verification(user=user, accepted=score >= limit, score=score, threshold=limit)

    async def one(request: Request) -> list[bytes]:
        return await recordings(request, ("audio",), limits.of_one_recording())

    return router
