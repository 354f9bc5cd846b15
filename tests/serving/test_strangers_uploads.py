"""Uploads of strangers: every bad and odd recording, and what schemathesis makes of the OpenAPI
document. The service answers each, and lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from service import Service, running, wav
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.data.audio import AudioError

pytestmark = pytest.mark.slow
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("strangers") / "epoch_1", threshold=0.5)


@pytest.fixture(scope="module")
def service(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(checkpoint, tmp_path_factory.mktemp("people") / "people.db") as started:
        yield started


def test_every_bad_and_odd_recording_gets_the_predictors_answer_or_its_line(
    service: Service, checkpoint: Path, test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = Predictor(checkpoint)
    folders = [test_data / name for name in ("bad_audio", "odd_audio")]
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    if not files:
        pytest.skip(f"no recordings in {folders}")
    answers: Counter[int] = Counter()
    with service.client() as client:
        for file in files:
            content = file.read_bytes()
            answer = client.post("/v1/embed", content=content, headers=RAW)
            answers[answer.status_code] += 1
            try:
                expected = predictor.embed(content)
            except AudioError as error:
                assert answer.status_code == 422, file
                line = answer.json()["detail"]
                assert "\n" not in line and line.split(": ")[0] == "the audio"
                if "decoded as audio" not in line:  # a worker names the decoders it has tried
                    assert (
                        line.split("(")[0].split(";")[0] == str(error).split("(")[0].split(";")[0]
                    )
            else:
                assert answer.status_code == 200, (file, answer.text)
                np.testing.assert_allclose(
                    answer.json()["embedding"], expected, rtol=1e-3, atol=1e-3, err_msg=str(file)
                )
            assert client.get("/healthz").status_code == 200
            assert service.process.poll() is None
        assert client.post("/v1/embed", content=wav(voice(0)), headers=RAW).status_code == 200
    with capsys.disabled():
        print(f"\n{len(files)} bad and odd recordings uploaded: {dict(answers)}")


def test_schemathesis_finds_no_server_error(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    answers: Counter[int] = Counter()
    operations = [each.ok() for each in schema.get_all_operations()]
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)

            @given(case=strategy)
            @settings(max_examples=40, suppress_health_check=[*HealthCheck], database=None)
            def call(case: schemathesis.Case) -> None:
                answer = case.call(base_url=service.url)
                answers[answer.status_code] += 1
                assert answer.status_code < 500, answer.text

            with suppress(Unsatisfiable):  # nothing can be wrong in a request without parameters
                call()
    with capsys.disabled():
        print(f"\nschemathesis, {len(operations)} operations: {dict(sorted(answers.items()))}")
    assert {200, 422} <= answers.keys()
    with service.client() as client:
        assert client.get("/readyz").status_code == 200


def test_the_openapi_document_is_one_and_has_examples(service: Service) -> None:
    document = httpx.get(f"{service.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            for answer in operation["responses"].values():
                for kind, content in answer.get("content", {}).items():
                    if kind == "application/json":
                        name = content["schema"]["$ref"].rpartition("/")[2]
                        assert document["components"]["schemas"][name]["examples"], name
