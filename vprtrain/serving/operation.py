"""The routes of those who run the service, and what a client may know of the model."""

from __future__ import annotations

from fastapi import APIRouter, Response

from vprtrain.serving.admission import Admission
from vprtrain.serving.metrics import CONTENT_TYPE
from vprtrain.serving.recognizer import Recognizer
from vprtrain.serving.schemas import About, Status, problems
from vprtrain.version import __version__


def operation_routes(recognizer: Recognizer, admission: Admission) -> APIRouter:
    """``/healthz``, ``/readyz``, ``/metrics`` and ``/v1/model``."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz")
    async def healthz() -> Status:
        """Whether the process answers."""
        return Status(status="ok")

    @router.get("/readyz", responses=problems(503))
    async def readyz() -> Status:
        """Whether requests can be served: the model is loaded, and the database answers."""
        await admission.run(recognizer.predictor.voiceprints.ping)
        return Status(status="ready")

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """The metrics, in Prometheus's text format."""
        return Response(recognizer.metrics.text(), media_type=CONTENT_TYPE)

    @router.get("/v1/model", responses=problems(401))
    async def model() -> About:
        """The model, and the limits of a request."""
        return About(version=__version__, **recognizer.about())

    return router
