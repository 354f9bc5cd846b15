"""WandbLog, offline."""

import pytest
from probes import StopAfter, train

from vprtrain.callbacks import WandbLog

pytest.importorskip("wandb", reason="vprtrain[wandb] is not installed")


def runs(run_dir):
    """The ids of the recorded runs, one a process."""
    return [path.name.rpartition("-")[2] for path in (run_dir / "wandb").glob("offline-run-*")]


def test_a_resume_goes_on_in_the_same_run(tmp_path):
    train(WandbLog(mode="offline"), StopAfter(7), run_dir=tmp_path)
    identity = (tmp_path / "wandb_run_id").read_text()
    assert runs(tmp_path) == [identity]
    train(WandbLog(mode="offline"), run_dir=tmp_path)
    assert (tmp_path / "wandb_run_id").read_text() == identity
    assert set(runs(tmp_path)) == {identity}
    record = b"".join(path.read_bytes() for path in tmp_path.glob("wandb/offline-run-*/*.wandb"))
    for name in (b"train/loss", b"validation/error", b"max_epochs"):
        assert name in record


def test_a_run_that_writes_nothing_logs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(WandbLog(mode="offline"))
    assert list(tmp_path.iterdir()) == []
