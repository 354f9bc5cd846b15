"""Live recognition over a WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
import pytest
from json_process import PATIENCE
from service import TOKEN, Service, running, wav
from small_checkpoint import voice, write_checkpoint
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vprtrain import Predictor

SPEECH = voice(0, 1, 3.0).clip(-1, 1)
PCM = (SPEECH * 32767).astype("<i2")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("stream")
    tokens = folder / "tokens"
    tokens.write_text(TOKEN)
    checkpoint = write_checkpoint(folder / "epoch_1", threshold=0.9)
    options = (f"--token_file={tokens}", "--max_streams=1", "--time_limit=2")
    with running(checkpoint, folder / "people.db", *options) as started:
        with started.client(headers=HEADERS) as client:
            answer = client.post("/v1/users/Ann", files={"audio": wav(voice(0, 0, 2.0))})
            assert answer.status_code == 201
        yield started


@contextmanager
def opened(service: Service, headers: dict | None = None, **start) -> Iterator[ClientConnection]:
    """A stream whose first message is sent."""
    url = service.url.replace("http", "ws") + "/v1/stream"
    with connect(url, additional_headers=HEADERS if headers is None else headers) as socket:
        socket.send(json.dumps(start))
        yield socket


def rest(socket: ClientConnection) -> list[dict]:
    """What comes until the service closes."""
    found = []
    with suppress(ConnectionClosed):
        while True:
            found.append(json.loads(socket.recv(timeout=PATIENCE)))
    return found


def test_the_decisions_are_those_of_the_predictor(service: Service, tmp_path: Path) -> None:
    predictor = Predictor(
        write_checkpoint(tmp_path / "epoch_1", threshold=0.9), tmp_path / "people.db"
    )
    predictor.register(wav(voice(0, 0, 2.0)), "Ann")
    stream = predictor.stream(window=1.0)
    expected = [*stream.feed(PCM), *stream.finish()]
    with opened(service, window=1.0) as socket:
        assert json.loads(socket.recv()) == {"type": "ready", "threshold": 0.9, "hop": 0.5}
        content = PCM.tobytes()
        for place in range(0, len(content), 3333):  # an odd number of bytes
            socket.send(content[place : place + 3333])
        socket.send('{"type": "end"}')
        found = rest(socket)
    assert [each.pop("type") for each in found] == ["decision"] * 6
    assert [each["user"] for each in found] == [each.user for each in expected]
    assert [each["end"] for each in found] == [each.end for each in expected]
    np.testing.assert_allclose(
        [each["score"] or 0 for each in found], [each.score or 0 for each in expected], atol=1e-4
    )


def test_unknown_voices_are_numbered_if_the_client_asks(service: Service) -> None:
    talk = [voice(0, 5, 2.5), voice(7, 5, 2.5)]
    content = (np.concatenate(talk).clip(-1, 1) * 32767).astype("<i2").tobytes()
    answers = {}
    for diarize in (False, True):
        asked = {"diarize": True} if diarize else {}
        with opened(service, window=1.0, threshold=1.0, **asked) as socket:
            socket.send(content)
            socket.send('{"type": "end"}')
            _, *answers[diarize] = rest(socket)
    assert all("speaker" not in each for each in answers[False])
    assert [each.pop("speaker") for each in answers[True]][-1] == "speaker_1"
    assert answers[True] == answers[False]


def opus_packets(samples: np.ndarray) -> list[bytes]:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48000, "mono", "flt"
    packets = []
    for place in range(0, len(samples) - 959, 960):
        chunk = np.ascontiguousarray(samples[np.newaxis, place : place + 960])
        frame = av.AudioFrame.from_ndarray(chunk, format="flt", layout="mono")
        frame.sample_rate, frame.pts = 48000, place
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def test_packets_of_opus(service: Service) -> None:
    if "libopus" not in av.codecs_available:
        pytest.skip("this build of PyAV has no encoder of Opus")
    samples = np.repeat(SPEECH, 3).astype(np.float32)
    with opened(service, encoding="opus", window=1.0, threshold=0.5) as socket:
        for packet in opus_packets(samples):
            socket.send(packet)
        socket.send('{"type": "end"}')
        found = rest(socket)[1:]
    assert [each["end"] for each in found[:-1]] == pytest.approx(
        [0.5, 1, 1.5, 2, 2.5, 3.0][: len(found) - 1]
    )
    assert {each["user"] for each in found} >= {"Ann"}


def refusal(socket: ClientConnection) -> str:
    """The one line of a problem, which is the last message."""
    *_, last = rest(socket)
    assert last["type"] == "problem" and socket.close_code in (1008, 1013)
    return last["detail"]


def test_what_is_refused_says_why(service: Service) -> None:
    with opened(service, headers={}) as socket:
        assert "there is no token" in refusal(socket)
    with opened(service, headers={}, token="wrong") as socket:
        assert "not one of this service's" in refusal(socket)
    with opened(service, encoding="mp3") as socket:
        assert "the first message is not one" in refusal(socket)
    with opened(service, diarize="perhaps") as socket:
        assert "the first message is not one" in refusal(socket)
    with opened(service, window=100.0, hop=0.01) as socket:
        assert "hop is 0.01" in refusal(socket)
    with opened(service) as socket:
        socket.send("hello")
        assert "a text message" in refusal(socket)
    with opened(service, encoding="float32") as socket:
        socket.send(np.array([np.nan], "<f4").tobytes())
        assert "not finite" in refusal(socket)
    with opened(service, encoding="opus") as socket:
        for _ in range(10):
            socket.send(b"\xff" * 50)
        assert "Opus packet cannot be decoded" in refusal(socket)


def test_a_token_in_the_first_message_and_one_stream_at_once(service: Service) -> None:
    with opened(service, headers={}, token=TOKEN) as first:
        assert json.loads(first.recv())["type"] == "ready"
        with opened(service) as second:
            assert "1 streams are served at once" in refusal(second)
            assert second.close_code == 1013
    with opened(service) as third:
        assert json.loads(third.recv())["type"] == "ready"


def test_a_page_of_another_site_gets_no_stream(service: Service) -> None:
    headers = {**HEADERS, "Origin": "http://evil.example"}
    with pytest.raises((InvalidStatus, InvalidMessage)), opened(service, headers=headers):
        pass


def test_a_client_that_leaves_or_is_silent_frees_its_place(service: Service) -> None:
    with opened(service) as silent:
        assert "no message within 2 s" in refusal(silent)
    with opened(service) as leaving:
        leaving.recv()
    with opened(service) as next_one:
        assert json.loads(next_one.recv())["type"] == "ready"
