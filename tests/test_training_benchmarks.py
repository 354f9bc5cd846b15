"""The benchmarks of training, as far as they run in seconds."""

from __future__ import annotations

from pathlib import Path

import equal_budget
import fine_tuning
import numpy as np
import pytest

from vprtrain.scoring import compute_eer


def test_finished_runs_are_kept(tmp_path: Path) -> None:
    first, second = (equal_budget.run_key("vprtrain", "TDNN", 4, seed) for seed in (0, 1))
    eers = dict.fromkeys(equal_budget.SETS, 0.10)
    equal_budget.Results(tmp_path / "results.json").add(first, eers, 100.0)
    reopened = equal_budget.Results(tmp_path / "results.json")
    assert first in reopened and second not in reopened
    reopened.add(second, dict.fromkeys(equal_budget.SETS, 0.12), 200.0)
    runs = equal_budget.Results(tmp_path / "results.json").of([first, second])
    assert equal_budget.row("vprtrain", "TDNN", runs) == (
        "| vprtrain | TDNN | 2 | " + "11.0 ± 1.4 | " * 4 + "150 |"
    )


def test_the_layer_learns_what_varies_within_a_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning, "EPOCHS", 30)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 16)) * ([1.0] * 8 + [0.0] * 8)
    noise = rng.normal(size=(60, 12, 16)) * ([0.3] * 8 + [2.0] * 8)
    embeddings = {
        f"{speaker}/{take}": (centres[speaker] + noise[speaker, take]).astype(np.float32)
        for speaker in range(60)
        for take in range(12)
    }
    trained = {key: key.split("/")[0] for key in embeddings if int(key.split("/")[0]) < 45}
    after = fine_tuning.tuned(embeddings, trained, seed=0)
    assert _eer(after, trained) < 0.6 * _eer(embeddings, trained)


def _eer(embeddings: fine_tuning.Embeddings, trained: dict[str, str]) -> float:
    """Over all pairs of recordings of the other speakers."""
    keys = [key for key in embeddings if key not in trained]
    vectors = np.stack([embeddings[key] / np.linalg.norm(embeddings[key]) for key in keys])
    speakers = np.array([key.split("/")[0] for key in keys])
    first, second = np.triu_indices(len(keys), 1)
    scores = np.sum(vectors[first] * vectors[second], axis=1)
    return compute_eer(scores, speakers[first] == speakers[second])[0]
