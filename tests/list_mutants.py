"""Mutants of text lists, shards and caches; :mod:`mutants` says how they are used."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutants
from mutants import EXTREMES, mutated_bytes, mutated_value

FIELDS = (
    *("", " ", ".", "..", "/dev/zero", "/", "C:\\data\\a.wav", "a\\b.wav", "nan", "inf", "1e400"),
    *("-1", "0", "٣", "1_0", "x" * 70_000, "9" * 5000, "a\0b", "\ufeff", "\u2028", "\x1b[2J"),
    *("spk ", "train-000009.tar", "../train-000000.tar", "target", "cat a.wav |", "a.ark:7"),
    *map(str, EXTREMES),
)
BYTES = (b"\r", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", "张三".encode("gbk"), b"\t", b",", b"\n\n")


def mutated_text(data: bytes, rng: random.Random) -> bytes:
    """A list of which lines, columns or single bytes differ."""
    if rng.random() < 0.3:
        return mutated_bytes(data, rng)
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        separator = b"\t" if b"\t" in lines[at] else b" "
        match rng.randrange(6):
            case 0:
                del lines[at]
                lines = lines or [b""]
            case 1:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
            case 2:
                lines[at] = lines[at].replace(separator, rng.choice((b" ", b"\t", b",", b"")))
            case 3 | 4:
                columns = lines[at].split(separator)
                columns[rng.randrange(len(columns))] = rng.choice(FIELDS).encode()
                lines[at] = separator.join(columns)
            case 5:
                place = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + rng.choice(BYTES) + lines[at][place:]
    return b"\n".join(lines)


def mutated_npz(data: bytes, rng: random.Random) -> bytes:
    """An archive with right checksums, of which one array is changed or has another name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(arrays))
    changed = arrays.pop(name)
    if rng.random() < 0.2:
        name = rng.choice(("x.npy", "../x.npy", "x"))
    else:
        shape, number = rng.choice((b"4", b"20", b"5")), rng.choice(EXTREMES)
        changed = rng.choice((mutated_bytes(changed, rng), changed.replace(shape, b"%d" % number)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, content in {**arrays, name: changed}.items():
            archive.writestr(each, content)
    return out.getvalue()


class Lists:
    """Manifests, Kaldi's tables, trials, enrolments, scores and CSV, read as what they are."""

    def __init__(self, sample: Path) -> None:
        from vprtrain.data.manifest import read_manifest, read_recordings
        from vprtrain.data.preparation import Summary
        from vprtrain.data.preparation.corpora import of_kaldi
        from vprtrain.lists import read_uem
        from vprtrain.scoring.diarization_evaluation import evaluate_diarization, read_timelines
        from vprtrain.scoring.score_file import read_scores
        from vprtrain.scoring.trials import read_enrollment, read_trials

        def kaldi(path: Path) -> None:
            of_kaldi(path.parent, path.parent, Summary())

        def scores(path: Path) -> None:
            read_scores(path, read_trials(path.with_name("trials.txt")))

        def pairs(path: Path) -> None:
            read_trials(path, enroll_list=path.with_name("labels.txt"))

        def timelines(path: Path) -> None:
            reference = read_timelines(path)
            evaluate_diarization(reference, dict(reference), collar=0.1)

        self.sample = sample / "lists"
        self.readers: dict[str, list[Callable[[Path], Any]]] = {
            "train.tsv": [read_manifest],
            "eval.tsv": [read_recordings],
            "wav.scp": [kaldi],
            "utt2spk": [kaldi],
            "trials.txt": [read_trials],
            "enroll.map": [read_enrollment],
            "labels.txt": [read_manifest, pairs],
            "scores.txt": [scores],
            "talks.rttm": [timelines],
            "talks.uem": [read_uem],
            "train.csv": [read_manifest, read_recordings, read_trials],
        }

    def use(self, folder: Path, rng: random.Random) -> None:
        shutil.copytree(self.sample, folder, dirs_exist_ok=True)
        name = rng.choice(list(self.readers))
        path = folder / name
        path.write_bytes(mutated_text(path.read_bytes(), rng))
        for read in self.readers[name]:
            read(path)


class Shards:
    """Packed recordings of which one file is changed; every utterance is read."""

    def __init__(self, sample: Path) -> None:
        from vprtrain.data.manifest import read_manifest
        from vprtrain.data.packing import pack
        from vprtrain.data.shards import ShardSource

        self.sample, self.pack, self.open = sample / "packed", pack, ShardSource
        self.manifest = read_manifest(self.sample / "train.tsv")

    def use(self, folder: Path, rng: random.Random) -> None:
        copy = folder / "shards"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.sample / "shards", copy)
        path = copy / rng.choice(("index.tsv", "index.tsv", "plan.json", "train-000000.tar"))
        path.write_bytes(self.mutant(path, rng))
        source = self.open(manifest=self.manifest, folder=copy)
        for index in range(len(self.manifest)):
            source.seconds(index)
            source.read(index, 0.0, 1.0)
        self.pack(self.manifest.path, copy, workers=0)

    def mutant(self, path: Path, rng: random.Random) -> bytes:
        data = path.read_bytes()
        if path.suffix == ".tsv":
            return mutated_text(data, rng)
        if path.suffix == ".json" and rng.random() < 0.7:
            return json.dumps(mutated_value(json.loads(data), rng)).encode()
        return mutated_bytes(data, rng)


class Caches:
    """The files that the project keeps for itself: a damaged one is refused or made again."""

    def __init__(self, sample: Path) -> None:
        from vprtrain.data.preparation.measuring import Measurer
        from vprtrain.errors import VprTrainError
        from vprtrain.evaluation.embedding_store import EmbeddingStore
        from vprtrain.scoring.calibrate import Calibration
        from vprtrain.scoring.plda import Plda

        self.sample = sample / "caches"
        recordings = sorted(map(str, (sample / "packed").glob("*.wav")))

        def durations(path: Path) -> None:
            measured = list(Measurer(memory=path, workers=1).measure(recordings, "files"))
            if any(isinstance(seconds, VprTrainError) for seconds in measured):
                raise RuntimeError(f"a good recording is refused: {measured}")

        def embeddings(path: Path) -> None:
            store = EmbeddingStore(path.parent.parent, about={})
            if store.folder != path.parent:
                raise RuntimeError("another folder")
            store.read()

        self.readers: dict[str, Callable[[Path], Any]] = {
            "durations.cache": durations,
            "calibration.json": Calibration.load,
            "plda.npz": Plda.load,
        }
        part = next(self.sample.rglob("000000000.npz"))
        self.readers[str(part.relative_to(self.sample))] = embeddings

    def use(self, folder: Path, rng: random.Random) -> None:
        shutil.copytree(self.sample, folder, dirs_exist_ok=True)
        name = rng.choice(list(self.readers))
        data = (folder / name).read_bytes()
        if name.endswith(".json") and rng.random() < 0.7:
            data = json.dumps(mutated_value(json.loads(data), rng)).encode()
        elif name.endswith(".npz"):
            data = rng.choice((mutated_bytes, mutated_npz))(data, rng)
        else:
            data = mutated_text(data, rng)
        (folder / name).write_bytes(data)
        self.readers[name](folder / name)


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"
    mutants.KINDS.update({"lists": Lists, "shards": Shards, "caches": Caches})
    mutants.main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *map(Path, sys.argv[4:]))
