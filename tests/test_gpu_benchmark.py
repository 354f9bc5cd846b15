"""The benchmarks of a GPU, as far as a CPU can run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def gpu():
    return pytest.importorskip("gpu")


def lines(path: Path) -> dict[str, dict[str, object]]:
    return {line["name"]: line for line in json.loads(path.read_text())["lines"]}


def test_a_cpu_runs_its_lines_and_names_the_reason_of_the_others(gpu, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    size = ["--batch=2", "--seconds=0.6"]
    assert gpu.main(["--device=cpu", "--models", "TDNN", *size, f"--out={out}"]) == 0
    found = lines(out)
    passed = {name for name, line in found.items() if line["verdict"] == "pass"}
    assert passed >= {"parity of Fbank", "fetches of TDNN", "steps of TDNN float32"}
    assert passed >= {"embedding by TDNN", "parity of SpeechBrainFbank"}
    skipped = {name: line["reason"] for name, line in found.items() if name not in passed}
    assert {"kernels", "ranks", "SyncBatchNorm", "float16 of TDNN"} <= set(skipped)
    assert all(skipped.values())
    assert found["steps of TDNN float32"]["values"]["utterances/s"] > 0


def test_a_model_of_other_features_gets_them() -> None:
    step = pytest.importorskip("speaker_step")
    step.make_module("ReDimNet")  # 72 mels: another number is refused


def test_without_a_gpu_every_line_is_skipped(gpu, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "why_unavailable", lambda device: "no GPU")
    assert gpu.main([f"--out={tmp_path / 'gpu.json'}"]) == 0
    found = lines(tmp_path / "gpu.json").values()
    assert {(line["verdict"], line["reason"]) for line in found} == {("skipped", "no GPU")}


def test_a_line_that_raises_fails_and_the_others_go_on(gpu, tmp_path: Path, monkeypatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("out of memory\nand a stack")

    monkeypatch.setattr(gpu.gpu_checks, "steps", broken)
    options = ["--device=cpu", "--models", "TDNN", "--lines", "float32", "Fbank", "--batch=2"]
    assert gpu.main([*options, f"--out={tmp_path / 'gpu.json'}"]) == 1
    found = lines(tmp_path / "gpu.json")
    assert found["steps of TDNN float32"]["reason"] == "RuntimeError: out of memory"
    assert found["parity of Fbank"]["verdict"] == "pass"


def test_a_fetch_between_log_points_is_counted(gpu, monkeypatch) -> None:
    from vprtrain.speaker.module import SpeakerModule

    original = SpeakerModule.training_step

    def fetching(module, batch):
        loss, scalars = original(module, batch)
        loss.item()
        return loss, scalars

    options = gpu.Options("cpu", ["TDNN"], 2, 0.6, 1)
    monkeypatch.setattr(SpeakerModule, "training_step", fetching)
    line = gpu.gpu_checks.fetches("TDNN", options)
    assert line.verdict == "fail" and line.values["fetches"] == 4  # in steps 2, 4, 5 and 7


def test_a_kernel_that_no_gpu_has_is_found(gpu) -> None:
    operators = gpu.gpu_checks.gpu_operators
    parts = {"a step": {("conv2d", "float32"), ("flip", "float32")}, "a feature": set()}
    registry = {("conv2d", "float32"), ("flip", "int64")}
    assert operators.without_gpu(parts, registry) == {"a step": ["flip float32"]}


@pytest.mark.slow
def test_the_kernels_of_forward_backward_and_update_are_read_from_the_log(gpu) -> None:
    parts = gpu.gpu_checks.gpu_operators.used_kernels(["TDNN"])
    step = {name for name, _ in parts["step of TDNN"]}
    assert step >= {"gather", "conv2d", "conv2d_grad", "batch_norm_grad", "adam"}
    assert {"AAMLoss", "SubCenterLoss"} <= {name.split()[-1] for name in parts}
    assert parts["Fbank"] and {dtype for _, dtype in parts["Fbank"]} >= {"float32"}
