"""One process without a launcher; several are in tests/faults/test_distributed*.py."""

import numpy as np
import pytest
from toy import ToyData, ToyModule

from vprtrain.distributed import launched_rank, launched_size, start
from vprtrain.engine import Engine
from vprtrain.errors import UsageError


def test_without_a_launcher_there_is_one_process(monkeypatch):
    for name in ("PADDLE_TRAINERS_NUM", "PADDLE_TRAINER_ID"):
        monkeypatch.delenv(name, raising=False)
    assert (launched_size(), launched_rank()) == (1, 0)


def test_one_process_has_nothing_to_exchange():
    ranks, array = start(), np.arange(3)
    assert (ranks.size, ranks.rank, ranks.is_first, ranks.attention) == (1, 0, True, False)
    assert ranks.exchange({"a": 1}) == [{"a": 1}]
    assert ranks.gather(array)[0] is array


def test_data_that_is_shared_out_among_others_is_refused():
    data = ToyData()
    data.world_size = 2
    with pytest.raises(UsageError, match="shares each batch out among 2 processes, but the run has 1: set its"):
        Engine(max_epochs=1).fit(ToyModule(), data)
