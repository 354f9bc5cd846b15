"""What stands in for a reader's own files when a page of documentation is run.

A page names what it needs in a comment: ``<!-- stand-ins: recordings, published -->``.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

TEST_DATA = Path(os.environ["VPRTRAIN_TEST_DATA"])


def recordings(folder: Path) -> None:
    """Real speech: ``my_speakers/<speaker>/``, 20 speakers with 4 recordings each.

    ``a.wav``, ``b.wav`` and ``c.wav`` are of one unseen speaker, and ``d.wav`` is of another.
    """
    spoken = defaultdict(list)
    with open(_real("dev_pack/metadata.csv"), encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["dataset"] == "librispeech":
                spoken[row["split"], row["speaker"]].append(TEST_DATA / "dev_pack" / row["path"])
    full = {key: paths for key, paths in sorted(spoken.items()) if len(paths) >= 4}
    for (_, speaker), paths in [each for each in full.items() if each[0][0] == "train"][:20]:
        (folder / "my_speakers" / speaker).mkdir(parents=True)
        for path in paths[:4]:
            (folder / "my_speakers" / speaker / path.name).symlink_to(path)
    stranger, user = [paths for (split, _), paths in full.items() if split == "eval"][:2]
    for name, path in zip("abcd", [*user[:3], stranger[0]], strict=True):
        (folder / f"{name}.wav").symlink_to(path)


def voices(folder: Path) -> None:
    """The same with synthetic voices: 6 speakers, Ann and Bob among them, 4 recordings of 1 s."""
    for number, speaker in enumerate(("ann", "bob", "eve", "ida", "kim", "lee")):
        (folder / "my_speakers" / speaker).mkdir(parents=True)
        for take in range(4):
            _write(folder / "my_speakers" / speaker / f"{take + 1}.wav", number, take)
    for take, name in enumerate("abc"):
        _write(folder / f"{name}.wav", 0, take)


def published(folder: Path) -> None:
    """The file of a published model."""
    file = _real("pretrained/campplus_cn_en_common.pt")
    (folder / file.name).symlink_to(file)


def model(folder: Path) -> None:
    """A small untrained model with a threshold, ``models/mine``."""
    write_checkpoint(folder / "models" / "mine")


def data(folder: Path) -> None:
    """What ``vprtrain prepare --from folder my_speakers --held_out 2`` writes."""
    command = [sys.executable, "-m", "vprtrain", "prepare", "--from=folder", "my_speakers"]
    subprocess.run([*command, "--held_out=2"], cwd=folder, check=True, capture_output=True)


def checkout(folder: Path) -> None:
    """The folders of a checkout."""
    root = Path(__file__).parents[1]
    for name in ("recipes", "benchmarks"):
        (folder / name).symlink_to(root / name)


STAND_INS: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (recordings, voices, published, model, data, checkout)
}
REAL = ("recordings", "published")
"""Those that need the test data."""


def _write(path: Path, speaker: int, take: int) -> None:
    soundfile.write(path, np.clip(voice(speaker, take), -1, 1), 16000)


def _real(path: str) -> Path:
    if not (TEST_DATA / path).is_file():
        pytest.skip(f"no {path} in {TEST_DATA}: set VPRTRAIN_TEST_DATA")
    return TEST_DATA / path
