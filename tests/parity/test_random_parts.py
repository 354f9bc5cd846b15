"""What is random in training, against the toolkits: where it acts and how it is distributed.

WeSpeaker's order (``wespeaker/dataset/dataset.py``) is: speed, chunk, rooms and noise, filter bank
with dither, mean normalisation, SpecAugment. 3D-Speaker's is the same without dither and
SpecAugment.
"""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from vprtrain.data.augmentation import SpeedPerturbation
from vprtrain.features import Fbank, SpecAugment
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN
from vprtrain.speaker import SpeakerModule

SILENCE = np.zeros(40 * 16000, "float32")


def neighbours_correlation(features: np.ndarray) -> float:
    """The mean correlation of each value with that of the frame before."""
    return float(np.mean([np.corrcoef(row[1:], row[:-1])[0, 1] for row in features.T]))


def test_dither_has_kaldis_distribution() -> None:
    """Kaldi adds the noise before it subtracts a frame's mean and pre-emphasises, and so does
    Fbank: noise that was added later would have another spectrum. In one thing they differ. Kaldi
    draws noise for each frame, Fbank for the waveform, so that overlapping frames share it."""
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.dither = 1.0
    options.mel_opts.num_bins = 80
    kaldi = knf.OnlineFbank(options)
    kaldi.accept_waveform(16000, SILENCE)
    kaldi.input_finished()
    expected = np.stack([kaldi.get_frame(i) for i in range(kaldi.num_frames_ready)])
    paddle.seed(0)
    found = Fbank(int16_scale=True, dither=1.0)(SILENCE[None]).numpy()[0]

    assert found.shape == expected.shape
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(found.std(axis=0), expected.std(axis=0), atol=0.1)
    assert neighbours_correlation(expected) == pytest.approx(0, abs=0.02)
    assert neighbours_correlation(found) == pytest.approx(0.2, abs=0.05)


def test_spec_augment_acts_after_the_mean_normalisation() -> None:
    """As in WeSpeaker: what is masked is 0, the mean, and the rest is not normalised again."""
    feature = Fbank(mean_norm=True)
    module = SpeakerModule(
        model=TDNN(embedding_dim=8, channels=8, pooled_channels=8),
        feature=feature,
        loss=AAMLoss(),
        num_classes=4,
        spec_augment=SpecAugment(prob=1.0, num_time_masks=3, num_freq_masks=3),
    )
    module.train()
    given: list[np.ndarray] = []
    module.model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].numpy()))
    waveforms = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16000)).astype("float32")
    paddle.seed(0)
    module.embed(waveforms)

    masked = given[0] == 0
    assert masked.any() and not masked.all()
    unmasked = feature(waveforms).numpy()
    np.testing.assert_array_equal(given[0], np.where(masked, 0, unmasked))


def wespeaker_mask(rng: np.random.Generator, size: int, widest: int) -> int:
    """The width of a mask as ``wespeaker/dataset/processor.py`` draws it: 1 to ``widest``, from
    anywhere, cut at the end."""
    start = rng.integers(0, size)
    return min(size, start + rng.integers(1, widest + 1)) - start


@pytest.mark.parametrize(("size", "widest"), [(200, 10), (80, 8)])
def test_spec_augment_masks_a_little_less_than_wespeaker(size: int, widest: int) -> None:
    """Widths of 0 to the widest, never cut: SpecAugment's paper. No configuration of WeSpeaker's
    examples masks anything."""
    rng = np.random.default_rng(0)
    theirs = [wespeaker_mask(rng, size, widest) for _ in range(20000)]
    paddle.seed(0)
    augment = SpecAugment(max_time_mask=widest, max_freq_mask=0, prob=1.0)
    ours = (augment(paddle.ones([20000, size, 1])).numpy() == 0).sum(axis=1)
    cut = sum(width * (width - 1) / 2 for width in range(1, widest + 1)) / widest / size
    assert np.mean(theirs) == pytest.approx((widest + 1) / 2 - cut, abs=0.1)
    assert ours.mean() == pytest.approx(widest / 2, abs=0.1)


@pytest.mark.parametrize("num_speakers", [1, 7])
def test_a_voice_at_another_speed_has_the_toolkits_class(num_speakers: int) -> None:
    """WeSpeaker's ``speed_perturb`` and 3D-Speaker's ``WavReader`` with ``SpkLabelEncoder`` have
    these speeds in this order, and the class ``label + num_speakers * speed_index``."""
    speed = SpeedPerturbation()
    assert speed.factors == (1.0, 0.9, 1.1)
    assert speed.num_classes(num_speakers) == 3 * num_speakers
    for label in range(num_speakers):
        for index in range(3):
            assert speed.label(label, index, num_speakers) == label + num_speakers * index
