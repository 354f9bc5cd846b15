"""The service as its clients see it: a real process, asked over HTTP."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import anyio
import httpx
import numpy as np
import pytest
from service import TOKEN, Service, problem, running, wav
from small_checkpoint import voice, write_checkpoint
from websockets.sync.client import connect

from vprtrain import Predictor
from vprtrain.commands import program
from vprtrain.commands.main import main
from vprtrain.serving import Recognizer, ServerSettings, create_app
from vprtrain.voiceprints import Voiceprints

RAW = {"Content-Type": "audio/wav"}
ANN = [wav(voice(0, take, 1.5)) for take in range(3)]
BOB = wav(voice(1, 0, 1.5))
SILENCE = wav(np.zeros(32000))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("service") / "epoch_1", threshold=0.9)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people") / "people.db"


@pytest.fixture(scope="module")
def service(checkpoint: Path, database: Path) -> Iterator[Service]:
    with running(checkpoint, database, "--max_megabytes=1") as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened
        for user in opened.get("/v1/users").json()["users"]:
            opened.delete(f"/v1/users/{quote(user, safe='')}")


def forms(content: bytes) -> list[dict]:
    """A recording as the body, in a form, and in base64."""
    return [
        {"content": content, "headers": RAW},
        {"files": {"audio": content}},
        {"json": {"audio": base64.b64encode(content).decode()}},
    ]


def test_an_embedding_is_the_predictors_in_every_form(
    client: httpx.Client, checkpoint: Path
) -> None:
    expected = Predictor(checkpoint).embed(BOB)
    for form in forms(BOB):
        answer = client.post("/v1/embed", **form).raise_for_status().json()
        np.testing.assert_allclose(answer["embedding"], expected, rtol=1e-5, atol=1e-5)
        assert answer["seconds"] == 1.5 and 1 < answer["speech_seconds"] <= 1.5
        assert answer["level"] > -40 and answer["warnings"] == []
    short = wav(voice(1, 0, 0.7))
    warned = client.post("/v1/embed?enrolment=true", content=short, headers=RAW).json()
    assert warned["warnings"] == ["only 0.70 s of speech", "1 s are better"]


def test_contrast(client: httpx.Client, checkpoint: Path) -> None:
    score = Predictor(checkpoint).contrast(ANN[0], BOB)
    answer = client.post("/v1/contrast", files={"first": ANN[0], "second": BOB}).json()
    assert answer == {
        "score": pytest.approx(score, abs=1e-6),
        "same_speaker": score >= 0.9,
        "threshold": 0.9,
    }
    encoded = base64.b64encode(BOB).decode()
    same = client.post("/v1/contrast?threshold=1", json={"first": encoded, "second": encoded})
    assert same.json()["score"] == pytest.approx(1) and same.json()["threshold"] == 1
    problem(
        client.post("/v1/contrast", files={"first": ANN[0], "second": SILENCE}),
        422,
        "the second audio: silent in its first 2.0 s",
    )


def test_enrol_recognise_verify_export_and_remove(client: httpx.Client) -> None:
    assert client.post("/v1/identify", files={"audio": BOB}).json() == {
        "user": None,
        "score": -1.0,
        "threshold": 0.9,
    }
    enrolled = client.post("/v1/users/Ann", files=[("audio", each) for each in ANN])
    assert enrolled.status_code == 201 and enrolled.json()["recordings"] == 3
    assert [each["seconds"] for each in enrolled.json()["qualities"]] == [1.5] * 3
    name = "张三 / Zoë?"
    assert client.post("/v1/users/张三 %2F Zoë%3F", content=BOB, headers=RAW).json()["user"] == name
    assert client.get("/v1/users").json() == {
        "users": ["Ann", name],
        "recordings": {"Ann": 3, name: 1},
    }
    found = client.post("/v1/identify?threshold=0.99", content=BOB, headers=RAW).json()
    assert found["user"] == name and found["score"] > 0.999
    verified = client.post("/v1/verify", params={"user": name}, files={"audio": BOB}).json()
    assert verified["accepted"] is True and verified["score"] == pytest.approx(1, abs=1e-5)
    exported = client.get("/v1/users/Ann").json()
    assert len(exported["recordings"]) == 3 and len(exported["voiceprint"]) == 16
    assert client.delete("/v1/users/Ann").json() == {"user": "Ann", "removed": True}
    assert client.delete("/v1/users/Ann").json() == {"user": "Ann", "removed": False}
    problem(client.get("/v1/users/Ann"), 404, "there is no user 'Ann'")
    problem(client.post("/v1/verify?user=Ann", files={"audio": BOB}), 404, "no user 'Ann'")


def test_an_enrolment_has_a_purpose_and_a_time(
    client: httpx.Client, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are exported, and retention finds the users by the time."""
    purpose = "门 7, consent of 2026-11-27"
    client.post("/v1/users/Ann", params={"purpose": purpose}, files={"audio": BOB})
    problem(client.post("/v1/users/Ann?purpose=a%0Ab", files={"audio": BOB}), 400, "a purpose")
    with closing(Voiceprints(database, model=None)) as voiceprints:
        expected = voiceprints.export("Ann")
    assert client.get("/v1/users/Ann").json() == expected
    (recording,) = expected["recordings"]
    assert recording["purpose"] == purpose and recording["enrolled_at"].startswith("20")
    assert client.get("/v1/users?older_than=1").json()["users"] == []
    assert client.get("/v1/users?older_than=-1").json()["users"] == ["Ann"]
    problem(client.get("/v1/users?older_than=1e9"), 400, "expected a number of days")
    retention = ["users", f"--voiceprints={database}", "--older_than=-1", "--remove", "--json"]
    assert program.status(main, retention) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == ["Ann"]
    assert client.get("/v1/users").json()["users"] == []


def test_an_enrolment_is_whole_or_not_at_all(client: httpx.Client) -> None:
    files = [("audio", ANN[0]), ("audio", SILENCE)]
    problem(client.post("/v1/users/Ann", files=files), 422, "audio 2: silent")
    problem(client.post("/v1/users/A%07nn", files={"audio": BOB}), 400, "control characters")
    problem(client.post("/v1/users/%20..", files={"audio": BOB}), 400, "which no address can have")
    assert client.get("/v1/users").json()["users"] == []


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ({"content": b"x", "headers": {"Content-Type": "text/html"}}, 415, "the body is text/html"),
        ({"content": b"x" * (1 << 20) + b"y", "headers": RAW}, 413, "more than 1 MB"),
        ({"content": iter([b"x" * (1 << 20), b"y"]), "headers": RAW}, 413, "more than 1 MB"),
        ({"content": b"", "headers": RAW}, 422, "the audio: empty (0 bytes)"),
        ({"content": b"no audio", "headers": RAW}, 422, "cannot be decoded as audio"),
        ({"files": {"sound": BOB}}, 422, "found the fields sound; expected audio"),
        ({"data": {"audio": "text"}, "files": {"x": b""}}, 400, "the form cannot be read"),
        ({"files": [("audio", BOB), ("audio", BOB)]}, 422, "found 2 recordings"),
        ({"json": {"audio": "%%%"}}, 422, "not base64"),
        ({"json": {"audio": 7}}, 422, "is a int"),
        ({"json": [1]}, 422, "no object"),
        ({"content": b"[" * 5000, "headers": {"Content-Type": "application/json"}}, 400, "JSON"),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "the form cannot be read",
        ),
    ],
)
def test_a_request_that_cannot_be_used_gets_one_line(
    client: httpx.Client, options: dict, status: int, text: str
) -> None:
    problem(client.post("/v1/embed", **options), status, text)


def test_what_is_no_route_or_no_value_gets_one_line(client: httpx.Client) -> None:
    problem(client.get("/nothing"), 404)
    problem(client.put("/v1/users"), 405)
    problem(client.post("/v1/identify?threshold=7", files={"audio": BOB}), 400, "threshold is 7")
    problem(client.post("/v1/contrast?threshold=7", json={}), 400, "as scores are cosines")
    problem(client.post("/v1/identify?threshold=nan", files={"audio": BOB}), 422, "threshold")
    problem(client.get("/page/..%2Fapp.py"), 404)
    problem(client.get("/page/%2Fetc%2Fpasswd"), 404)


def test_other_sites_and_other_names_of_the_machine_are_refused(client: httpx.Client) -> None:
    for origin in ("http://evil.example", "null"):
        problem(client.get("/v1/users", headers={"Origin": origin}), 403, "other sites")
    problem(client.get("/v1/users", headers={"Host": "evil.example"}), 421, "only localhost")
    own = {"Origin": str(client.base_url).rstrip("/")}
    assert client.get("/v1/users", headers=own).status_code == 200
    assert "access-control-allow-origin" not in client.get("/v1/users", headers=own).headers


def test_operation(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    about = client.get("/v1/model").json()
    assert about["model"] == "TDNN" and about["threshold"] == 0.9
    assert (about["backend"], about["score_range"]) == ("cosine", [0, 1])
    client.request("STRANGE", "/healthz")
    metrics = client.get("/metrics").text
    assert 'vprtrain_requests_total{method="GET",route="/healthz",status="200"}' in metrics
    assert 'method="other"' in metrics and "STRANGE" not in metrics
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304


def test_readiness_asks_the_database_and_searches_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a search")

    async def ready() -> httpx.Response:
        app = httpx.ASGITransport(create_app(recognizer, ServerSettings()))
        async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
            return await client.get("/readyz")

    monkeypatch.setattr(Voiceprints, "nearest", refuse)
    with closing(Recognizer(checkpoint, tmp_path / "people.db")) as recognizer:
        assert anyio.run(ready).json() == {"status": "ready"}
        recognizer.predictor.voiceprints.close()
        problem(anyio.run(ready), 503, "people.db")


def test_requests_that_come_together_are_embedded_together(client: httpx.Client) -> None:
    answers: list[int] = []

    def ask() -> None:
        for _ in range(3):
            answers.append(client.post("/v1/embed", content=BOB, headers=RAW).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 36


def test_the_log_names_changes_and_no_content(client: httpx.Client, service: Service) -> None:
    client.post("/v1/users/Secret", files={"audio": BOB})
    client.post("/v1/verify?user=Hidden", files={"audio": BOB})
    client.delete("/v1/users/Secret")
    line = service.wait_for("audit: enrol user='Secret'")
    assert "recordings=1 caller='anyone' from=127.0.0.1" in line
    service.wait_for("audit: remove user='Secret' removed=true")
    assert "Hidden" not in "".join(service.log)


def test_a_decoding_process_that_is_killed_costs_one_answer_at_the_most(
    service: Service, client: httpx.Client
) -> None:
    client.post("/v1/embed", content=BOB, headers=RAW).raise_for_status()
    children = {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal()
        and (entry / "stat").exists()
        and (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(service.process.pid)
    }
    assert children
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    answers = [client.post("/v1/embed", content=BOB, headers=RAW) for _ in range(6)]
    failed = [answer for answer in answers if answer.status_code != 200]
    assert len(failed) <= len(children) and answers[-1].status_code == 200
    for answer in failed:
        problem(answer, 422, "the audio: reading it")


@pytest.mark.slow
def test_sigterm_finishes_what_runs_and_tokens_are_asked_for(
    checkpoint: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# of the test\nalice {TOKEN}\n")
    tokens.chmod(0o600)
    with running(
        checkpoint, tmp_path / "people.db", f"--token_file={tokens}", "--max_requests=1"
    ) as service:
        with service.client() as stranger:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                problem(stranger.get("/v1/users", headers=headers), 401, "Bearer")
            problem(stranger.get("/metrics"), 401)
            assert stranger.get("/healthz").status_code == 200 == stranger.get("/").status_code
        own = service.client(headers={"Authorization": f"Bearer {TOKEN}"})
        own.post("/v1/users/Ann", files={"audio": BOB}).raise_for_status()
        assert "caller='alice'" in service.wait_for("audit: enrol")
        answers: list[httpx.Response] = []
        sent, hold = threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield BOB[:1000]
            sent.set()
            hold.wait(30)
            yield BOB[1000:]

        def ask() -> None:
            answers.append(own.post("/v1/embed", content=slowly(), headers=RAW))

        asking = threading.Thread(target=ask)
        asking.start()
        sent.wait(30)
        for _ in range(200):
            busy = own.post("/v1/identify", files={"audio": BOB})
            if busy.status_code == 429:
                break
        problem(busy, 429, "all places are taken")
        assert busy.headers["Retry-After"] == "1"
        service.process.terminate()
        hold.set()
        asking.join()
        assert answers[0].status_code == 200
        assert service.process.wait(60) == 143


@pytest.mark.slow
def test_connections_that_are_slow_on_purpose_are_closed(checkpoint: Path, tmp_path: Path) -> None:
    """Without a request, within its head, and with a body that was answered before it came; a
    stream lasts, and so does a request that is served."""
    with running(checkpoint, tmp_path / "people.db", "--time_limit=2") as service:
        address = ("127.0.0.1", httpx.URL(service.url).port)
        unfinished = b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        beginnings = [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", unfinished]
        held = [socket.create_connection(address, 60) for _ in beginnings]
        for connection, beginning in zip(held, beginnings, strict=True):
            connection.sendall(beginning)
        for connection in held:
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
            connection.close()
        with connect(service.url.replace("http", "ws") + "/v1/stream") as stream:
            stream.send("{}")
            assert json.loads(stream.recv())["type"] == "ready"
            for _ in range(10):  # longer than two looks at a connection
                stream.send(bytes(16000))
                assert json.loads(stream.recv())["type"] == "decision"
                time.sleep(0.5)
        with service.client() as client:
            assert client.get("/healthz").status_code == 200


@pytest.mark.slow
def test_tls_and_another_sites_pages_that_may_call(checkpoint: Path, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl, which makes the certificate")
    certificate, key, tokens = (tmp_path / name for name in ("cert.pem", "key.pem", "tokens"))
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tokens.write_text(TOKEN)
    options = (
        *("--host=0.0.0.0", f"--token_file={tokens}", "--allow_origin=[https://app.example]"),
        *(f"--tls_certificate={certificate}", f"--tls_key={key}"),
    )
    with running(checkpoint, tmp_path / "people.db", *options) as service:
        assert service.url.startswith("https://0.0.0.0:")
        own = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://app.example"}
        with service.client(verify=False, headers=own) as client:
            answer = client.get("/v1/users")
            assert answer.json() == {"users": [], "recordings": {}}
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            problem(client.get("/v1/users", headers={"Origin": "https://evil.example"}), 403)
