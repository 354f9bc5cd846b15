"""The decoders of :mod:`vprtrain.data.audio.reading`. They look at a file's content, not at its
name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from vprtrain.data.audio.ffmpeg import open_with_ffmpeg
from vprtrain.data.audio.files import AudioFile
from vprtrain.data.audio.sound_file import open_sound_file
from vprtrain.data.audio.track import Track


class Decoder(NamedTuple):
    """One way to decode a file."""

    name: str
    open: Callable[[AudioFile], AbstractContextManager[Track]]
    """Raises :class:`DecodeError` for a file that it cannot read"""


DECODERS = (Decoder("libsndfile", open_sound_file), Decoder("FFmpeg", open_with_ffmpeg))
"""In the order in which they are tried"""
