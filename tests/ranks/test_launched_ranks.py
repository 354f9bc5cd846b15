"""A run of one process. Runs of several are tested in tests/faults/test_distributed*.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy import ToyData, ToyModule

from vprtrain.engine import Engine
from vprtrain.errors import UsageError
from vprtrain.ranks import launched_ranks
from vprtrain.ranks.launched_ranks import (
    connect_ranks,
    launched_rank,
    launched_world_size,
    require_one_process,
)
from vprtrain.runtime import use_device


def test_without_a_launcher_there_is_one_process(monkeypatch):
    for name in ("PADDLE_TRAINERS_NUM", "PADDLE_TRAINER_ID"):
        monkeypatch.delenv(name, raising=False)
    assert (launched_world_size(), launched_rank()) == (1, 0)


def test_one_process_has_nothing_to_exchange():
    ranks, array = connect_ranks(), np.arange(3)
    assert (ranks.size, ranks.rank, ranks.is_first, ranks.attention) == (1, 0, True, False)
    assert ranks.exchange({"a": 1}) == [{"a": 1}]
    assert ranks.gather(array)[0] is array


def test_data_that_is_shared_out_among_others_is_refused():
    data = ToyData()
    data.world_size = 2
    with pytest.raises(
        UsageError, match="divides each batch among 2 ranks, but the run has 1: set the"
    ):
        Engine(max_epochs=1).fit(ToyModule(), data)


def test_several_launched_processes_are_refused_where_one_is_meant(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(UsageError, match="prepare runs in one process, but 2 were launched"):
        require_one_process("prepare")
    with pytest.raises(
        UsageError, match=r"device is 'gpu:1', but 2 processes .* with the launcher's --devices"
    ):
        use_device("gpu:1")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "1")
    require_one_process("prepare")


def test_no_rank_unpickles_what_another_one_sends():
    """Paddle's ``*_object`` collectives do."""
    folder = Path(launched_ranks.__file__).parent
    texts = {path.name: path.read_text() for path in folder.glob("*.py")}
    assert "all_gather(" in texts["launched_ranks.py"]
    assert not [name for name, text in texts.items() if re.search(r"pickle|\w_object\w*\(", text)]


def test_a_process_ends_with_its_launcher_though_that_was_killed_before_the_start():
    rank = (
        "import os, time\nlauncher = os.getppid()\n"
        "from vprtrain.ranks import connect_ranks\nprint('imported', flush=True)\n"
        "while os.getppid() == launcher:\n    time.sleep(0.01)\n"
        "connect_ranks()\ntime.sleep(30)\nprint('outlived it')\n"
    )
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {rank!r}])"
    environment = os.environ | {"PADDLE_TRAINER_ID": "0", "PADDLE_TRAINERS_NUM": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", launcher],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout.readline() == "imported\n"
        process.kill()
        assert process.stdout.read() == ""  # the pipe is closed
