"""EER of the back ends on real speech of unseen speakers, in each data set and over all.

    python benchmarks/back_ends.py SPEECH CHECKPOINT OUT

``SPEECH`` is as of ``real_speech.py``. Its training speakers are divided into two halves: the
recordings of the first are the cohort and train the PLDA, two recordings of each speaker of the
second fit the calibrations. The trials of the evaluation speakers are scored with each back end,
each data set alone and all together. Embeddings are kept in ``OUT``, and a second call computes
none. The output is a table in Markdown: EER with its 95 % interval over speakers (bootstrap).
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from machine import machine
from real_speech import SETS, trials

from vprtrain import Predictor
from vprtrain.inference import Voice, all_pairs, calibrate_quality
from vprtrain.scoring import (
    Backend,
    Voices,
    bootstrap_intervals,
    compute_eer,
    read_trials,
    trial_speakers,
)

TOP = 50
EACH = 2
"""Recordings of a speaker that calibrate"""


class CachingPredictor(Predictor):
    """A predictor that keeps the voices in a file."""

    def __init__(self, checkpoint: Path, cache: Path) -> None:
        super().__init__(checkpoint, min_speech=0, runtime="paddle")
        self._cache = cache
        self._known: dict[str, Voice] = {}
        if cache.exists():
            with np.load(cache) as file:
                columns = (file[name] for name in ("keys", "embeddings", "seconds"))
                self._known = {
                    str(key): Voice(row, float(seconds))
                    for key, row, seconds in zip(*columns, strict=True)
                }

    def voice_each(
        self,
        audios: Mapping[str, Path],
        *,
        enrolment: bool = False,
        workers: int = 2,
        most: float = math.inf,
    ) -> Iterator[tuple[str, Voice]]:
        absent = {key: path for key, path in audios.items() if f"{key} {most:g}" not in self._known}
        for key, voice in super().voice_each(absent, workers=workers, most=most):
            if not isinstance(voice, Exception):
                self._known[f"{key} {most:g}"] = voice
        if absent:
            embeddings, seconds = zip(*self._known.values(), strict=True)
            np.savez(
                self._cache,
                keys=np.array(list(self._known)),
                embeddings=np.stack(embeddings),
                seconds=np.array(seconds),
            )
        for key in audios:
            if f"{key} {most:g}" in self._known:
                yield key, self._known[f"{key} {most:g}"]


def speakers_of(speech: Path, split: str) -> dict[str, str]:
    """The speaker of each recording of a split, by its path in the pack."""
    with open(speech / "dev_pack" / "metadata.csv", encoding="utf-8") as file:
        return {
            row["path"]: row["speaker"] for row in csv.DictReader(file) if row["split"] == split
        }


def back_ends(predictor: CachingPredictor, speech: Path) -> dict[str, Backend]:
    """The back ends by name, from the training speakers."""
    speakers = speakers_of(speech, "train")
    names = sorted(set(speakers.values()))
    np.random.default_rng(0).shuffle(names)
    first = set(names[: len(names) // 2])
    cohort = {path: name for path, name in speakers.items() if name in first}
    voices = dict(predictor.voice_each({path: speech / "dev_pack" / path for path in cohort}))
    embeddings, labels = (
        np.stack([voices[path].embedding for path in cohort]),
        list(cohort.values()),
    )
    plain = {
        "cosine": Backend(),
        "AS-norm": Backend.fit("as-norm", embeddings, labels, top=TOP),
        "PLDA": Backend.fit("plda", embeddings, labels),
    }
    taken = defaultdict(list)
    for path, name in speakers.items():
        if name not in first and len(taken[name]) < EACH:
            taken[name].append(path)
    own = {path: name for name, paths in taken.items() for path in paths}
    paths = {path: str(speech / "dev_pack" / path) for path in own}
    known = dict(predictor.voice_each(paths))
    calibrated = {
        f"{name}, duration": calibrate_quality(
            predictor, backend, ["duration"], all_pairs(own), known, paths
        )
        for name, backend in plain.items()
    }
    return plain | calibrated


def row(name: str, speech: Path, predictor: CachingPredictor, found: Mapping[str, Backend]) -> str:
    """A line of the table: the EER of each back end, with its interval."""
    listed = read_trials(trials(speech, name))
    ids = {*listed.enroll_ids, *listed.test_ids}
    voices = dict(predictor.voice_each({key: speech / "dev_pack" / key for key in sorted(ids)}))
    sides = [
        Voices.of(
            np.stack([voices[key].embedding for key in side]),
            side,
            [voices[key].seconds for key in side],
        )
        for side in (listed.enroll_ids, listed.test_ids)
    ]
    speakers = trial_speakers(listed)
    cells = []
    for backend in found.values():
        scores = backend.score(listed, *sides)
        low, high = bootstrap_intervals(scores, listed.targets, *speakers).eer
        eer = compute_eer(scores, listed.targets)[0]
        cells.append(f"{100 * eer:.2f} % ({100 * low:.1f} to {100 * high:.1f})")
    shown = "all together" if name == "all" else name
    return f"| {shown} | {len(np.unique(speakers))} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("speech", metavar="SPEECH", type=Path)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    options = parser.parse_args()
    speech = options.speech.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    predictor = CachingPredictor(options.checkpoint, options.out / "voices.npz")
    found = back_ends(predictor, speech)
    print(f"{machine()}\n\n| set | speakers | {' | '.join(found)} |")
    print(f"|---|---|{'---|' * len(found)}")
    for name in (*SETS, "all"):
        print(row(name, speech, predictor, found), flush=True)


if __name__ == "__main__":
    main()
