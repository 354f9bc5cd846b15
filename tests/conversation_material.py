"""Utterances for simulated conversations: each speaker is a tone, so that everybody can be heard
in a mixture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
PITCHES = {f"speaker {number}": 300.0 * (number + 1) for number in range(5)}
"""Hz, by speaker."""


def make_manifest(folder: Path, utterances: int = 3) -> Path:
    """A manifest of the speakers, each with some utterances that have silence at both ends and a
    pause of half a second."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = []
    for number, (speaker, pitch) in enumerate(PITCHES.items()):
        for utterance in range(utterances):
            words = rng.uniform(0.6, 2.5, 2)
            silence = np.zeros(RATE // 2)
            tones = [0.2 * np.sin(2 * np.pi * pitch * _times(seconds)) for seconds in words]
            waveform = np.concatenate([silence, tones[0], silence, tones[1], silence])
            name = f"{number}_{utterance}.wav"
            soundfile.write(folder / name, waveform, RATE)
            lines.append(f"{name}\t{speaker}\n")
    path = folder / "manifest.tsv"
    path.write_text("".join(lines))
    return path


def make_noise(folder: Path) -> tuple[Path, Path]:
    """Manifests of impulse responses and of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    decay = np.exp(-np.arange(RATE // 4) / 800)
    soundfile.write(folder / "room.wav", 0.5 * decay * rng.standard_normal(len(decay)), RATE)
    soundfile.write(folder / "noise.wav", 0.1 * rng.standard_normal(3 * RATE), RATE)
    (folder / "rirs.tsv").write_text("room.wav\tsmallroom\n")
    (folder / "musan.tsv").write_text("noise.wav\tnoise\n")
    return folder / "rirs.tsv", folder / "musan.tsv"


def _times(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE
