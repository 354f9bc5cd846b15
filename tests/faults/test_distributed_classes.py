"""G9 with sampled classes: all ranks sample the same classes, and train what one rank trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rank_processes import spawn

from vprtrain.checkpoint.file_names import MODEL_FILE, OPTIMIZER_FILE
from vprtrain.checkpoint.state_file import open_checkpoint

pytestmark = pytest.mark.distributed

SCRIPT = str(Path(__file__).with_name("sampled_runs.py"))


def test_two_ranks_sample_and_train_the_classes_that_one_does(tmp_path: Path) -> None:
    for size in (1, 2):
        with spawn(
            [SCRIPT, str(tmp_path / str(size))], size, tmp_path / f"logs {size}"
        ) as processes:
            assert processes.wait(240) == [0] * size, processes.said()
    one, two = (open_checkpoint(tmp_path / str(size) / "last_model") for size in (1, 2))
    assert one.state.own["head"] == {"class_share": 0.4}
    for file in (MODEL_FILE, OPTIMIZER_FILE):
        expected, found = one.arrays(file), two.arrays(file)
        assert expected.keys() == found.keys() and any("head.centers" in name for name in expected)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=2e-6, err_msg=name)
