"""A checkpoint of version 0.1.0 resumes, validates and embeds as it did in version 0.1.0.

``make_checkpoint.py`` wrote ``checkpoint_0_1`` and describes how. It also compares every bit, on
one machine. These tests allow rounding, because the last bits depend on the processor.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import make_checkpoint
import numpy as np
import pytest

HERE = Path(__file__).parent
SAVED = HERE / "checkpoint_0_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The corpus of that run, and the run directory after step 6."""
    make_checkpoint.write_corpus(tmp_path)
    make_checkpoint.restore_middle(SAVED, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return dict(np.load(SAVED / "expected.npz"))


def test_it_resumes_to_the_same_weights(folder: Path, expected: dict[str, np.ndarray]) -> None:
    run_dir = make_checkpoint.train(HERE.parents[1], folder)
    found = make_checkpoint.final_weights(run_dir)
    assert found.keys() == expected.keys() - {"embedding"}
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_it_embeds_alike(folder: Path, expected: dict[str, np.ndarray]) -> None:
    found = make_checkpoint.embedding(folder)
    np.testing.assert_allclose(found, expected["embedding"], rtol=1e-4, atol=1e-5)


def test_it_validates_to_the_saved_metrics(folder: Path) -> None:
    """On the trials of its own configuration."""
    script = HERE.parents[1] / "recipes/cnceleb/run.py"
    validate = [sys.executable, str(script), "validate", f"--checkpoint={make_checkpoint.RUN}"]
    found = json.loads(make_checkpoint.run([*validate, "--json"], folder))
    state = json.loads((folder / make_checkpoint.RUN / "step_6" / "model.state").read_text())
    assert found["eer"] == pytest.approx(state["eer"], abs=0.05)
