"""Where a service may listen, whom its tokens let in, and what its command refuses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from vprtrain.commands import program
from vprtrain.commands.serve import serve
from vprtrain.errors import UsageError
from vprtrain.serving import Limits, ServerSettings, Tokens
from vprtrain.serving.admission import Admission
from vprtrain.serving.problems import ProblemError
from vprtrain.serving.settings import is_loopback

main = program.choose(serve, description="", prog="vprtrain")


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.0.1")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")),
    ],
)
def test_only_the_own_machine_without_tokens(host: str, own: bool) -> None:
    assert is_loopback(host) is own
    if own:
        ServerSettings(host=host)
    else:
        with pytest.raises(UsageError, match="give a file of tokens"):
            ServerSettings(host=host)
    ServerSettings(host=host, tokens=Tokens({"x" * 16: "a"}))


def test_tokens_have_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# ours\n\nalice {'a' * 16}\n{'b' * 20}\n")
    path.chmod(0o644)
    tokens = Tokens.read(path)
    assert "chmod 600" in caplog.text
    assert (tokens.label("a" * 16), tokens.label("b" * 20)) == ("alice", "line 4")
    for wrong in ("", "a", "a" * 15, "a" * 17, "alice", "\udc80" * 16):
        assert tokens.label(wrong) is None
    assert "a" * 16 not in repr(vars(tokens))


@pytest.mark.parametrize(
    ("content", "text"),
    [("short\n", "line 1: expected TOKEN"), ("a b c\n", "line 1"), ("# none\n", "no token")],
)
def test_a_file_without_good_tokens_is_refused(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "tokens").write_text(content)
    with pytest.raises(UsageError, match=text):
        Tokens.read(tmp_path / "tokens")
    with pytest.raises(UsageError, match="cannot be read"):
        Tokens.read(tmp_path / "missing")


def test_places_are_given_back() -> None:
    admission = Admission(places=1, threads=1, what="requests")
    for _ in range(2):
        with admission.place(), pytest.raises(ProblemError, match="1 requests"), admission.place():
            pass
    with pytest.raises(ValueError), admission.place():
        raise ValueError
    assert admission.taken == 0


def test_limits_out_of_range_are_refused() -> None:
    for name in ("max_bytes", "max_requests", "max_diarizations", "max_streams", "workers"):
        with pytest.raises(UsageError, match=name):
            Limits(**{name: 0})
    for name in ("max_diarize_seconds", "time_limit"):
        with pytest.raises(UsageError, match=name):
            Limits(**{name: 0})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--host=0.0.0.0"], "--token_file"),
        (["--port=70000"], "port is 70000"),
        (["--tls_key=a"], "TLS needs two files"),
        (["--tls_key=a", "--tls_certificate=b"], "is not a file"),
        (["--token_file=none"], "the tokens cannot be read"),
        (["--max_requests=0"], "max_requests is 0"),
    ],
)
def test_the_command_refuses_in_one_line(
    options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(main, ["serve", "--checkpoint=none", *options]) == 2
    message = capsys.readouterr().err
    assert text in message and message.count("\n") == 1


def test_a_port_in_use_and_a_bad_certificate_are_refused(tmp_path: Path) -> None:
    from vprtrain.serving import run_server

    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServerSettings(port=taken.getsockname()[1])
        with pytest.raises(UsageError, match="cannot be listened on"):
            run_server(app, settings, time_limit=1)
    for name in ("cert", "key"):
        (tmp_path / name).write_text("no PEM")
    settings = ServerSettings(port=0, certificate=tmp_path / "cert", key=tmp_path / "key")
    with pytest.raises(UsageError, match="cannot be used for TLS"):
        run_server(app, settings, time_limit=1)


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    from vprtrain.serving.server import listen

    with (
        listen(ServerSettings(port=0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import vprtrain.commands.serve as command

    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert program.status(main, ["serve", "--checkpoint=none"]) == 2
    assert "pip install 'vprtrain[serve]'" in capsys.readouterr().err
