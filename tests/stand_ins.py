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

from vprtrain.features import Fbank
from vprtrain.models import TDNN

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


def meeting(folder: Path) -> None:
    """``meeting.wav``: two synthetic voices take turns for half a minute."""
    pause = np.zeros(8000, np.float32)
    turns = [voice(number % 2, number, seconds=4.0) for number in range(6)]
    samples = np.concatenate([part for turn in turns for part in (pause, turn)])
    soundfile.write(folder / "meeting.wav", np.clip(samples, -1, 1), 16000)


def published(folder: Path) -> None:
    """The file of a published model."""
    file = _real("pretrained/campplus_cn_en_common.pt")
    (folder / file.name).symlink_to(file)


def model(folder: Path) -> None:
    """A small untrained model with a threshold, ``models/mine``, on the usual 80 mels."""
    write_checkpoint(
        folder / "models" / "mine",
        model=TDNN(channels=8, pooled_channels=16, embedding_dim=16),
        feature=Fbank(n_mels=80, mean_norm=True),
    )


def data(folder: Path) -> None:
    """What ``vprtrain prepare --from folder my_speakers --held_out 2`` writes."""
    _vprtrain(folder, "prepare", "--from=folder", "my_speakers", "--held_out=2")


def run(folder: Path) -> None:
    """What training on that leaves after four steps, ``models/TDNN_Fbank``."""
    _vprtrain(
        folder,
        *("fit", "--recipe=own", "--config=compact", "--config=data/fit.yaml", "--device=cpu"),
        *("--engine.max_steps=4", "--engine.commit_every=1 steps", "--callbacks=[Checkpoint]"),
        *("--engine.validate_every=2 steps", "--data.batch_size=4", "--data.crop_seconds=0.6"),
        *("--model.channels=16", "--model.pooled_channels=24", "--model.embedding_dim=16"),
    )


def checkout(folder: Path) -> None:
    """The folders of a checkout."""
    root = Path(__file__).parents[1]
    for name in ("recipes", "benchmarks"):
        (folder / name).symlink_to(root / name)


STAND_INS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (recordings, voices, meeting, published, model, data, run, checkout)
}
REAL = ("recordings", "published")
"""Those that need the test data."""


def _vprtrain(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "vprtrain", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _write(path: Path, speaker: int, take: int) -> None:
    soundfile.write(path, np.clip(voice(speaker, take), -1, 1), 16000)


def _real(path: str) -> Path:
    if not (TEST_DATA / path).is_file():
        pytest.skip(f"no {path} in {TEST_DATA}: set VPRTRAIN_TEST_DATA")
    return TEST_DATA / path
