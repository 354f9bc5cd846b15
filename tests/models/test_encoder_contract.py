"""The contract of every encoder: shapes, exact lengths, gradients everywhere, export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from fetches import forbid_fetches
from small_encoders import ENCODERS, MELS, VARIANTS, made_uneven, random_features

from vprtrain.errors import UsageError
from vprtrain.models import EcapaTdnn, SpeakerEncoder


@pytest.fixture(params=[*ENCODERS, *VARIANTS])
def encoder(request: pytest.FixtureRequest) -> SpeakerEncoder:
    """A small encoder in evaluation mode, with batch normalisations that are not neutral."""
    paddle.seed(1)
    return made_uneven((ENCODERS | VARIANTS)[request.param]())


@pytest.mark.parametrize("padding", [0.0, 3.0, 1e3])
@pytest.mark.parametrize("lengths", [(40, 41, 17, 230), (200, 201, 230, 199), (31, 16, 33, 101)])
def test_padding_has_no_influence(
    encoder: SpeakerEncoder, lengths: tuple[int, ...], padding: float
) -> None:
    longest = max(lengths) + (7 if padding else 0)
    batch = np.full((len(lengths), longest, MELS), padding, "float32")
    alone = []
    for row, length in enumerate(lengths):
        features = random_features(length, MELS, seed=length)
        batch[row, :length] = features
        alone.append(encoder(paddle.to_tensor(features[None])).numpy()[0])
    together = encoder(paddle.to_tensor(batch), paddle.to_tensor(lengths, dtype="int64")).numpy()
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4 * np.abs(alone).max())


def test_an_utterance_is_not_its_padded_self_without_lengths(encoder: SpeakerEncoder) -> None:
    features = random_features(1, 60, MELS)
    padded = np.pad(features, ((0, 0), (0, 60), (0, 0)), constant_values=30.0)
    difference = encoder(paddle.to_tensor(features)) - encoder(paddle.to_tensor(padded))
    assert difference.abs().max().item() > 1e-2


@pytest.mark.parametrize("with_lengths", [False, True])
def test_every_parameter_has_a_finite_gradient(encoder: SpeakerEncoder, with_lengths: bool) -> None:
    encoder.train()
    lengths = paddle.to_tensor([50, 37, 44], dtype="int64") if with_lengths else None
    embeddings = encoder(paddle.to_tensor(random_features(3, 50, MELS)), lengths)
    assert embeddings.shape == [3, encoder.embedding_dim] and embeddings.dtype == paddle.float32
    (
        embeddings * paddle.to_tensor(random_features(3, encoder.embedding_dim, seed=1))
    ).sum().backward()
    for name, parameter in encoder.named_parameters():
        if not parameter.stop_gradient:
            assert parameter.grad is not None, name
            assert paddle.isfinite(parameter.grad).all().item(), name


def test_constant_features_give_finite_gradients(encoder: SpeakerEncoder) -> None:
    features = paddle.zeros([2, 40, MELS])
    features.stop_gradient = False
    encoder(features).sum().backward()
    assert paddle.isfinite(features.grad).all().item()


def test_features_of_another_shape_are_refused(encoder: SpeakerEncoder) -> None:
    with pytest.raises(UsageError, match=rf"\[2, 50, 7\].*frames, {MELS}\]"):
        encoder(paddle.zeros([2, 50, 7]))
    with pytest.raises(UsageError, match=f"at least {encoder.min_frames} frames"):
        encoder(paddle.zeros([2, encoder.min_frames - 1, MELS]))
    assert paddle.isfinite(encoder(paddle.zeros([2, encoder.min_frames, MELS]))).all().item()


def test_a_length_too_short_stays_finite_and_alone(encoder: SpeakerEncoder) -> None:
    features = paddle.to_tensor(random_features(3, 50, MELS))
    embeddings = encoder(features, paddle.to_tensor([50, 0, 1], dtype="int64")).numpy()
    assert np.isfinite(embeddings).all()
    np.testing.assert_allclose(
        embeddings[0], encoder(features[:1]).numpy()[0], atol=1e-4 * np.abs(embeddings[0]).max()
    )


def test_ecapa_refuses_channels_that_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="channels 100 and scale 8"):
        EcapaTdnn(channels=100)


@pytest.mark.parametrize("encoder", ENCODERS, indirect=True)
def test_export_keeps_the_time_axis_dynamic(encoder: SpeakerEncoder, tmp_path: Path) -> None:
    spec = [paddle.static.InputSpec([None, None, MELS], "float32", name="features")]
    traced = paddle.jit.to_static(encoder, input_spec=spec, full_graph=True)
    expected = {}
    for batch, frames in ((1, 40), (2, 101), (3, 230)):
        expected[batch, frames] = encoder.encode(
            paddle.to_tensor(random_features(batch, frames, MELS)).transpose([0, 2, 1]), None
        ).numpy()
    paddle.jit.save(traced, str(tmp_path / "encoder"))
    loaded = paddle.jit.load(str(tmp_path / "encoder"))
    for (batch, frames), embeddings in expected.items():
        ours = loaded(paddle.to_tensor(random_features(batch, frames, MELS))).numpy()
        np.testing.assert_allclose(ours, embeddings, rtol=0, atol=1e-5 * np.abs(embeddings).max())


@pytest.mark.parametrize("with_lengths", [False, True])
def test_the_host_does_not_wait_for_the_device(
    encoder: SpeakerEncoder, with_lengths: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder.train()
    lengths = paddle.to_tensor([50, 37, 44], dtype="int64") if with_lengths else None
    features = paddle.to_tensor(random_features(3, 50, MELS))
    forbid_fetches(monkeypatch)
    encoder(features, lengths).sum().backward()
