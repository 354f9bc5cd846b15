"""How the loading of training data scales: utterances per second with threads and with processes.

An utterance is 3 s of a FLAC file at 16 kHz with speed perturbation, noise and a room
(probability 1). The baseline is one thread. The figures are medians of the rounds, in which the
contestants take turns. Of processes there is also the CPU time of an utterance: in the worker, and
in the training process, which stacks the batches too. One core of the training process can take in
1000 / milliseconds utterances a second, however many workers there are.

    python benchmarks/loading.py [--workers 1 2 4] [--rounds 3] [--seconds 4]
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tables import print_head, print_row

from vprtrain.data.augmentation import AdditiveNoise, Reverberation, SpeedPerturbation
from vprtrain.data.manifest import write_manifest
from vprtrain.speaker.data import SpeakerData

BATCH = 32
UTTERANCES = 512
"""In an epoch: at its end, workers wait for each other"""
OTHERS = 64
"""Noises, and rooms: each process keeps the spectra of as many"""


def make_corpus(folder: Path) -> None:
    """Write 5 s utterances, 10 s noises and rooms of half a second, with their manifests."""
    rng = np.random.default_rng(0)
    for kind, files, seconds, decay in (
        ("train", UTTERANCES, 5.0, 0.0),
        ("noise", OTHERS, 10.0, 0.0),
        ("room", OTHERS, 0.5, 14.0),
    ):
        envelope = np.exp(-decay * np.arange(round(seconds * 16000)) / 16000)
        rows = []
        for number in range(files):
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


class Speed(NamedTuple):
    """Of a loader."""

    utterances: float
    """A second"""
    here: float
    """Milliseconds of CPU time that an utterance takes in this process"""
    in_workers: float
    """The same in the worker processes together"""


def measure(loader: SpeakerData, seconds: float) -> Speed:
    """The speed, after a first epoch that starts the workers and fills the caches."""
    gc.collect()  # ends the workers of the loader before
    for _ in loader.train_batches(0, 0):
        pass
    started, count = time.perf_counter(), 0
    here, in_workers = time.process_time(), children_cpu_seconds()
    for epoch in itertools.count(1):
        for batch in loader.train_batches(epoch, 0):
            count += len(batch.labels)
        if (passed := time.perf_counter() - started) >= seconds:
            break
    return Speed(
        count / passed,
        1000 * (time.process_time() - here) / count,
        1000 * (children_cpu_seconds() - in_workers) / count,
    )


def children_cpu_seconds() -> float:
    """CPU time that the running children of this process have taken."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # a process that has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()  # proc(5), from the state on
            if int(fields[1]) == os.getpid():
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    options = parser.parse_args()
    contestants = [(workers, kind) for workers in options.workers for kind in (False, True)]
    found: dict[tuple[int, bool], list[Speed]] = {each: [] for each in contestants}
    with tempfile.TemporaryDirectory() as name:
        make_corpus(Path(name))
        for _ in range(options.rounds):
            for each in contestants:
                found[each].append(measure(data(Path(name), *each), options.seconds))
    medians = {
        each: Speed(*map(statistics.median, zip(*speeds, strict=True)))
        for each, speeds in found.items()
    }
    baseline = medians[options.workers[0], False].utterances
    print(f"{len(os.sched_getaffinity(0))} cores; ratios to {options.workers[0]} thread(s)")
    print()
    print_head(
        "workers",
        "threads, utterances/s",
        "processes, utterances/s",
        "ms of a worker",
        "ms of the training process",
    )
    for workers in options.workers:
        threads, processes = (medians[workers, kind] for kind in (False, True))
        print_row(
            workers,
            *(
                f"{each.utterances:.0f} ({each.utterances / baseline:.2f})"
                for each in (threads, processes)
            ),
            f"{processes.in_workers:.2f}",
            f"{processes.here:.3f}",
        )


if __name__ == "__main__":
    main()
