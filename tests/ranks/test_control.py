"""The control connections of three ranks, each rank in a thread of its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from vprtrain.errors import RunError
from vprtrain.ranks.connection import Failure
from vprtrain.ranks.control import Control
from vprtrain.ranks.hub import Hub

SECRET = b"the secret of the run"
LIMIT = 20.0  # seconds


class Star:
    """A hub and three ranks."""

    def __init__(self) -> None:
        self.hub = Hub(size=3, host="127.0.0.1", secret=SECRET)
        self._closed = False
        self.failures: list[tuple[int, Failure]] = []
        self.ranks: list[Control] = []

    def connect(self, *ranks: int) -> None:
        """Connect these ranks, which are the next ones in rank order."""
        self.ranks += [
            Control(
                rank=rank,
                size=3,
                address=("127.0.0.1", self.hub.port),
                secret=SECRET,
                on_failure=self._on_failure(rank),
            )
            for rank in ranks
        ]

    def _on_failure(self, rank: int) -> Callable[[Failure], None]:
        return lambda failure: self.failures.append((rank, failure))

    def close(self) -> None:
        """Close the hub, as the process of rank 0 does when it ends."""
        if not self._closed:
            self._closed = True
            self.hub.close()

    def each(self, act: Callable[[Control], Any], *ranks: int) -> list[Any]:
        """Call ``act`` for the ranks (default: all) at the same time; their results."""
        chosen = [self.ranks[rank] for rank in ranks or range(3)]
        with ThreadPoolExecutor(len(chosen)) as threads:
            return [
                future.result(LIMIT) for future in [threads.submit(act, rank) for rank in chosen]
            ]


@pytest.fixture
def lonely() -> Iterator[Star]:
    """A star that no rank has connected to yet."""
    made = Star()
    yield made
    for rank in made.ranks:
        rank.leave()
    made.close()


@pytest.fixture
def star(lonely: Star) -> Star:
    lonely.connect(0, 1, 2)
    return lonely


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_rank_gets_all_values_in_rank_order(star) -> None:
    for number in range(100):
        values = [[number, rank, "x\n" * rank, 0.1 + 0.2, None] for rank in range(3)]
        assert star.each(lambda rank: rank.exchange(values[rank.rank])) == [values] * 3  # noqa: B023 - called at once


def test_an_exchange_waits_for_the_slowest_and_may_hurry_it(star) -> None:
    def work(rank: Control) -> Any:
        if rank.rank == 2:
            until(lambda: rank.attention)
        return rank.exchange(rank.rank, hurry=lambda: rank.rank == 1)

    assert star.each(work) == [[0, 1, 2]] * 3
    assert not any(rank.attention for rank in star.ranks)


def test_attention_called_after_an_exchange_is_kept(star) -> None:
    star.each(lambda rank: rank.exchange(None))
    star.ranks[2].call_attention()
    until(lambda: all(rank.attention for rank in star.ranks))


def test_the_first_failure_is_sent_to_all_others_once_and_ends_their_exchange(star) -> None:
    star.ranks[1].fail("it broke", "Traceback ..")
    until(lambda: len(star.failures) == 2)
    star.ranks[2].fail("I broke, too")
    for rank in (0, 2):
        with pytest.raises(RunError, match=r"^rank 1 failed: it broke$"):
            star.ranks[rank].exchange(None)
    failure = Failure(rank=1, reason="it broke", traceback="Traceback ..")
    assert sorted(star.failures, key=lambda one: one[0]) == [(0, failure), (2, failure)]


def test_a_rank_that_is_cut_off_within_an_exchange_is_named(star) -> None:
    def work(rank: Control) -> str:
        if rank.rank == 1:
            # as the operating system does when a process is killed
            rank._connection._link.shutdown(socket.SHUT_RDWR)
            return ""
        with pytest.raises(RunError) as error:
            rank.exchange(None)
        return str(error.value)

    reasons = star.each(work)
    assert (
        reasons[0]
        == reasons[2]
        == "rank 1 failed: it ended without giving a reason (killed, or out of memory?)"
    )


def test_a_rank_that_leaves_is_no_failure_until_others_wait_for_it(star) -> None:
    star.ranks[2].leave()
    time.sleep(0.1)
    assert not star.failures
    with pytest.raises(
        RunError, match="rank 2 failed: it ended while other ranks were waiting for it"
    ):
        star.ranks[0].exchange(None)


def test_a_hub_that_closes_is_no_failure_until_it_is_waited_for(star) -> None:
    star.each(lambda rank: rank.exchange(None))
    star.ranks[0].leave()
    star.close()
    time.sleep(0.1)
    assert not star.failures
    for rank in star.ranks[1:]:
        with pytest.raises(RunError, match="rank 0 failed: it has ended"):
            rank.exchange(None)


def test_the_last_message_of_rank_0_arrives(star) -> None:
    star.each(lambda rank: rank.exchange(None))
    star.ranks[0].fail("it broke")
    star.ranks[0].leave()
    star.close()
    until(lambda: len(star.failures) == 2)
    assert {failure.reason for _, failure in star.failures} == {"it broke"}


def test_a_rank_that_connects_late_learns_of_an_earlier_failure(lonely) -> None:
    lonely.connect(0, 1)
    lonely.ranks[1].fail("it broke")
    until(lambda: len(lonely.failures) == 1)
    lonely.connect(2)
    until(lambda: len(lonely.failures) == 2)
    assert lonely.failures[1] == (2, Failure(rank=1, reason="it broke"))


def test_a_first_rank_out_of_reach_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RunError, match=rf"rank 1 cannot reach rank 0 at 127\.0\.0\.1:{port} "):
        Control(
            rank=1,
            size=2,
            address=("127.0.0.1", port),
            secret=SECRET,
            on_failure=lambda failure: None,
        )


def test_a_rank_connects_despite_temporary_errors_of_accept(monkeypatch) -> None:
    accept, failures = (
        socket.socket.accept,
        [OSError(24, "Too many open files"), ConnectionAbortedError()],
    )

    def accept_later(server: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return accept(server)

    monkeypatch.setattr(socket.socket, "accept", accept_later)
    hub = Hub(size=1, host="127.0.0.1", secret=SECRET)
    rank = Control(
        rank=0,
        size=1,
        address=("127.0.0.1", hub.port),
        secret=SECRET,
        on_failure=lambda failure: None,
    )
    assert rank.exchange(1) == [1] and not failures
    rank.leave()
    hub.close()
