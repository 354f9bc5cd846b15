"""How ranks find rank 0, with a store that strangers can read and change."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from strangers import LIMIT

from vprtrain.errors import RunError, UsageError
from vprtrain.ranks.launched_ranks import LaunchedRanks
from vprtrain.ranks.rendezvous import PORT_KEY, SECRET_FILE_KEY, meet, rank_hosts

SECRET = b"the secret of the run"


class OpenStore:
    """Paddle's store within one process. ``forged`` values stand in for those that are set."""

    def __init__(self, **forged: str) -> None:
        self.values: dict[str, bytes] = {}
        self._forged = forged
        self._changed = threading.Condition()

    def set(self, key: str, value: str, /) -> None:
        with self._changed:
            self.values[key] = self._forged.get(key, value).encode()
            self._changed.notify_all()

    def get(self, key: str, /) -> bytes:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self.values, LIMIT)
            return self.values[key]


def run(store: OpenStore, hosts: list[str], secret: bytes | None) -> list[object]:
    """What two ranks exchange that meet in the store."""

    def rank(number: int) -> object:
        with meet(
            store, rank=number, hosts=hosts, secret=secret, on_failure=lambda failure: None
        ) as (hub, control):
            answer = control.exchange(number)
            names = {link.getsockname()[0] for link in [control._connection._link]}
        control.leave()
        if hub is not None:
            hub.close()
        return [answer, names]

    with ThreadPoolExecutor(2) as threads:
        return [each.result(LIMIT) for each in [threads.submit(rank, each) for each in (0, 1)]]


def test_ranks_of_one_machine_meet_without_a_secret_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = OpenStore()
    # The address of the launcher is not one of this machine: it is not used.
    assert run(store, ["192.0.2.1"] * 2, None) == [[[0, 1], {"127.0.0.1"}]] * 2
    assert sorted(store.values) == [PORT_KEY, SECRET_FILE_KEY]
    assert not list(tmp_path.iterdir()), "the secret is removed once all have read it"


def test_the_store_holds_nothing_but_the_port_if_the_secret_is_given() -> None:
    store = OpenStore()
    assert run(store, ["localhost", "127.0.0.1"], SECRET) == [[[0, 1], {"127.0.0.1"}]] * 2
    assert list(store.values) == [PORT_KEY] and store.values[PORT_KEY].isdigit()


@pytest.mark.parametrize("port", ["", "0", "65536", "²", "-1", "192.0.2.1 80", "1" * 10_000])
def test_a_port_that_a_stranger_forges_ends_in_one_line(port: str) -> None:
    store = OpenStore(**{PORT_KEY: port})
    with pytest.raises(RunError, match="another program changed it") as refused:
        run(store, ["127.0.0.1"] * 2, SECRET)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_a_rank_out_of_reach_is_named_also_if_its_name_cannot_be_one() -> None:
    store = OpenStore()
    with socket.create_server(("127.0.0.1", 0)) as server:
        store.set(PORT_KEY, str(server.getsockname()[1]))
    for host in ("x" * 300, "no such host", "a..b", "127.0.0.1"):
        with (
            pytest.raises(RunError, match="rank 1 cannot reach rank 0 at"),
            meet(
                store, rank=1, hosts=[host, "other"], secret=SECRET, on_failure=lambda failure: None
            ),
        ):
            pass


def test_the_hosts_are_those_of_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "10.0.0.1:6000,10.0.0.1:6001,node-2:6000")
    assert rank_hosts(3) == ["10.0.0.1", "10.0.0.1", "node-2"]
    for value in ("10.0.0.1:6000", ""):
        monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", value)
        with pytest.raises(UsageError, match=rf"has {len(value) and 1} addresses for 3 ranks"):
            rank_hosts(3)
    monkeypatch.delenv("PADDLE_TRAINER_ENDPOINTS")
    with pytest.raises(UsageError, match="has 0 addresses for 3 ranks"):
        rank_hosts(3)


def test_two_machines_without_a_secret_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("PADDLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("VPRTRAIN_SECRET", raising=False)
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "node-1:6000,node-2:6000")
    with pytest.raises(UsageError, match="VPRTRAIN_SECRET is not set, but a run on several machi"):
        LaunchedRanks()
