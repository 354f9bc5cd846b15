"""The CPU time of training samples, compared with the data set of ppvector 1.0.2, and whether
training waits for them.

A sample is 3 s at 16 kHz from a WAV file. vprtrain resamples with soxr; ppvector interpolates
linearly for speed perturbation and uses resampy for 48 kHz files. Every contestant is a process of
its own with one thread, and they take turns.

    python benchmarks/data.py [--peer PYTHON] [--seconds S] [--model MODEL]

PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``; without it only
vprtrain is measured. The figures are medians of items per CPU second; a ratio is vprtrain's figure
over ppvector's. The second table measures whole batches from the loader, with speed perturbation
and WeSpeaker's probabilities of noise and reverberation: utterances per CPU second of reading and
augmenting, of both with features, and of a training step of the model on features. The last line
gives the cost of reading a manifest of a million utterances.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from peer import OURS, PPVECTOR, Contestant, Turn, take_turns

from vprtrain.data.manifest import write_manifest

WORKERS = Path(__file__).parent / "workers"
THREADS = {"OMP_NUM_THREADS": "1"}
FILES = 20
LINES = 1_100_000
CASES = {  # name: the length of the files in seconds, their rate in Hz, with augmentation or not
    "3 s of 5 s files": (5, 16000, False),
    "3 s of 60 s files": (60, 16000, False),
    "48 kHz to 16 kHz": (5, 48000, False),
    "speed and noise": (5, 16000, True),
}
ITEMS = {"48 kHz to 16 kHz": 20}  # per turn, if not 100


def make_corpus(folder: Path) -> None:
    """Write the files of every case with a manifest, and the same list for ppvector, without
    durations."""
    rng = np.random.default_rng(0)
    for seconds, rate, _ in CASES.values():
        rows: list[tuple[str, str, float | None]] = []
        for number in range(FILES):
            name = f"{seconds}-{rate}-{number}.wav"
            soundfile.write(folder / name, rng.normal(0, 0.05, seconds * rate), rate)
            rows.append((str(folder / name), str(number % 10), float(seconds)))
        write_manifest(folder / f"{seconds}-{rate}.tsv", rows)
        write_manifest(
            folder / f"{seconds}-{rate}.txt", [(path, speaker, None) for path, speaker, _ in rows]
        )
    for kind, seconds, decay in (("noise", 10.0, 0.0), ("rir", 0.5, 14.0)):
        (folder / kind).mkdir()
        samples = np.arange(round(seconds * 16000)) / 16000
        for number in range(FILES):
            waveform = rng.normal(0, 0.1, len(samples)) * np.exp(-decay * samples)
            soundfile.write(folder / kind / f"{number}.wav", waveform, 16000)
        rows = [(f"{kind}/{number}.wav", kind, seconds) for number in range(FILES)]
        write_manifest(folder / f"{kind}.tsv", rows)


def measure(case: str, folder: Path, options: argparse.Namespace) -> dict[str, Turn]:
    seconds, rate, augment = CASES[case]
    shared = {"augment": augment, "items": ITEMS.get(case, 100)}
    files = {"manifest": str(folder / f"{seconds}-{rate}.tsv"), "musan": str(folder / "noise.tsv")}
    contestants = {
        OURS: Contestant(WORKERS / "data_ours.py", "crops", files | shared, environment=THREADS)
    }
    if options.peer:
        lists = {
            "data_list": str(folder / f"{seconds}-{rate}.txt"),
            "noise_dir": str(folder / "noise"),
        }
        contestants[PPVECTOR] = Contestant(
            WORKERS / "data_ppvector.py",
            "crops",
            lists | shared,
            python=options.peer,
            environment=THREADS,
        )
    return take_turns(contestants, seconds=options.seconds)


def report(case: str, figures: Mapping[str, Turn]) -> None:
    rates = {name: ITEMS.get(case, 100) / turn.cpu for name, turn in figures.items()}
    line = f"{case:20} {rates[OURS]:10.0f}"
    if PPVECTOR in rates:
        line += f" {rates[PPVECTOR]:10.1f} {rates[OURS] / rates[PPVECTOR]:7.2f}x"
    print(line, flush=True)


def measure_stream(folder: Path, options: argparse.Namespace) -> dict[str, Turn]:
    files: dict[str, Any] = {
        "manifest": str(folder / "5-16000.tsv"),
        "musan": str(folder / "noise.tsv"),
        "rirs": str(folder / "rir.tsv"),
    }
    loader = {**files, "batch": FILES, "workers": 0}
    step = {"model": options.model, "arguments": {}, "batch": FILES, "frames": 298, "classes": 8388}
    contestants = {
        "reading and augmenting": Contestant(
            WORKERS / "data_ours.py", "batches", loader | {"features": False}
        ),
        "the same with features": Contestant(
            WORKERS / "data_ours.py", "batches", loader | {"features": True}
        ),
        f"a training step of {options.model}": Contestant(
            WORKERS / "models_ours.py", "training_step", step | {"threads": 1}
        ),
    }
    return take_turns(contestants, seconds=options.seconds)


def measure_manifest(folder: Path, options: argparse.Namespace) -> Turn:
    """Reading a manifest of :data:`LINES` lines that are as long as VoxCeleb2's."""
    path = folder / "million.tsv"
    names = (
        f"vox2/dev/aac/id{line // 150:05d}/{line * 2654435761 % 2**44:011x}"
        for line in range(LINES)
    )
    rows = (
        (f"{name}/{line % 150:05d}.m4a", name.split("/")[3], 3 + line % 17)
        for line, name in enumerate(names)
    )
    write_manifest(path, rows)
    ours = Contestant(WORKERS / "data_ours.py", "manifest", {"path": str(path)})
    return take_turns({OURS: ours}, seconds=options.seconds / 2)[OURS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter with ppvector 1.0.2")
    parser.add_argument("--model", default="TDNN", help="the model of the training step")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of measured turns per case, at least one round"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_corpus(folder)
        print(f"{'items per CPU second':20} {OURS:>10} {PPVECTOR:>10} {'ratio':>8}")
        for case in CASES:
            report(case, measure(case, folder, options))
        print("\nutterances per CPU second, batches of 3 s from the loader")
        for name, turn in measure_stream(folder, options).items():
            print(f"{name:32} {FILES / turn.cpu:10.1f}", flush=True)
        turn = measure_manifest(folder, options)
        print(
            f"\na manifest of {LINES:,} lines: {turn.cpu:.2f} CPU seconds, "
            f"peak memory {turn.peak_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
