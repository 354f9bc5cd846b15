"""Small archives in VoxCeleb's layout: noise instead of speech, in the real folders, formats and
lists."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import av
import numpy as np
import soundfile

DEV = ("id10001", "id10002", "id10003")
TEST = ("id10270", "id10271")
VOX2 = ("id00012", "id00013", "id00014")
SECONDS = 0.8


def make_voxceleb(folder: Path) -> Path:
    """Make ``vox1/{dev,test}/wav`` with the three cleaned lists, and ``vox2/dev/aac``; four
    utterances a speaker."""
    rng = np.random.default_rng(0)
    for part, speakers, suffix in (
        ("vox1/dev/wav", DEV, "wav"),
        ("vox1/test/wav", TEST, "wav"),
        ("vox2/dev/aac", VOX2, "m4a"),
    ):
        for speaker in speakers:
            for number in range(4):
                path = (
                    folder
                    / part
                    / speaker
                    / f"video{number % 2}"
                    / f"{number // 2 + 1:05d}.{suffix}"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                write = _write_m4a if suffix == "m4a" else _write_wav
                write(path, rng.normal(0, 0.1, round(16000 * SECONDS)).astype(np.float32))
    write_list(folder / "vox1" / "veri_test2.txt", TEST)
    write_list(folder / "vox1" / "list_test_all2.txt", DEV + TEST)
    write_list(folder / "vox1" / "list_test_hard2.txt", (DEV[0], TEST[0]))
    return folder


def write_list(path: Path, speakers: tuple[str, ...]) -> None:
    """Write all pairs of the speakers' utterances in VoxCeleb's format."""
    keys = [
        f"{speaker}/video{video}/{number:05d}.wav"
        for speaker in speakers
        for video in (0, 1)
        for number in (1, 2)
    ]
    lines = [f"{int(one[:7] == other[:7])} {one} {other}\n" for one, other in combinations(keys, 2)]
    path.write_text("".join(lines), encoding="utf-8")


def _write_wav(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, 16000, subtype="PCM_16")


def _write_m4a(path: Path, samples: np.ndarray) -> None:
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        fit = av.AudioResampler(
            stream.codec_context.format.name, "mono", 16000, stream.codec_context.frame_size
        )
        for part in [*fit.resample(frame), *fit.resample(None), None]:
            container.mux(stream.encode(part))
