"""The simulated conversations that diarization is measured on.

    python benchmarks/conversations.py SPEECH OUT [--split eval] [--only PATTERN]

``SPEECH`` is a folder with ``dev_pack`` (``metadata.csv``: path, speaker, dataset, split, duration)
and ``noise_pack`` (laid out as MUSAN and as RIRS_NOISES). ``OUT/eval`` gets conversations of unseen
speakers, ``OUT/train`` those of training speakers, on which values are chosen. Each has five
minutes and the defaults of ``vprtrain simulate``. There are 2, 3, 4 or 6 speakers, of LibriSpeech
("libri") or RAVDESS ("acted" emotions), clean or in rooms with noise at 5 to 20 dB: a name is
``libri2_noisy_0000``. The same files give the same conversations. Those that are there are kept.
The output is a table of what they hold.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from real_speech import prepare

from vprtrain.data.augmentation import AdditiveNoise, Reverberation
from vprtrain.data.conversations import (
    ConversationSimulator,
    ConversationStyle,
    write_conversation,
)
from vprtrain.data.manifest import read_manifest, write_manifest
from vprtrain.lists import Segment, read_rttm

DATASETS = {"libri": "librispeech", "acted": "ravdess"}
SPEAKERS = (2, 3, 4, 6)
CONVERSATIONS = {"train": {"libri": 2, "acted": 2}, "eval": {"libri": 3, "acted": 1}}
"""In a row of the tables; RAVDESS has six speakers for evaluation."""
SEEDS = {"train": 100, "eval": 0}
"""Of the first row; the next one has the next. The noise of a conversation depends on the seed and
its number only."""
SNR = (5.0, 20.0)


def make(speech: Path, out: Path, *, split: str, only: str = "*") -> Path:
    """Write the conversations of a split whose names match ``only``; their folder."""
    lists, folder = out / "lists", out / split
    prepare(speech, lists)
    for name, number, simulator in planned(speech, lists, split):
        if fnmatch(name, only) and not (folder / f"{name}.uem").exists():  # it is written last
            conversation = simulator.conversation(number)
            write_conversation(folder, name, conversation, sample_rate=simulator.sample_rate)
    return folder


def planned(
    speech: Path, lists: Path, split: str
) -> Iterator[tuple[str, int, ConversationSimulator]]:
    """The name and the number of each conversation, and what makes it."""
    seed = SEEDS[split]
    for dataset, longer in DATASETS.items():
        manifest = lists / f"{dataset}_{split}.tsv"
        write_speakers(speech, longer, split, manifest)
        for speakers in SPEAKERS:
            for kind, surroundings in (("clean", None), ("noisy", lists)):
                simulator = simulator_of(manifest, speakers, seed, surroundings)
                for number in range(CONVERSATIONS[split][dataset]):
                    yield f"{dataset}{speakers}_{kind}_{number:04d}", number, simulator
            seed += 1


def write_speakers(speech: Path, dataset: str, split: str, manifest: Path) -> None:
    """The manifest of a data set's speakers of one split."""
    pack = speech / "dev_pack"
    with open(pack / "metadata.csv", encoding="utf-8") as file:
        rows = [
            (str(pack / row["path"]), row["speaker"], float(row["duration"]))
            for row in csv.DictReader(file)
            if (row["dataset"], row["split"]) == (dataset, split)
        ]
    write_manifest(manifest, rows)


def simulator_of(
    manifest: Path, speakers: int, seed: int, surroundings: Path | None
) -> ConversationSimulator:
    """As ``vprtrain simulate`` makes it.

    Args:
        surroundings: a folder with ``rirs.tsv`` and ``musan.tsv``; ``None`` for neither.
    """
    room = noise = None
    if surroundings is not None:
        room = Reverberation(manifest=str(surroundings / "rirs.tsv"), probability=1.0)
        noise = AdditiveNoise(
            manifest=str(surroundings / "musan.tsv"),
            noise_snr=SNR,
            music_snr=SNR,
            babble_snr=SNR,
            probability=1.0,
        )
    style = ConversationStyle(speakers=(speakers, speakers))
    return ConversationSimulator(
        read_manifest(str(manifest)), seed=seed, style=style, room=room, noise=noise
    )


def print_contents(folder: Path) -> None:
    """A table of the rows of conversations: their number, net speech, and what of it is hidden by
    another voice."""
    rows: dict[str, list[list[Segment]]] = {}
    for path in sorted(folder.glob("*.rttm")):
        (segments,) = read_rttm(path).values()
        rows.setdefault(re.sub(r"_\d+$", "", path.stem), []).append(segments)
    print("| conversations | number | speech, s | of it over another voice, % |")
    print("|---|---|---|---|")
    for name, row in rows.items():
        speech = sum(segment.duration for segments in row for segment in segments)
        over = speech - sum(map(anyone_speaks, row))
        print(f"| {name} | {len(row)} | {speech:.0f} | {100 * over / speech:.1f} |")


def anyone_speaks(segments: list[Segment]) -> float:
    """Seconds in which one or more speak."""
    edges = np.unique([(segment.start, segment.end) for segment in segments])
    spoken = np.zeros(len(edges), bool)
    for segment in segments:
        spoken[np.searchsorted(edges, segment.start) : np.searchsorted(edges, segment.end)] = True
    return float(np.diff(edges) @ spoken[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("speech", metavar="SPEECH", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--split", choices=list(CONVERSATIONS), default="eval")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="of names")
    options = parser.parse_args()
    speech, out = options.speech.resolve(), options.out.resolve()
    print_contents(make(speech, out, split=options.split, only=options.only))


if __name__ == "__main__":
    main()
