"""VisualDLLog: records that VisualDL reads, and what a resume cuts off."""

import pytest
from probes import FailAt, StopAfter, train

from vprtrain.callbacks import VisualDLLog

visualdl = pytest.importorskip("visualdl", reason="vprtrain[visualdl] is not installed")

RECORDS = "visualdl/vdlrecords.vprtrain.log"


def scalars(run_dir):
    """``{(name, step): value}``, each once, as VisualDL itself reads them."""
    reader = visualdl.LogReader(file_path=str(run_dir / RECORDS))
    points = [
        (name, point.id, point.value)
        for name in reader.get_tags()["scalar"]
        for point in reader.get_data("scalar", name)
    ]
    found = {(name, step): value for name, step, value in points}
    assert len(found) == len(points)
    return found


def test_what_is_logged_and_when(tmp_path):
    run = train(VisualDLLog(), run_dir=tmp_path, log_every=4)
    shown = scalars(tmp_path)
    assert {step for name, step in shown if name == "train/loss"} == {1, 4, 8, 12}
    assert shown["validation/error", 12] == pytest.approx(run.result.metrics["error"], rel=1e-6)


@pytest.mark.parametrize("torn", [b"", b"\1", b"\xff" * 20])
def test_a_killed_run_leaves_the_same_records(tmp_path, torn):
    train(VisualDLLog(), run_dir=tmp_path / "whole")
    train(VisualDLLog(), StopAfter(3), run_dir=tmp_path / "cut")
    with pytest.raises(OSError, match="the disk is gone"):
        train(VisualDLLog(), FailAt(11), run_dir=tmp_path / "cut")
    assert ("train/loss", 10) in scalars(tmp_path / "cut")
    with open(tmp_path / "cut" / RECORDS, "ab") as file:
        file.write(torn)
    train(VisualDLLog(), run_dir=tmp_path / "cut")
    cut, whole = scalars(tmp_path / "cut"), scalars(tmp_path / "whole")
    assert cut.keys() == whole.keys()
    assert all(
        cut[key] == whole[key] for key in whole if "second" not in key[0] and "wait" not in key[0]
    )
