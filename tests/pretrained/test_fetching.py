"""A published file is used if it is exactly that file; otherwise nothing is left."""

from __future__ import annotations

import email.message
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO
from urllib import request
from urllib.response import addinfourl

import pytest
from fake_wheels import MEMBER, published_in, small_model, with_source, write_wheel

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.errors import RunError, UsageError
from vprtrain.files import sha256
from vprtrain.pretrained import PublishedModel, Url, bring, fetched
from vprtrain.pretrained.fetching import https_only
from vprtrain.pretrained.pip_client import pip_command

CONTENT = small_model()
SIZE = 1 << 27


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel in a folder that is pip's whole index."""
    made = write_wheel(tmp_path / "index", CONTENT)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return made


def refusal(model: PublishedModel, tmp_path: Path, **options: object) -> str:
    """The one line with which a model is refused; nothing may be left."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises((RunError, UsageError)) as refused:
        bring(model, tmp_path / "out", **options)
    assert sorted(tmp_path.iterdir()) == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_model_in_a_wheel_becomes_a_checkpoint(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No module of the working folder stands for pip."""
    (tmp_path / "pip.py").write_text("raise SystemExit('code of the working folder has run')")
    monkeypatch.chdir(tmp_path)
    summary, *_ = bring(published_in(wheel, CONTENT), tmp_path / "models" / "voices")
    assert summary.startswith("TDNN of 6 values")
    saved = open_checkpoint(tmp_path / "models" / "voices")
    origin = dict(saved.state.extra["converted_from"])
    assert origin.pop("front_end").startswith("WeSpeaker's, by --from")
    assert origin == {
        "toolkit": "wespeaker",
        "name": "voices",
        "page": "https://example.org/voices",
        "licence": "CC0",
        "sha256": sha256(CONTENT),
    }
    assert saved.state.metrics["threshold"] is None
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["voices"]


def test_files_at_hand_need_no_pip(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    model = published_in(wheel, CONTENT)
    (tmp_path / "any name").write_bytes(CONTENT)
    bring(model, tmp_path / "a", file=tmp_path / "any name")
    bring(model, tmp_path / "b", file=wheel)
    assert (tmp_path / "a/model.pdparams").read_bytes() == (
        tmp_path / "b/model.pdparams"
    ).read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [  # no digests: a zip archive holds the time, and parallel tests must have equal names
        (CONTENT[:-1], f"it has {len(CONTENT) - 1} bytes, expected {len(CONTENT)} or "),
        (CONTENT[:-1] + b"\1", "its SHA-256 is "),
    ],
)
def test_another_file_is_refused(wheel: Path, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(content)
    model = published_in(wheel, CONTENT)
    assert words in refusal(model, tmp_path, file=tmp_path / "file")


def test_what_is_no_file_is_refused(wheel: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    model = published_in(wheel, CONTENT)
    assert "pipe is not a file" in refusal(model, tmp_path, file=tmp_path / "pipe")
    assert "x is not a file" in refusal(model, tmp_path, file=tmp_path / "x")
    (tmp_path / "out").mkdir()
    assert "exists already" in refusal(model, tmp_path, file=tmp_path / "pipe")


def test_a_wheel_with_another_digest_is_refused(wheel: Path, tmp_path: Path) -> None:
    model = with_source(published_in(wheel, CONTENT), sha256="0" * 64)
    assert f"SHA-256 {sha256(wheel.read_bytes())}, expected 000" in refusal(model, tmp_path)


def test_a_member_with_another_digest_is_refused(wheel: Path, tmp_path: Path) -> None:
    other = replace(published_in(wheel, CONTENT), sha256="0" * 64)
    assert f"SHA-256 {sha256(CONTENT)}, expected 000" in refusal(other, tmp_path, file=wheel)
    other = with_source(published_in(wheel, CONTENT), member="voices/other.pt")
    assert "voices/other.pt cannot be read" in refusal(other, tmp_path, file=wheel)


def test_a_member_that_is_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """128 MB of zeros, once with their true size and once with that of the model."""
    bomb = write_wheel(tmp_path / "bomb", CONTENT, member="first")
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, bytes(SIZE))
    model = published_in(bomb, CONTENT)
    assert f"bytes {SIZE}, expected {len(CONTENT)}" in refusal(model, tmp_path, file=bomb)

    true_size, claimed = SIZE.to_bytes(4, "little"), len(CONTENT).to_bytes(4, "little")
    bomb.write_bytes(bomb.read_bytes().replace(true_size, claimed))
    model = published_in(bomb, CONTENT)
    words = refusal(model, tmp_path, file=bomb)
    assert "cannot be read" in words or f"expected {sha256(CONTENT)}" in words


def test_a_torn_wheel_is_refused(wheel: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.whl"
    torn.write_bytes(wheel.read_bytes()[:-40])
    words = refusal(published_in(torn, CONTENT), tmp_path, file=torn)
    assert "cannot be read from torn.whl (BadZipFile" in words


def test_what_pip_cannot_find_is_said_in_one_line(wheel: Path, tmp_path: Path) -> None:
    model = with_source(published_in(wheel, CONTENT), version="2.0")
    words = refusal(model, tmp_path)
    assert "pip cannot fetch voices 2.0 (No matching distribution found" in words
    assert "--file" in words


def test_pip_neither_builds_nor_resolves(wheel: Path) -> None:
    source = published_in(wheel, CONTENT).source
    assert {"--no-deps", "--only-binary=:all:"} <= {*pip_command(source, Path("x"))}


class Answers(request.HTTPSHandler):
    """A web server that gives one answer to every request."""

    handler_order = 100  # before the handler of the network

    def __init__(self, body: IO[bytes], location: str | None = None) -> None:
        super().__init__()
        self.body, self.location = body, location

    def https_open(self, req: request.Request) -> addinfourl:  # type: ignore[override]
        headers = email.message.Message()
        if self.location is not None:
            headers["Location"] = self.location
        code = 200 if self.location is None else 302
        answer = addinfourl(self.body, headers, req.full_url, code)
        answer.msg = "as set"  # type: ignore[attr-defined]
        return answer


def answering(body: IO[bytes], location: str | None = None) -> request.OpenerDirector:
    opener = https_only()
    opener.add_handler(Answers(body, location))
    return opener


@pytest.fixture
def at_url(wheel: Path) -> PublishedModel:
    return replace(published_in(wheel, CONTENT), source=Url(url="https://example.org/model.pt"))


def test_a_model_at_an_address_is_fetched(at_url: PublishedModel, tmp_path: Path) -> None:
    folder = tmp_path / ".tmp-download"
    with fetched(at_url, folder, opener=answering(io.BytesIO(CONTENT))) as path:
        assert path.read_bytes() == CONTENT
    assert not folder.exists()


class Endless(io.BytesIO):
    """A body without end; counts what was read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and 0 < size < 1 << 24
        self.count += size
        return bytes(size)


@pytest.mark.parametrize(
    ("content", "location", "words"),
    [
        (CONTENT[:-1], None, f"bytes {len(CONTENT) - 1}, expected {len(CONTENT)}"),
        (CONTENT[:-1] + b"\1", None, "SHA-256"),
        (b"", "http://example.org/model.pt", "unknown url type: http"),
        (b"", "file:///etc/passwd", "file:///etc/passwd"),
    ],
)
def test_another_answer_is_refused(
    at_url: PublishedModel, tmp_path: Path, content: bytes, location: str | None, words: str
) -> None:
    opener = answering(io.BytesIO(content), location)
    with pytest.raises(RunError) as refused, fetched(at_url, tmp_path / "new", opener=opener):
        pass
    assert words in str(refused.value) and not (tmp_path / "new").exists()


def test_an_answer_without_end_is_cut(at_url: PublishedModel, tmp_path: Path) -> None:
    body = Endless()
    opener = answering(body)
    with pytest.raises(RunError, match="bytes"), fetched(at_url, tmp_path / "new", opener=opener):
        pass
    assert body.count < len(CONTENT) + (1 << 20) and not (tmp_path / "new").exists()


def test_only_https_is_fetched(at_url: PublishedModel, tmp_path: Path) -> None:
    plain = replace(at_url, source=Url(url="http://example.org/model.pt"))
    assert "expected an address of https://" in refusal(plain, tmp_path)


class SlowIndex(http.server.BaseHTTPRequestHandler):
    """A folder of links with one wheel, whose bytes stop halfway."""

    wheel: Path
    half_sent = threading.Event()
    over = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        if not self.path.endswith(".whl"):
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<a href="/{self.wheel.name}">wheel</a>'.encode())
            return
        data = self.wheel.read_bytes()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.half_sent.set()
        self.over.wait(60)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow_index(wheel: Path) -> Iterator[str]:
    SlowIndex.wheel = wheel
    SlowIndex.half_sent, SlowIndex.over = threading.Event(), threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowIndex)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    SlowIndex.over.set()
    server.shutdown()
    server.server_close()


SCRIPT = """
from pathlib import Path
from fake_wheels import published_in, small_model
from vprtrain import runtime
from vprtrain.commands import program
from vprtrain.pretrained import bring

def main(arguments):
    runtime.prepare()
    wheel, out = map(Path, arguments)
    bring(published_in(wheel, small_model()), out)

program.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_nothing(
    number: signal.Signals, slow_index: str, wheel: Path, tmp_path: Path
) -> None:
    """After SIGKILL, the next call removes what is left."""
    place = tmp_path / "place"
    place.mkdir()
    environment = {
        **os.environ,
        "PIP_FIND_LINKS": slow_index,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(wheel), str(place / "out")],
        env=environment,
        start_new_session=True,
    )
    assert SlowIndex.half_sent.wait(60)
    time.sleep(0.2)
    assert [path.name for path in place.iterdir()] == [".tmp-out-download"]
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(30) in (128 + number, -number)
    if number == signal.SIGKILL:
        bring(published_in(wheel, CONTENT), place / "out")
        assert [path.name for path in place.iterdir()] == ["out"]
    else:
        assert list(place.iterdir()) == []
