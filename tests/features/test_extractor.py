"""The contract of every feature: shapes, ignored padding, equal paths, normalisation, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from fetches import forbid_fetches
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.features import (
    MFCC,
    Fbank,
    FeatureExtractor,
    LogMelSpectrogram,
    MelSpectrogram,
    Spectrogram,
)
from vprtrain.spec import build

FEATURES: dict[str, Callable[..., FeatureExtractor]] = {
    "Fbank": lambda **options: Fbank(n_mels=20, **options),
    "MFCC": lambda **options: MFCC(n_mfcc=13, n_mels=40, **options),
    "LogMelSpectrogram": lambda **options: LogMelSpectrogram(n_mels=40, win_length=400, **options),
    "MelSpectrogram": lambda **options: MelSpectrogram(n_mels=40, n_fft=400, **options),
    "Spectrogram": lambda **options: Spectrogram(n_fft=256, hop_length=100, power=1.0, **options),
    "uncentred": lambda **options: Spectrogram(n_fft=201, hop_length=80, center=False, **options),
}
NORMALISATIONS = [
    {},
    {"mean_norm": True},
    {"mean_norm": True, "variance_norm": True},
    {"level": -20.0},
]

every_feature = pytest.mark.parametrize("name", FEATURES)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype("float32")


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare with a tolerance relative to the largest value (at least 1), because the features'
    scales differ by orders of magnitude."""
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max(initial=0))
    )


@every_feature
def test_shapes_types_and_state(name: str) -> None:
    feature = FEATURES[name]()
    waveforms = noise(3, 8000)
    from_array, from_tensor = feature(waveforms), feature(paddle.to_tensor(waveforms))
    assert from_array.shape == [3, feature.frames(8000), feature.output_size]
    assert isinstance(from_array, paddle.Tensor) and from_array.dtype == paddle.float32
    np.testing.assert_array_equal(from_array.numpy(), from_tensor.numpy())
    assert not feature.state_dict() and not feature.parameters()


@every_feature
def test_its_specification_makes_the_same_feature(name: str) -> None:
    feature = FEATURES[name](mean_norm=True)
    again = build(feature.spec, FeatureExtractor, "test")
    np.testing.assert_array_equal(again(noise(1, 4000)).numpy(), feature(noise(1, 4000)).numpy())


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@every_feature
@settings(deadline=None, max_examples=8)
@given(
    lengths=st.lists(st.integers(0, 9000), min_size=1, max_size=4),
    padding=st.sampled_from([0.0, 0.7, 1e3]),
)
def test_padding_has_no_influence(
    name: str, normalisation: dict, lengths: list[int], padding: float
) -> None:
    feature = FEATURES[name](**normalisation)
    batch = np.full((len(lengths), max(*lengths, 512)), padding, "float32")
    for row, length in enumerate(lengths):
        batch[row, :length] = noise(length, seed=row)
    host = feature.on_host(batch, np.array(lengths))
    device = feature.on_device(
        paddle.to_tensor(batch), paddle.to_tensor(lengths, dtype="int64")
    ).numpy()
    assert_close(device, host, 2e-4)
    for row, length in enumerate(lengths):
        count = feature.frames(length)
        assert not host[row, count:].any() and not device[row, count:].any()
        if count:
            np.testing.assert_array_equal(
                host[row, :count], feature.on_host(batch[row : row + 1, :length])[0]
            )


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@every_feature
def test_both_paths_agree_without_lengths(name: str, normalisation: dict) -> None:
    feature = FEATURES[name](**normalisation)
    waveforms = noise(2, 5000)
    assert_close(
        feature.on_device(paddle.to_tensor(waveforms)).numpy(), feature.on_host(waveforms), 2e-4
    )


@every_feature
def test_normalisation_is_over_the_real_frames(name: str) -> None:
    lengths = np.array([8000, 3000])
    plain = FEATURES[name]().on_host(noise(2, 8000), lengths)
    centred = FEATURES[name](mean_norm=True).on_host(noise(2, 8000), lengths)
    scaled = FEATURES[name](mean_norm=True, variance_norm=True).on_host(noise(2, 8000), lengths)
    for row, length in enumerate(lengths):
        real = plain[row, : FEATURES[name]().frames(length)].astype("float64")
        assert_close(centred[row, : len(real)], real - real.mean(axis=0), 1e-5)
        assert_close(scaled[row, : len(real)], (real - real.mean(axis=0)) / real.std(axis=0), 1e-4)


@every_feature
def test_the_level_is_that_of_the_utterance_alone(name: str) -> None:
    feature, lengths = FEATURES[name](level=-20.0), np.array([8000, 5000])
    waveforms = noise(2, 8000) * np.float32([[0.01], [3]])
    found = feature.on_host(waveforms, lengths)
    for row, length in enumerate(lengths):
        alone = waveforms[row : row + 1, :length]
        at_level = alone * (0.1 / np.sqrt(np.square(alone, dtype="float64").mean()))
        plain = FEATURES[name]().on_host(at_level.astype("float32"))[0]
        assert_close(found[row, : len(plain)], plain, 1e-5)


@every_feature
def test_silence_has_no_level(name: str) -> None:
    feature, silence = FEATURES[name](level=-20.0), np.zeros((1, 8000), "float32")
    np.testing.assert_array_equal(feature.on_host(silence), FEATURES[name]().on_host(silence))
    on_device = feature.on_device(paddle.to_tensor(silence)).numpy()
    assert_close(on_device, feature.on_host(silence), 2e-4)


@every_feature
def test_a_constant_feature_is_not_blown_up(name: str) -> None:
    feature = FEATURES[name](mean_norm=True, variance_norm=True)
    silence = np.zeros((2, 4000), "float32")
    for features in (
        feature.on_host(silence),
        feature.on_device(paddle.to_tensor(silence)).numpy(),
    ):
        np.testing.assert_allclose(features, 0, atol=0.1)


@every_feature
def test_a_long_waveform_equals_its_parts(name: str) -> None:
    feature = FEATURES[name]()
    whole = feature.on_host(noise(1, 1500 * feature.frame_shift))[0]
    # Beyond the first blocks: a part that starts some frames earlier has no reflected edge here.
    frame = 1100
    part = feature.on_host(
        noise(1, 1500 * feature.frame_shift)[:, (frame - 5) * feature.frame_shift :]
    )[0]
    assert_close(part[5:], whole[frame:], 1e-6)


@given(samples=st.integers(0, 100_000), name=st.sampled_from(sorted(FEATURES)))
@settings(deadline=None, max_examples=40)
def test_frames_counts_what_forward_gives(samples: int, name: str) -> None:
    feature = FEATURES[name]()
    expected = 0
    if samples >= feature.min_samples:
        expected = feature.on_host(np.zeros((1, samples), "float32")).shape[1]
    assert feature.frames(samples) == expected
    assert feature.frames(np.array([samples])).tolist() == [expected]
    assert feature.frames(paddle.to_tensor([samples], dtype="int64")).tolist() == [expected]


@every_feature
def test_the_shortest_waveform_gives_a_frame(name: str) -> None:
    feature = FEATURES[name]()
    assert feature.frames(feature.min_samples) >= 1 and feature.frames(feature.min_samples - 1) == 0
    assert np.isfinite(feature(noise(1, feature.min_samples)).numpy()).all()


@every_feature
def test_waveforms_of_another_shape_are_refused(name: str) -> None:
    feature = FEATURES[name]()
    for shape in ((1600,), (2, feature.min_samples - 1), (2, 1, 1600)):
        with pytest.raises(UsageError, match=f"at least {feature.min_samples} samples"):
            feature(np.zeros(shape, "float32"))


def test_variance_norm_without_mean_norm_is_refused() -> None:
    with pytest.raises(UsageError, match="variance_norm is on and mean_norm is off"):
        Fbank(variance_norm=True)


@every_feature
def test_a_frame_of_no_length_is_refused(name: str) -> None:
    nothing = {"frame_shift_ms": 0.0} if name == "Fbank" else {"hop_length": 0}
    with pytest.raises(UsageError, match=r"every 0 samples|hop_length is 0"):
        type(FEATURES[name]())(**nothing)


@pytest.mark.parametrize(
    "name", ["Fbank", "MFCC", "Spectrogram"]
)  # an MFCC goes through the other two
@pytest.mark.parametrize("with_lengths", [False, True])
def test_export_keeps_batch_and_time_dynamic(name: str, with_lengths: bool, tmp_path: Path) -> None:
    options = {"mean_norm": True, "variance_norm": True, "level": -20.0}
    feature = FEATURES[name](**options)
    feature.eval()
    specs = [paddle.static.InputSpec([None, None], "float32", name="waveforms")]
    if with_lengths:
        specs.append(paddle.static.InputSpec([None], "int64", name="lengths"))
    traced = paddle.jit.to_static(feature, input_spec=specs, full_graph=True)
    paddle.jit.save(traced, str(tmp_path / "feature"))
    loaded = paddle.jit.load(str(tmp_path / "feature"))
    for batch, samples in ((1, 1600), (3, 5003)):
        inputs = [noise(batch, samples)]
        if with_lengths:
            inputs.append(np.arange(samples - batch + 1, samples + 1))
        exported = loaded(*map(paddle.to_tensor, inputs)).numpy()
        assert_close(exported, FEATURES[name](**options).on_host(*inputs), 2e-4)


@every_feature
@pytest.mark.parametrize("with_lengths", [False, True])
def test_the_host_does_not_wait_for_the_device(
    name: str, with_lengths: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = FEATURES[name](mean_norm=True, variance_norm=True, level=-20.0)
    waveforms = paddle.to_tensor(noise(2, 8000))
    lengths = paddle.to_tensor([8000, 5000]) if with_lengths else None
    forbid_fetches(monkeypatch)
    extractor.on_device(waveforms, lengths)
