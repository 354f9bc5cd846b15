"""TrialData with several trial lists. With one it is tested in test_data.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vprtrain.data.manifest import write_manifest
from vprtrain.data.reading import Reading
from vprtrain.errors import UsageError
from vprtrain.files import file_sha256
from vprtrain.speaker.trials import TrialData

LISTS = {"o": "a b 1\na c 0\n", "e": "a c 0\nd b 1\n", "h": "d b 1\nd c 0\n"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = []
    for key in "abcd":
        soundfile.write(tmp_path / f"{key}.wav", rng.normal(0, 0.1, 16000), 16000)
        rows.append((key, f"{key}.wav", 1.0))
    write_manifest(tmp_path / "eval.tsv", rows)
    for name, lines in LISTS.items():
        (tmp_path / f"{name}.txt").write_text(lines)
    return {
        "trials": {name: tmp_path / f"{name}.txt" for name in LISTS},
        "eval_manifest": tmp_path / "eval.tsv",
        "reading": Reading(workers=0),
    }


def test_every_utterance_is_read_once(files: dict[str, Any]) -> None:
    data = TrialData(**files)
    assert [*data.lists] == ["o", "e", "h"]
    assert data.trials is data.lists["o"]
    keys = [key for batch in data.validation_batches() for key in batch.keys]
    assert sorted(keys) == ["a", "b", "c", "d"]


def test_the_fingerprint_names_each_list(files: dict[str, Any]) -> None:
    digests = TrialData(**files).fingerprint()["trials"]
    assert digests == {name: file_sha256(path) for name, path in files["trials"].items()}
    one = TrialData(**{**files, "trials": files["trials"]["o"]})
    assert one.fingerprint()["trials"] == digests["o"]


def test_a_recording_that_only_another_list_needs_may_not_be_missing(files: dict[str, Any]) -> None:
    (files["eval_manifest"].parent / "d.wav").unlink()
    with pytest.raises(UsageError, match=r"recordings that are not on disk: .*d\.wav"):
        TrialData(**files)
    TrialData(**{**files, "trials": files["trials"]["o"]})


@pytest.mark.parametrize("name", ["", "step", "a b", "../o"])
def test_a_name_that_no_metric_can_have_is_refused(files: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError, match=f"a trial list is called '{name}'"):
        TrialData(**{**files, "trials": {name: files["trials"]["o"]}})


def test_no_list_is_refused(files: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="trials names no list"):
        TrialData(**{**files, "trials": {}})
