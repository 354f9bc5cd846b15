"""The route that takes a recording of several people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from vprtrain.diarization.diarizer import MAX_SPEAKERS
from vprtrain.serving.admission import Admission
from vprtrain.serving.recognizer import Recognizer
from vprtrain.serving.schemas import Conversation, uploads
from vprtrain.serving.uploads import recordings
from vprtrain.serving.voices import REFUSALS

_MOST_SPEAKERS = 100


def conversation_routes(
    recognizer: Recognizer, admission: Admission, conversations: Admission
) -> APIRouter:
    """``/v1/diarize``.

    Args:
        admission: to all requests.
        conversations: to diarization, whose threads are its own: it takes long, and the threads of
            short requests stay free.
    """
    router = APIRouter(prefix="/v1", tags=["conversations"], responses=REFUSALS)
    limits = recognizer.limits.of_one_recording()

    @router.post("/diarize", openapi_extra=uploads("audio"))
    async def diarize(
        request: Request,
        num_speakers: Annotated[
            int | None,
            Query(
                ge=1, le=_MOST_SPEAKERS, description="how many people speak, if known", examples=[2]
            ),
        ] = None,
        max_speakers: Annotated[
            int, Query(ge=1, le=_MOST_SPEAKERS, description="the most that may be found")
        ] = MAX_SPEAKERS,
    ) -> Conversation:
        """Find who speaks when. A speaker has the name of the user whose voiceprint matches; the
        others are speaker_1, speaker_2 and so on."""
        with admission.place(), conversations.place():
            (audio,) = await recordings(request, ("audio",), limits)
            return await conversations.run(
                recognizer.diarize, audio, num_speakers=num_speakers, max_speakers=max_speakers
            )

    return router
