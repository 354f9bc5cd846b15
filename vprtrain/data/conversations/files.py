"""Conversations on disk: the recording, who speaks when, and which part is scored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import soundfile

from vprtrain.data.conversations.simulator import Conversation
from vprtrain.files import replacing, write_atomic
from vprtrain.lists import Span, uem_text, write_segments


class ConversationFiles(NamedTuple):
    """The files of one conversation, which differ in their suffix only."""

    wav: Path
    rttm: Path
    uem: Path


def write_conversation(
    folder: Path, name: str, conversation: Conversation, *, sample_rate: int
) -> ConversationFiles:
    """Write ``NAME.wav`` (16 bits), ``NAME.rttm`` and ``NAME.uem``. Existing files are replaced.

    Args:
        folder: made if it does not exist.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = ConversationFiles(*(folder / f"{name}.{suffix}" for suffix in ("wav", "rttm", "uem")))
    waveform = conversation.waveform
    with replacing(files.wav) as temporary:
        encoded = os.fsencode(temporary)  # soundfile refuses a str that is not UTF-8
        try:
            soundfile.write(encoded, waveform, sample_rate, format="WAV", subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OSError(str(error)) from error
    write_segments(files.rttm, conversation.segments, recording=name)
    whole = Span(0.0, len(waveform) / sample_rate)
    write_atomic(files.uem, uem_text(name, [whole]).encode(errors="backslashreplace"))
    return files
