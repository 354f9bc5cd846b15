"""How the loading of training data scales: utterances per second with threads and with processes.

An utterance is 3 s of a FLAC file at 16 kHz with speed perturbation, noise and a room
(probability 1). The baseline is one thread. The figures are medians of the rounds, in which the
contestants take turns.

    python benchmarks/loading.py [--workers 1 2 4] [--rounds 3] [--seconds 4]
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from tables import print_head, print_row

from vprtrain.data.augmentation import AdditiveNoise, Reverberation, SpeedPerturbation
from vprtrain.data.manifest import write_manifest
from vprtrain.speaker.data import SpeakerData

FILES, BATCH = 64, 32


def make_corpus(folder: Path) -> None:
    """Write 5 s utterances, 10 s noises and rooms of half a second, with their manifests."""
    rng = np.random.default_rng(0)
    for kind, seconds, decay in (("train", 5.0, 0.0), ("noise", 10.0, 0.0), ("room", 0.5, 14.0)):
        envelope = np.exp(-decay * np.arange(round(seconds * 16000)) / 16000)
        rows = []
        for number in range(FILES):
            name = f"{kind}-{number}.flac"
            soundfile.write(folder / name, rng.normal(0, 0.05, len(envelope)) * envelope, 16000)
            label = f"{number % 8}" if kind == "train" else kind
            rows.append((name, label, seconds))
        write_manifest(folder / f"{kind}.tsv", rows)


def data(folder: Path, workers: int, processes: bool) -> SpeakerData:
    return SpeakerData.from_files(
        train_manifest=folder / "train.tsv",
        batch_size=BATCH,
        speed_perturbation=SpeedPerturbation(),
        augmentations=[
            AdditiveNoise(manifest=str(folder / "noise.tsv"), probability=1),
            Reverberation(manifest=str(folder / "room.tsv"), probability=1),
        ],
        workers=workers,
        worker_processes=processes,
    )


def throughput(loader: SpeakerData, seconds: float) -> float:
    """Utterances per second, after a first epoch that starts the workers and fills the caches."""
    for _ in loader.train_batches(0, 0):
        pass
    started, count = time.perf_counter(), 0
    for epoch in itertools.count(1):
        for batch in loader.train_batches(epoch, 0):
            count += len(batch.labels)
        if (passed := time.perf_counter() - started) >= seconds:
            return count / passed
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    options = parser.parse_args()
    contestants = [(workers, kind) for workers in options.workers for kind in (False, True)]
    found: dict[tuple[int, bool], list[float]] = {each: [] for each in contestants}
    with tempfile.TemporaryDirectory() as name:
        make_corpus(Path(name))
        for _ in range(options.rounds):
            for each in contestants:
                found[each].append(throughput(data(Path(name), *each), options.seconds))
    medians = {each: statistics.median(values) for each, values in found.items()}
    baseline = medians[options.workers[0], False]
    print(f"{len(os.sched_getaffinity(0))} cores; ratios to {options.workers[0]} thread(s)")
    print()
    print_head("workers", "threads, utterances/s", "processes, utterances/s")
    for workers in options.workers:
        speeds = (medians[workers, kind] for kind in (False, True))
        print_row(workers, *(f"{speed:.0f} ({speed / baseline:.2f})" for speed in speeds))


if __name__ == "__main__":
    main()
