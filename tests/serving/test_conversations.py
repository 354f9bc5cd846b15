"""Who speaks when, asked over HTTP of a real process."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from service import Service, problem, running, wav
from small_checkpoint import write_checkpoint
from tonal_voices import TonalExtractor, tonal_conversation, tonal_voice

from vprtrain import Predictor
from vprtrain.extractors import opening
from vprtrain.serving import Recognizer, ServerSettings, create_app

RAW = {"Content-Type": "audio/wav"}
RATE = 16000
TALK = wav(tonal_conversation([(0, 4.0), (5, 3.0), (0, 5.0), (5, 4.0)]))
MOST = 20.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("service") / "epoch_1", threshold=0.99)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people") / "people.db"


@pytest.fixture(scope="module")
def service(checkpoint: Path, database: Path) -> Iterator[Service]:
    options = ("--vad=energy", "--max_diarizations=1", f"--max_diarize_seconds={MOST}")
    with running(checkpoint, database, "--max_megabytes=1", "--max_seconds=5", *options) as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def diarized(client: httpx.Client, content: bytes, **query: int) -> dict:
    answer = client.post("/v1/diarize", params=query, content=content, headers=RAW)
    return answer.raise_for_status().json()


def test_the_segments_are_the_predictors_in_every_form(
    client: httpx.Client, checkpoint: Path
) -> None:
    """The limit of other recordings is not that of conversations."""
    with closing(Predictor(checkpoint, vad="energy")) as predictor:
        expected = [asdict(each) for each in predictor.diarize(TALK)]
    encoded = base64.b64encode(TALK).decode()
    for form in (
        {"content": TALK, "headers": RAW},
        {"files": {"audio": TALK}},
        {"json": {"audio": encoded}},
    ):
        answer = client.post("/v1/diarize", **form).raise_for_status().json()
        assert answer == {"segments": expected, "duration": 18.5, "warnings": []}
    # To an untrained network all voices are one, and pauses of up to 0.3 s are speech.
    assert [each["speaker"] for each in expected] == ["speaker_1"]
    client.post("/v1/users/Ann", files={"audio": TALK}).raise_for_status()
    assert {each["speaker"] for each in diarized(client, TALK)["segments"]} == {"Ann"}
    client.delete("/v1/users/Ann").raise_for_status()
    assert {each["speaker"] for each in diarized(client, TALK)["segments"]} == {"speaker_1"}


@pytest.mark.parametrize(
    ("threshold", "query", "expected"),
    [
        (0.9, "", ["speaker_1", "Ann"]),
        (0.9, "?num_speakers=2", ["speaker_1", "Ann"]),
        (0.9, "?max_speakers=1", ["speaker_1"]),
        (None, "", ["speaker_1", "speaker_2"]),
    ],
)
def test_users_have_their_names_if_there_is_a_threshold(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threshold: float | None,
    query: str,
    expected: list[str],
) -> None:
    monkeypatch.setattr(opening, "open_extractor", lambda *arguments, **options: TonalExtractor())

    async def ask() -> httpx.Response:
        app = httpx.ASGITransport(create_app(recognizer, ServerSettings()))
        async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
            take = wav(tonal_voice(5, 3.0, take=9))
            (await client.post("/v1/users/Ann", files={"audio": take})).raise_for_status()
            return await client.post(f"/v1/diarize{query}", content=TALK, headers=RAW)

    with closing(
        Recognizer("tonal", tmp_path / "people.db", threshold=threshold, vad="energy")
    ) as recognizer:
        segments = anyio.run(ask).raise_for_status().json()["segments"]
    names = [each["speaker"] for each in segments]
    assert list(dict.fromkeys(names)) == expected
    assert len(expected) == 1 or names == expected * 2


def test_short_silent_and_long_recordings(client: httpx.Client) -> None:
    silence = {"segments": [], "duration": 2.0, "warnings": []}
    assert diarized(client, wav(np.zeros(2 * RATE))) == silence
    (only,) = diarized(client, wav(tonal_voice(1, 2.0)))["segments"]
    assert only["speaker"] == "speaker_1" and only["end"] - only["start"] > 1.5
    long = diarized(client, wav(tonal_conversation([(0, 15.0), (5, 9.0)])))
    assert long["duration"] == MOST and long["segments"][-1]["end"] <= MOST
    assert long["warnings"] == ["only the first 20 s are used"]
    assert client.get("/v1/model").json()["max_diarize_seconds"] == MOST


@pytest.mark.parametrize(
    ("query", "options", "status", "text"),
    [
        ("", {"content": b"", "headers": RAW}, 422, "the audio: empty (0 bytes)"),
        ("", {"content": b"no audio", "headers": RAW}, 422, "cannot be decoded as audio"),
        ("", {"content": bytes(2 << 20), "headers": RAW}, 413, "more than 1 MB"),
        ("", {"content": b"x", "headers": {"Content-Type": "text/html"}}, 415, "text/html"),
        ("", {"files": [("audio", b"x"), ("audio", b"y")]}, 422, "found 2 recordings"),
        ("", {"files": {"sound": TALK}}, 422, "found the fields sound"),
        ("?num_speakers=100", {"files": {"audio": TALK}}, 400, "num_speakers is 100, but the"),
        ("?num_speakers=0", {"files": {"audio": TALK}}, 422, "num_speakers"),
        ("?max_speakers=two", {"files": {"audio": TALK}}, 422, "max_speakers"),
    ],
)
def test_what_cannot_be_diarized_gets_one_line(
    client: httpx.Client, query: str, options: dict, status: int, text: str
) -> None:
    problem(client.post(f"/v1/diarize{query}", **options), status, text)


def test_bad_recordings_get_the_predictors_segments_or_a_line(
    client: httpx.Client, test_data: Path, checkpoint: Path
) -> None:
    folder = test_data / "bad_audio"
    names = ("zero_bytes.wav", "silence_2s.wav", "all_nan.wav", "short_50ms.wav", "voice.opus")
    if not folder.exists():
        pytest.skip(f"no recordings in {folder}")
    predictor = Predictor(checkpoint, vad="energy")
    for name in names:
        content = (folder / name).read_bytes()
        answer = client.post("/v1/diarize", content=content, headers=RAW)
        if name in ("zero_bytes.wav", "all_nan.wav"):
            problem(answer, 422, "the audio: ")
        else:
            found = [asdict(each) for each in predictor.diarize(content)]
            assert answer.status_code == 200 and answer.json()["segments"] == found, name


def test_one_more_conversation_gets_429_and_other_requests_are_answered(
    client: httpx.Client, service: Service
) -> None:
    sent, hold = threading.Event(), threading.Event()
    answers: list[httpx.Response] = []

    def slowly() -> Iterator[bytes]:
        yield TALK[:1000]
        sent.set()
        hold.wait(60)
        yield TALK[1000:]

    def ask() -> None:
        with service.client() as other:
            answers.append(other.post("/v1/diarize", content=slowly(), headers=RAW))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert sent.wait(60)
        busy = client.post("/v1/diarize", content=TALK, headers=RAW)
        while busy.status_code == 200:  # the first one has not been let in yet
            busy = client.post("/v1/diarize", content=TALK, headers=RAW)
        problem(busy, 429, "1 conversations are served at once")
        assert busy.headers["Retry-After"] == "1"
        short = client.post("/v1/embed", content=wav(tonal_voice(1, 2.0)), headers=RAW)
        assert short.status_code == 200
    finally:
        hold.set()
        asking.join()
    assert answers[0].status_code == 200 and answers[0].json()["segments"]
