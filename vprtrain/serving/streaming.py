"""``/v1/stream``: samples in, decisions out, over a WebSocket."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Literal, Protocol

import anyio
import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, ValidationError

from vprtrain.data.audio.files import InMemory
from vprtrain.data.audio.isolated import IsolatedReader
from vprtrain.data.audio.opus_packets import OPUS_RATE, PREROLL, decode_packets
from vprtrain.data.audio.reading import AudioError
from vprtrain.inference.stream import Decision, SpeakerStream
from vprtrain.serving.admission import Admission
from vprtrain.serving.guard import wrong_token
from vprtrain.serving.problems import ProblemError
from vprtrain.serving.recognizer import Recognizer
from vprtrain.serving.tokens import Tokens

log = logging.getLogger(__name__)

_PACKETS_TOGETHER = 10
_REFUSED, _TRY_LATER, _FAILED = 1008, 1013, 1011
_START_SECONDS = 10.0


class Start(BaseModel):
    """The first message of a client."""

    model_config = ConfigDict(extra="forbid")

    token: str = ""
    encoding: Literal["pcm16", "float32", "opus"] = "pcm16"
    sample_rate: int = 16000
    window: float = 1.5
    hop: float = 0.5
    smoothing: float = 0.5
    threshold: float | None = None
    diarize: bool = False


class _Decoder(Protocol):
    def feed(self, message: bytes) -> np.ndarray: ...

    def finish(self) -> np.ndarray: ...


def stream_routes(recognizer: Recognizer, admission: Admission, tokens: Tokens | None) -> APIRouter:
    """``/v1/stream``. OpenAPI has no words for a WebSocket: docs/guide/serve.md describes it."""
    router = APIRouter()

    @router.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        try:
            start = await _start(socket, tokens)
            with admission.place(), recognizer.metrics.streams.track_inprogress():
                await _converse(socket, start, recognizer, admission)
        except (WebSocketDisconnect, RuntimeError) as gone:  # RuntimeError: it left while we sent
            log.debug("a stream ended: %s", gone)
        except Exception as error:
            await _refuse(socket, ProblemError.of(error))

    return router


async def _start(socket: WebSocket, tokens: Tokens | None) -> Start:
    """The first message.

    Raises:
        ProblemError: it does not come, is another one, or has no right token.
    """
    try:
        with anyio.fail_after(_START_SECONDS):
            start = Start.model_validate_json(await socket.receive_text())
    except TimeoutError as error:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT, f"no first message within {_START_SECONDS:g} s"
        ) from error
    except (ValidationError, KeyError) as error:  # KeyError: a binary message
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            'the first message is not one: expected JSON such as {"encoding": "pcm16", '
            '"sample_rate": 16000}',
        ) from error
    if tokens is not None and socket.scope["caller"] is None and not tokens.label(start.token):
        raise wrong_token(bool(start.token))
    return start


async def _converse(
    socket: WebSocket, start: Start, recognizer: Recognizer, admission: Admission
) -> None:
    threshold = recognizer.threshold_of(start.threshold)
    is_opus = start.encoding == "opus"
    stream = recognizer.predictor.stream(
        sample_rate=OPUS_RATE if is_opus else start.sample_rate,
        window=start.window,
        hop=start.hop,
        smoothing=start.smoothing,
        threshold=threshold,
        diarize=start.diarize,
    )
    decoder = _Opus(recognizer.reader) if is_opus else _Samples(start.encoding)
    await socket.send_json({"type": "ready", "threshold": threshold, "hop": start.hop})
    while (message := await _message(socket, recognizer.limits.time_limit)) is not None:
        await _send(socket, start, await admission.run(_fed, stream, decoder, message))
    await _send(socket, start, await admission.run(_finished, stream, decoder))
    await socket.close()


async def _message(socket: WebSocket, seconds: float) -> bytes | None:
    """The next chunk; ``None`` at the end that the client announces.

    Raises:
        ProblemError: none comes, or another one.
        WebSocketDisconnect: the client has left.
    """
    try:
        with anyio.fail_after(seconds):
            message = await socket.receive()
    except TimeoutError as error:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT, f"no message within {seconds:g} s: the stream is closed"
        ) from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    if message.get("bytes") is not None:
        return bytes(message["bytes"])
    if (message.get("text") or "").replace(" ", "") == '{"type":"end"}':
        return None
    raise ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        'a text message is not {"type": "end"}: expected it, or samples in a binary message',
    )


def _fed(stream: SpeakerStream, decoder: _Decoder, message: bytes) -> list[Decision]:
    return stream.feed(decoder.feed(message))


def _finished(stream: SpeakerStream, decoder: _Decoder) -> list[Decision]:
    return [*stream.feed(decoder.finish()), *stream.finish()]


async def _send(socket: WebSocket, start: Start, decisions: Iterable[Decision]) -> None:
    for decision in decisions:
        values = decision.as_json(diarize=start.diarize)
        await socket.send_json({"type": "decision", **values})


async def _refuse(socket: WebSocket, problem: ProblemError) -> None:
    code = {HTTPStatus.TOO_MANY_REQUESTS: _TRY_LATER, HTTPStatus.INTERNAL_SERVER_ERROR: _FAILED}
    try:
        await socket.send_json({**problem.content(), "type": "problem"})
        await socket.close(code.get(problem.status, _REFUSED))
    except (WebSocketDisconnect, RuntimeError) as gone:
        log.debug("a stream ended: %s", gone)


class _Samples:
    """Little-endian samples; a message may end within one."""

    def __init__(self, encoding: str) -> None:
        self._dtype = np.dtype("<i2" if encoding == "pcm16" else "<f4")
        self._rest = b""

    def feed(self, message: bytes) -> np.ndarray:
        content = self._rest + message
        whole = len(content) // self._dtype.itemsize * self._dtype.itemsize
        self._rest = content[whole:]
        return np.frombuffer(content[:whole], self._dtype)

    def finish(self) -> np.ndarray:
        return np.zeros(0, self._dtype)


class _Opus:
    """A packet in each message. They are decoded in a process of their own, with a few packets
    before them, so that no state of a stream is kept there."""

    def __init__(self, reader: IsolatedReader) -> None:
        self._reader = reader
        self._before: list[bytes] = []
        self._waiting: list[bytes] = []

    def feed(self, message: bytes) -> np.ndarray:
        if not message:
            raise AudioError("the stream: a message is empty; expected an Opus packet")
        self._waiting.append(message)
        return self.finish() if len(self._waiting) == _PACKETS_TOGETHER else _NOTHING

    def finish(self) -> np.ndarray:
        if not self._waiting:
            return _NOTHING
        packets = [*self._before, *self._waiting]
        samples = self._reader.call(
            decode_packets,
            InMemory("the stream", b"".join(packets)),
            sizes=[*map(len, packets)],
            skip=len(self._before),
        )
        self._before, self._waiting = packets[-PREROLL:], []
        return samples


_NOTHING = np.zeros(0, np.float32)
