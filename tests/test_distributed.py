"""One process, until there are more."""

import pytest
from toy import ToyData, ToyModule

from vprtrain.distributed import world_size
from vprtrain.engine import Engine
from vprtrain.errors import UsageError


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    assert world_size() == 1


def test_several_processes_are_refused_rather_than_trained_apart(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(UsageError, match="2 processes were launched"):
        Engine(max_epochs=1).fit(ToyModule(), ToyData())
