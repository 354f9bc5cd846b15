"""Strangers at the control port: none gets in, none disturbs the ranks, none learns the secret."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from strangers import LIMIT, SECRET, Stranger, address, connect, until

from vprtrain.errors import RunError
from vprtrain.ranks import admission, greeting
from vprtrain.ranks.greeting import RefusedError
from vprtrain.ranks.hub import Hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub for two ranks. No thread of it may end with an exception."""
    crashed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", crashed.append)
    made = Hub(size=2, host="127.0.0.1", secret=SECRET)
    yield made
    made.close()
    assert not crashed


def exchange(hub: Hub) -> None:
    """Connect both ranks and exchange values: the hub works, and nobody else takes part."""
    with ThreadPoolExecutor(2) as threads:
        ranks = [
            each.result(LIMIT)
            for each in [threads.submit(connect, address(hub), rank) for rank in (0, 1)]
        ]
        answers = [threads.submit(rank.exchange, rank.rank) for rank in ranks]
        assert [answer.result(LIMIT) for answer in answers] == [[0, 1]] * 2
    for rank in ranks:
        rank.leave()


@pytest.mark.parametrize("text", ["7", "2", "-1", "²", "٣", "1_0", "01", " 1", "", "1e0", "9" * 50])
def test_a_rank_outside_the_world_is_refused_though_it_knows_the_secret(
    hub: Hub, text: str
) -> None:
    with Stranger(address(hub)) as stranger:
        rank = int(text) if text.isascii() and text.isdigit() else 1
        assert stranger.sends(stranger.answer(rank, text=text)) in (b"refused\n", b"")
    exchange(hub)


def test_a_second_connection_as_the_same_rank_is_refused(hub: Hub) -> None:
    rank_1 = connect(address(hub), 1)
    with pytest.raises(RefusedError, match="refused this rank"):
        connect(address(hub), 1)
    rank_0 = connect(address(hub), 0)
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(rank.exchange, rank.rank) for rank in (rank_0, rank_1)]
        assert [answer.result(LIMIT) for answer in answers] == [[0, 1]] * 2
    rank_0.leave()
    rank_1.leave()


def test_the_port_is_closed_once_all_ranks_are_connected(hub: Hub) -> None:
    exchange(hub)
    with pytest.raises(ConnectionRefusedError), ExitStack() as stack:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            stack.enter_context(socket.create_connection(address(hub)))


def test_a_wrong_secret_is_refused_at_once_on_both_sides(hub: Hub) -> None:
    with pytest.raises(RefusedError, match="VPRTRAIN_SECRET must be the same on all machines"):
        connect(address(hub), 1, secret=b"another secret of a run")
    exchange(hub)


def test_a_recorded_greeting_opens_no_other_connection(hub: Hub) -> None:
    with Stranger(address(hub)) as first, Stranger(address(hub)) as second:
        assert first.nonce != second.nonce
        assert second.sends(first.answer(1)) == b"refused\n"
    exchange(hub)


def relay(server: socket.socket, target: tuple[str, int]) -> None:
    """Pass on everything between one connection and ``target``, until both have ended."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    with server.accept()[0] as near, socket.create_connection(target) as far:
        back = threading.Thread(target=pump, args=(far, near))
        back.start()
        pump(near, far)
        back.join()


def test_a_stranger_who_passes_a_greeting_on_does_not_get_in(hub: Hub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        between = threading.Thread(target=relay, args=(server, address(hub)))
        between.start()
        with pytest.raises(RefusedError):
            connect(server.getsockname(), 1)
        between.join()
    exchange(hub)


def test_a_hub_that_does_not_know_the_secret_is_refused() -> None:
    """It sends the rank's own proof back."""

    def pretend(server: socket.socket) -> None:
        link, _ = server.accept()
        with link:
            link.sendall(b"0" * 32 + b"\n")
            link.sendall(link.makefile("rb").readline().split()[2] + b"\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        pretender = threading.Thread(target=pretend, args=(server,))
        pretender.start()
        with pytest.raises(RefusedError):
            connect(server.getsockname(), 1)
        pretender.join()


@pytest.mark.parametrize("said", [b"", b"0" * 32, b"x" * 500, b"\xff\n", b"0" * 33 + b"\n"])
def test_a_hub_that_says_something_else_or_nothing_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(greeting, "JOIN_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def say() -> None:
            links.append(server.accept()[0])
            links[0].sendall(said)

        links: list[socket.socket] = []
        speaker = threading.Thread(target=say)
        speaker.start()
        with pytest.raises(RunError, match=r"rank 1\b") as refused:
            connect(server.getsockname(), 1)
        assert "\n" not in str(refused.value)
        speaker.join()
        links[0].close()


def test_a_stranger_who_sends_a_byte_now_and_then_is_ended_in_time(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "GREETING_SECONDS", 0.3)
    with Stranger(address(hub)) as slow, pytest.raises(ConnectionError):
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:  # each byte comes long before the time is over
            slow.link.sendall(b"1")
            time.sleep(0.02)
            assert len(hub._admission._unproven) <= 1
    exchange(hub)


def test_strangers_who_send_nothing_keep_no_rank_out(hub: Hub) -> None:
    """200 connections before the ranks connect, and a flood while they do."""
    threads = threading.active_count()
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(address(hub)))
        until(lambda: len(hub._admission._unproven) == admission.MOST_UNPROVEN)
        assert threading.active_count() == threads
        done = threading.Event()
        flood = threading.Thread(target=keep_connecting, args=(address(hub), done))
        flood.start()
        try:
            exchange(hub)
        finally:
            done.set()
            flood.join()


def keep_connecting(at: tuple[str, int], done: threading.Event) -> None:
    with ExitStack() as stack, suppress(ConnectionError):  # the port is closed at last
        while not done.is_set():
            for _ in range(100):
                stack.enter_context(socket.create_connection(at))
            stack.pop_all().close()


def test_garbage_disturbs_no_rank_and_fills_no_log(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(1)
    linger = struct.pack("ii", 1, 0)
    for number in range(200):
        with Stranger(address(hub)) as stranger:
            garbage = dice.randbytes(dice.randrange(400)) + dice.choice([b"", b"\n"])
            if number % 2:
                stranger.sends(garbage + b"\n" * 400)
            else:  # ends by a reset
                stranger.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                stranger.link.sendall(garbage)
    with Stranger(address(hub)) as stranger:
        assert stranger.sends(b"GET / HTTP/1.1\r\n") == b"refused\n"
    exchange(hub)
    assert len(caplog.records) == 1 and "did not prove" in caplog.text


def test_the_hub_stays_ready_after_a_rank_that_gives_up_within_its_greeting(hub: Hub) -> None:
    with Stranger(address(hub)) as halting:
        halting.link.sendall(halting.answer(1)[:40])
    exchange(hub)


def test_a_rank_that_never_connects_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "JOIN_SECONDS", 0.5)
    lonely = Hub(size=3, host="127.0.0.1", secret=SECRET)
    ranks = [connect(address(lonely), rank, size=3) for rank in (0, 1)]
    for rank in ranks:
        with pytest.raises(RunError, match="rank 2 failed: it has not connected within"):
            rank.exchange(None)
    late = connect(address(lonely), 2, size=3)
    with pytest.raises(RunError, match="rank 2 failed: it has not connected within"):
        late.exchange(None)
    for rank in (*ranks, late):
        rank.leave()
    lonely.close()


def test_a_hub_closes_before_its_ranks_have_connected(hub: Hub) -> None:
    with Stranger(address(hub)) as stranger:
        hub._rank_0_left.set()
        begun = time.monotonic()
        hub.close()
        assert stranger.reader.read() == b"" and time.monotonic() - begun < LIMIT
