"""The answers of the service, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vprtrain.serving.problems import MEDIA_TYPE


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


class Quality(BaseModel):
    """What was measured in a recording."""

    model_config = _example(seconds=3.2, speech_seconds=2.7, level=-18.4, warnings=[])

    seconds: float = Field(description="of the recording, at most max_seconds")
    speech_seconds: float = Field(description="net")
    level: float = Field(description="the top level of the speech in dBFS")
    warnings: list[str] = Field(description="what is doubtful, one line each")


class Embedding(Quality):
    """The embedding of a recording."""

    model_config = _example(
        embedding=[0.13, -1.2], seconds=3.2, speech_seconds=2.7, level=-18.4, warnings=[]
    )

    embedding: list[float] = Field(description="not normalised")


class Contrast(BaseModel):
    """The comparison of two recordings."""

    model_config = _example(score=0.7123, same_speaker=True, threshold=0.45)

    score: float = Field(
        description="the cosine of the embeddings, -1 to 1, unless the model has another back end"
    )
    same_speaker: bool | None = Field(description="null if no threshold is known")
    threshold: float | None


class Identification(BaseModel):
    """The user who speaks in a recording."""

    model_config = _example(user="Ann", score=0.7123, threshold=0.45)

    user: str | None = Field(description="null below the threshold")
    score: float = Field(description="that of the nearest voiceprint; -1 without users")
    threshold: float


class Verification(BaseModel):
    """Whether a recording is of the user whom the speaker claims to be."""

    model_config = _example(user="Ann", accepted=True, score=0.7123, threshold=0.45)

    user: str
    accepted: bool
    score: float
    threshold: float


class Turn(BaseModel):
    """A stretch in which one person speaks."""

    model_config = _example(start=0.4, end=3.1, speaker="Ann")

    start: float = Field(description="seconds from the beginning")
    end: float = Field(description="seconds")
    speaker: str = Field(description="a user, or speaker_1, speaker_2 and so on")


class Conversation(BaseModel):
    """Who speaks when in a recording."""

    model_config = _example(
        segments=[
            {"start": 0.4, "end": 3.1, "speaker": "Ann"},
            {"start": 3.4, "end": 7.9, "speaker": "speaker_1"},
        ],
        duration=8.2,
        warnings=[],
    )

    segments: list[Turn] = Field(description="in order, without overlap; none if nobody speaks")
    duration: float = Field(description="seconds, at most max_diarize_seconds")
    warnings: list[str] = Field(description="what is doubtful, one line each")


class Users(BaseModel):
    """The enrolled users."""

    model_config = _example(users=["Ann", "Bob"], recordings={"Ann": 3, "Bob": 1})

    users: list[str]
    recordings: dict[str, int] = Field(description="of each user")


class Enrollment(BaseModel):
    """An enrolment that is stored."""

    model_config = _example(
        user="Ann",
        recordings=3,
        qualities=[{"seconds": 3.2, "speech_seconds": 2.7, "level": -18.4, "warnings": []}],
    )

    user: str
    recordings: int = Field(description="of the user, with those before")
    qualities: list[Quality] = Field(description="of the recordings of this request")


class Removal(BaseModel):
    """The removal of a user."""

    model_config = _example(user="Ann", removed=True)

    user: str
    removed: bool = Field(description="whether the user was enrolled")


class StoredRecording(BaseModel):
    """What is stored of a recording."""

    model_config = ConfigDict(extra="allow")

    enrolled_at: str = Field(description="UTC")
    purpose: str = Field(description="what it may be used for; empty if none was given")
    embedding: list[float]


class Export(BaseModel):
    """Everything that is stored of a user."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "user": "Ann",
                    "model": "3f1c...",
                    "voiceprint": [0.13, -0.2],
                    "recordings": [
                        {
                            "enrolled_at": "2026-11-27T20:00:00Z",
                            "purpose": "door of building 7",
                            "embedding": [0.13, -0.2],
                        }
                    ],
                }
            ]
        },
    )

    user: str
    model: str | None = Field(description="the digest of the model")
    voiceprint: list[float]
    recordings: list[StoredRecording]


class About(BaseModel):
    """The model and the limits of the service."""

    model_config = _example(
        model="CAMPPlus",
        embedding_dim=192,
        sample_rate=16000,
        threshold=0.45,
        backend="cosine",
        score_range=[0.0, 1.0],
        min_speech=0.5,
        max_seconds=120.0,
        max_diarize_seconds=600.0,
        max_bytes=33554432,
        synthetic_voices=False,
        version="0.2.0",
    )

    model: str
    embedding_dim: int
    sample_rate: int
    threshold: float | None
    backend: str = Field(
        description="what makes the scores: cosine, as-norm or plda; calibrated or not"
    )
    score_range: tuple[float, float] = Field(description="between these a page may draw scores")
    min_speech: float = Field(description="net seconds of speech that a recording must have")
    max_seconds: float
    max_diarize_seconds: float
    max_bytes: int = Field(description="of a request's body")
    synthetic_voices: bool = Field(description="the model knows no real voices: it is a demo")
    version: str


class Status(BaseModel):
    """How the service is."""

    model_config = _example(status="ok")

    status: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = _example(
        type="about:blank",
        title="Unprocessable Entity",
        status=422,
        detail="the audio: silent in its first 3.0 s, at -inf dBFS; expected speech",
        kind="audio",
    )

    type: str
    title: str
    status: int
    detail: str = Field(description="the same one line as the commands print")
    kind: str = Field(description="usage, run, checkpoint, audio or internal")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": "A problem", "content": content} for status in statuses}


def uploads(*fields: str) -> dict[str, Any]:
    """The request body of a route that takes recordings, for OpenAPI.

    Args:
        fields: the names in a form or in JSON; with only one a raw body is taken too.
    """
    binary = {"type": "string", "format": "binary"}
    encoded = {"type": "string", "contentEncoding": "base64"}
    form = {"type": "object", "required": [*fields], "additionalProperties": False}
    content: dict[str, Any] = {
        "multipart/form-data": {
            "schema": {**form, "properties": {name: binary for name in fields}}
        },
        "application/json": {
            "schema": {**form, "properties": {name: encoded for name in fields}},
            "example": {name: "UklGRiQAAABXQVZFZm10IA==" for name in fields},
        },
    }
    if len(fields) == 1:
        content["audio/*"] = {"schema": binary}
    return {"requestBody": {"required": True, "content": content}}
