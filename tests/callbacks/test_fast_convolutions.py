"""FastConvolutions: new runs have it, and a run that began without it keeps its bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import paddle
import pytest
from probes import StopAfter, Trained, Watch, assert_equal_arrays, last, train
from small_encoders import ENCODERS, MELS, random_features

from vprtrain.callbacks import FastConvolutions, MixedPrecision
from vprtrain.callbacks.fast_convolutions import switch_fast_convolutions
from vprtrain.engine import Callback, DataModule
from vprtrain.errors import UsageError
from vprtrain.extractors.exporting import export
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE
from vprtrain.extractors.opening import open_extractor
from vprtrain.features import Fbank
from vprtrain.layers import Conv1D, Conv2D
from vprtrain.losses import AAMLoss
from vprtrain.models import SpeakerEncoder
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule

CLASSES, SAMPLES = 3, 4800
MODELS: dict[str, Callable[[], SpeakerEncoder]] = {
    "EcapaTdnn": ENCODERS["EcapaTdnn"],
    "ResNet34": ENCODERS["ResNet34"],
    "ERes2Net, recomputed": lambda: ENCODERS["ERes2Net"](recompute=True),
}


class Noise(DataModule):
    """Four batches of noise an epoch."""

    steps_per_epoch = 4

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        for number in range(start, self.steps_per_epoch):
            rng = np.random.default_rng([epoch, number])
            waveforms = 0.2 * rng.standard_normal((4, SAMPLES))
            yield SpeakerBatch(waveforms.astype("float32"), rng.integers(0, CLASSES, 4))

    def state_keys(self) -> dict[str, int]:
        return {"sample_rate": 16000, "channel": 0}

    def fingerprint(self) -> dict[str, int]:
        return {}


def fit(
    *callbacks: Callback, run_dir: Path | None = None, model: str = "ResNet34", accept: bool = False
) -> Trained:
    def module() -> SpeakerModule:
        parts = {"model": MODELS[model](), "feature": Fbank(n_mels=MELS, mean_norm=True)}
        return SpeakerModule(**parts, loss=AAMLoss(), num_classes=CLASSES)

    options = {"accept_changes": accept}
    return train(*callbacks, run_dir=run_dir, module=module, data=Noise(), fit=options)


def fast_layers(layer: paddle.nn.Layer) -> set[bool]:
    return {each.fast for each in layer.sublayers() if isinstance(each, Conv1D | Conv2D)}


def test_a_new_run_has_it_until_its_end() -> None:
    watch = Watch("on_train_batch_end", lambda run: fast_layers(run.module))
    fast, plain = fit(FastConvolutions(), watch), fit()
    assert watch.seen == [{True}] * 8
    assert fast_layers(fast.module) == {False}
    differing = [name for name, a in fast.weights.items() if (a != plain.weights[name]).any()]
    assert differing
    for name, array in fast.weights.items():
        np.testing.assert_allclose(array, plain.weights[name], rtol=0, atol=0.02, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_a_resume_gives_the_same_bits(tmp_path: Path, model: str) -> None:
    straight = fit(FastConvolutions(), run_dir=tmp_path / "straight", model=model)
    for stop in (1, 6):
        fit(FastConvolutions(), StopAfter(stop), run_dir=tmp_path / "cut", model=model)
    cut = fit(FastConvolutions(), run_dir=tmp_path / "cut", model=model)
    assert_equal_arrays(straight.weights, cut.weights)
    assert last(tmp_path / "straight").state.files == last(tmp_path / "cut").state.files


def test_a_run_that_began_without_it_goes_on_without_it(tmp_path: Path) -> None:
    straight = fit(run_dir=tmp_path / "straight")
    fit(StopAfter(1), run_dir=tmp_path / "cut")
    watch = Watch("on_train_batch_end", lambda run: fast_layers(run.module))
    fit(FastConvolutions(), StopAfter(3), watch, run_dir=tmp_path / "cut")
    resumed = fit(FastConvolutions(), watch, run_dir=tmp_path / "cut")
    assert watch.seen == [{False}] * 7
    assert_equal_arrays(straight.weights, resumed.weights)


def test_one_callback_for_two_runs(tmp_path: Path) -> None:
    fit(StopAfter(1), run_dir=tmp_path / "plain")
    callback = FastConvolutions()
    watch = Watch("on_train_batch_end", lambda run: fast_layers(run.module))
    fit(callback, StopAfter(1), watch, run_dir=tmp_path / "fast")
    fit(callback, StopAfter(2), watch, run_dir=tmp_path / "plain")
    fit(callback, StopAfter(2), watch, run_dir=tmp_path / "fast")
    assert watch.seen == [{True}, {False}, {True}]


def test_leaving_it_out_later_is_refused(tmp_path: Path) -> None:
    fit(FastConvolutions(), StopAfter(1), run_dir=tmp_path)
    with pytest.raises(UsageError, match="the callback FastConvolutions was there, is not"):
        fit(run_dir=tmp_path)
    assert fit(run_dir=tmp_path, accept=True).result.step == 8


def test_mixed_precision_changes_nothing_on_a_cpu() -> None:
    plain, mixed = (
        fit(FastConvolutions(), MixedPrecision(precision=name)) for name in ("fp32", "bf16")
    )
    assert_equal_arrays(plain.weights, mixed.weights)


def test_the_gradients_of_a_whole_network() -> None:
    def gradients(fast: bool) -> dict[str, np.ndarray]:
        paddle.seed(0)
        model = ENCODERS["ResNet34"]()
        switch_fast_convolutions(model, fast)
        features = paddle.to_tensor(random_features(4, 40, MELS).astype("float32"))
        model(features).square().sum().backward()
        named = model.named_parameters()
        return {name: value.grad.numpy() for name, value in named if not value.stop_gradient}

    fast, plain = gradients(True), gradients(False)
    assert any((fast[name] != array).any() for name, array in plain.items())
    largest = max(np.abs(array).max() for array in plain.values())
    for name, array in plain.items():
        np.testing.assert_allclose(fast[name], array, rtol=0, atol=1e-4 * largest, err_msg=name)


def test_a_network_is_exported_as_without_it(tmp_path: Path) -> None:
    run = fit(FastConvolutions(), run_dir=tmp_path / "run")
    out = tmp_path / "exported"
    export(last(tmp_path / "run"), out)
    waveform = (0.2 * random_features(1, 2 * SAMPLES)).astype("float32")
    run.module.eval()
    with paddle.no_grad():
        expected = run.module.embed(waveform).numpy()[0]
    for form in (STATIC_FILE, ONNX_FILE):
        found = open_extractor(out / form, "cpu").embed([waveform[0]])[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_graph_of_a_network_with_it_is_that_of_one_without_it() -> None:
    def operations(fast: bool) -> list[str]:
        model = ENCODERS["ResNet34"]()
        switch_fast_convolutions(model, fast)
        spec = paddle.static.InputSpec([None, None, MELS], "float32")
        graph = paddle.jit.to_static(model, input_spec=[spec], full_graph=True)
        block = graph.forward.concrete_program.main_program.global_block()
        return [operation.name() for operation in block.ops]

    assert operations(True) == operations(False)
