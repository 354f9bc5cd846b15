"""Audio files of every kind, made from samples."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import NamedTuple

import av
import numpy as np
import soundfile


class Kind(NamedTuple):
    """How a file is made: by FFmpeg, or by libsndfile if there is no codec."""

    format: str
    codec: str = ""
    rate: int = 16000
    options: Mapping[str, str] = MappingProxyType({})


SECONDS = 3.3
KINDS = {
    "wav": Kind("WAV", rate=16000),
    "float wav": Kind("wav", "pcm_f32le"),
    "adpcm wav": Kind("wav", "adpcm_ima_wav"),
    "aiff": Kind("AIFF", rate=22050),
    "caf": Kind("CAF"),
    "au": Kind("AU"),
    "w64": Kind("W64"),
    "rf64": Kind("RF64"),
    "flac": Kind("FLAC", rate=44100),
    "vorbis": Kind("OGG"),
    "opus": Kind("ogg", "libopus", 48000),
    "mp3": Kind("mp3", "libmp3lame", 44100),
    "mp3 without a count": Kind("mp3", "libmp3lame", 16000, {"write_xing": "0"}),
    "m4a": Kind("ipod", "aac", 44100),
    "alac": Kind("ipod", "alac"),
    "fragmented mp4": Kind("mp4", "aac", 16000, {"movflags": "frag_keyframe+empty_moov"}),
    "adts": Kind("adts", "aac"),
    "amr": Kind("amr", "libopencore_amrnb", 8000),
    "wma": Kind("asf", "wmav2", 44100),
    "mka": Kind("matroska", "aac"),
    "webm": Kind("webm", "libopus", 48000),
    "wavpack": Kind("wv", "wavpack"),
    "tta": Kind("tta", "tta"),
    "ac3": Kind("ac3", "ac3", 48000),
    "mpegts": Kind("mpegts", "mp2", 44100),
    "avi": Kind("avi", "libmp3lame", 44100),
    "mp2": Kind("mp2", "mp2", 44100),
}


def encoded(kind: Kind, samples: np.ndarray, *, layout: str = "mono") -> bytes:
    """The bytes of a file.

    Args:
        kind: how it is made.
        samples: float32 ``[channels, samples]`` in [-1, 1] at the kind's rate.
        layout: FFmpeg's name of the channels.
    """
    file = BytesIO()
    if not kind.codec:
        soundfile.write(file, samples.T, kind.rate, format=kind.format)
        return file.getvalue()
    with av.open(file, "w", format=kind.format, options=dict(kind.options)) as container:
        stream = container.add_stream(kind.codec, rate=kind.rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T.reshape(1, -1)), format="flt", layout=layout
        )
        frame.sample_rate, frame.pts = kind.rate, 0
        stream.bit_rate = 64_000 * len(samples)
        stream.open()
        fit = av.AudioResampler(
            stream.codec_context.format.name,
            layout,
            kind.rate,
            stream.codec_context.frame_size or 1024,
        )
        for part in [*fit.resample(frame), *fit.resample(None), None]:
            container.mux(stream.encode(part))
    return file.getvalue()


def speech_like(seconds: float, rate: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Coloured noise that swells and fades: float32 ``[channels, samples]``."""
    size = round(seconds * rate)
    noise = np.random.default_rng(seed).normal(0, 0.3, (channels, size + 15))
    smooth = np.apply_along_axis(np.convolve, 1, noise, np.ones(16) / 8, "valid")
    return (smooth * np.sin(np.arange(size) * 9 / rate) ** 2).astype(np.float32).clip(-1, 1)


def made(name: str, seconds: float = SECONDS, seed: int = 0) -> bytes:
    """A file of a kind that sounds a little like speech."""
    kind = KINDS[name]
    return encoded(kind, speech_like(seconds, kind.rate, seed=seed))
