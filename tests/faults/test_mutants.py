"""A stranger's file gives a right result or one of the project's own errors, within 10 seconds and
1 GB: mutants of checkpoints, PyTorch files, exported models and databases, made from seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mutant_processes import assert_all_end_well
from small_checkpoint import write_checkpoint

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.extractors.exporting import export
from vprtrain.voiceprints.database import Voiceprints


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good file of each kind, but exported models."""
    folder = tmp_path_factory.mktemp("sample")
    write_checkpoint(folder / "checkpoint")
    (folder / "torch").mkdir()
    for name in ("torch_zip.pt", "torch_legacy.pt"):
        data = (Path(__file__).parent.parent / "conversion" / name).read_bytes()
        (folder / "torch" / name).write_bytes(data)
    voiceprints = Voiceprints(folder / "voiceprints.db", model="ab" * 32)
    rng = np.random.default_rng(1)
    for user in ("ann", "bob", "eve"):
        voiceprints.add(user, rng.standard_normal((2, 8)).astype("float32"))
    voiceprints.close()
    return folder


@pytest.fixture(scope="module")
def exported(sample: Path) -> Path:
    """The same folder with an exported model."""
    export(open_checkpoint(sample / "checkpoint"), sample / "exported")
    return sample


FAST = {"pickles": 60, "torch": 40, "specs": 20, "sqlite": 30}
SLOW = {"pickles": 900, "torch": 700, "checkpoint": 200, "static": 250, "onnx": 250} | {
    "sqlite": 500,
    "specs": 320,
}


@pytest.mark.parametrize("kind", FAST)
def test_mutants_end_well(kind: str, sample: Path, tmp_path: Path) -> None:
    assert_all_end_well(kind, 0, FAST[kind], sample, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW)
def test_many_mutants_end_well(kind: str, exported: Path, tmp_path: Path) -> None:
    begin = FAST.get(kind, 0)
    assert_all_end_well(kind, begin, begin + SLOW[kind], exported, tmp_path)
