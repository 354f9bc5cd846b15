"""What a rank, or the hub, may not send once it is connected: every rank is told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from strangers import LIMIT, SECRET, Stranger, address, connect, until

from vprtrain.errors import RunError
from vprtrain.ranks import control, hub
from vprtrain.ranks.connection import MessageError, decode
from vprtrain.ranks.greeting import Greeting
from vprtrain.ranks.hub import Hub


@pytest.fixture
def crashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread may end with an exception."""
    found: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    yield
    assert not found


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


MALFORMED = {
    "brackets": (b"[" * 100_000 + b"\n", "is not JSON"),
    "braces": (b'{"a":' * 100_000 + b"\n", "is not JSON"),
    "text": (b"hello\n", "is not JSON"),
    "bytes": (b"\xff\xfe\n", "is not JSON"),
    "number": (b"9" * 10_000 + b"\n", "is not"),
    "list": (b"[]\n", "is not an object"),
    "kind": (b'{"kind": "unknown"}\n', "of an unknown kind"),
    "no kind": (b"{}\n", "of an unknown kind"),
    "types": (b'{"kind": "failed", "reason": 1, "traceback": []}\n', "of an unknown kind"),
    "levels": (
        json.dumps({"kind": "value", "value": nested(32)}).encode() + b"\n",
        "more than 32 nested levels",
    ),
    "size": (b'"' + b"x" * 2_000 + b'"\n', "of more than 1000 bytes"),
    "endless": (b"x" * 2_000, "of more than 1000 bytes"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.usefixtures("crashed")
def test_a_malformed_message_ends_the_ranks_connection_and_all_ranks_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, said = MALFORMED[name]
    limit = 1000 if name in ("size", "endless") else 10**6
    monkeypatch.setattr(hub, "MESSAGE_BYTES", limit)
    made = Hub(size=3, host="127.0.0.1", secret=SECRET)
    others = [connect(address(made), rank, size=3) for rank in (0, 2)]
    with Stranger(address(made)) as rank_1:
        rank_1.enters(1)
        rank_1.link.sendall(data)
        for rank in others:
            with pytest.raises(RunError, match=f"^rank 1 failed: it sent a message .*{said}"):
                rank.exchange(None)
        rank_1.sends(b"")  # returns once the connection has ended
    for rank in others:
        rank.leave()
    made.close()


class FalseHub:
    """A hub that knows the secret but sends ``data`` instead of messages."""

    def __init__(self, data: bytes) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        self._data = data
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._server, self._server.accept()[0] as link:
            reader = link.makefile("rb")
            link.sendall(b"0" * 32 + b"\n")
            rank, nonce, _ = reader.readline().split()
            greeting = Greeting(
                address=self.address, rank=int(rank), hub_nonce=b"0" * 32, rank_nonce=nonce
            )
            link.sendall(greeting.proof("hub", SECRET) + b"\n" + self._data)
            reader.read()  # until the rank ends the connection

    def join(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.usefixtures("crashed")
def test_a_malformed_message_of_the_hub_ends_the_exchange(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, said = MALFORMED[name]
    limit = 500 if name in ("size", "endless") else 10**6
    monkeypatch.setattr(control, "MESSAGE_BYTES", limit)
    false_hub = FalseHub(data)
    rank = connect(false_hub.address, 1)
    with pytest.raises(RunError, match=f"^rank 0 failed: it sent a message .*{said}"):
        rank.exchange(None)
    rank.leave()
    false_hub.join()


def test_a_value_that_is_too_large_is_refused_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "MESSAGE_BYTES", 1000)
    made = Hub(size=1, host="127.0.0.1", secret=SECRET)
    rank = connect(address(made), 0, size=1)
    with pytest.raises(RunError, match=r"1\d{3} bytes is too large .*: 1000 is the most"):
        rank.exchange("x" * 1000)
    assert rank.exchange("x" * 900) == ["x" * 900]
    rank.leave()
    made.close()


def test_the_largest_values_of_all_ranks_fit_into_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (control, hub):
        monkeypatch.setattr(module, "MESSAGE_BYTES", 1000)
    made = Hub(size=2, host="127.0.0.1", secret=SECRET)
    ranks = [connect(address(made), rank) for rank in (0, 1)]
    value = "x" * (1000 - len(json.dumps({"kind": "value", "value": ""}) + "\n"))
    answers: list[Any] = []
    other = threading.Thread(target=lambda: answers.append(ranks[1].exchange(value)))
    other.start()
    assert ranks[0].exchange(value) == [value, value]
    other.join()
    assert answers == [[value, value]]
    for rank in ranks:
        rank.leave()
    made.close()


def test_a_failure_with_an_endless_text_is_told_in_part() -> None:
    made = Hub(size=2, host="127.0.0.1", secret=SECRET)
    ranks = [connect(address(made), rank) for rank in (0, 1)]
    ranks[1].fail("\u4e2d" * 10**7, "x" * 10**8 + "the end")
    until(lambda: ranks[0].failure is not None)
    failure = ranks[0].failure
    assert len(failure.reason) == 10_000 and failure.traceback.endswith("xthe end")
    for rank in ranks:
        rank.leave()
    made.close()


@pytest.mark.parametrize(
    "value",
    [
        nested(30),
        "[" * 1000,
        [[1]] * 1000,
        {"a": {"b": ["[{"] * 40}},
        float("inf"),
        10**300,
        "\ud800\u0000\n",
        -0.0,
    ],
)
def test_an_ordinary_message_is_read_as_it_was_sent(value: object) -> None:
    message = {"kind": "value", "value": value}
    assert decode(json.dumps(message).encode() + b"\n") == message


@pytest.mark.parametrize("value", [nested(31), [{"a": [nested(28)]}, "x"]])
def test_levels_are_counted_in_lists_and_objects_together(value: object) -> None:
    line = json.dumps({"kind": "value", "value": value}).encode()
    assert decode(line)["kind"] == "value"
    with pytest.raises(MessageError, match="nested levels"):
        decode(json.dumps({"kind": "value", "value": [value]}).encode())
