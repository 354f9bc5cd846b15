"""The files of the test data's ``bad_audio`` that are not usable speech, by their names."""

from __future__ import annotations

from pathlib import Path

UNUSABLE = {
    "zero_bytes.wav",
    "zero_bytes.flac",
    "header_only.wav",
    "sample_rate_zero.wav",
    "text_renamed.wav",
    "html_error_page.mp3",
    "random_bytes.flac",
    "nan_float.wav",
    "inf_float.wav",
    "all_nan.wav",
    "silence_2s.wav",
    "dc_only.wav",
    "one_sample.wav",
    "empty_valid.wav",
    "short_50ms.wav",
    "short_24ms.wav",
    "rate_192k_tiny.wav",
    "video_no_audio.mp4",
    "headerless.pcm",
    "._ok_reference.wav",
    "long_30min_silence.flac",
}
DAMAGED = {"truncated.flac", "truncated.wav"}
"""Usable, with a warning"""
NEARLY_SILENT = "near_silence.wav"
"""Usable in training, refused in inference."""


def bad_audio_files(test_data: Path) -> list[Path]:
    """All files of ``bad_audio``, the usable ones included."""
    folder = test_data / "bad_audio"
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
