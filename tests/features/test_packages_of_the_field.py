"""Our features on real speech against paddleaudio and librosa, packages that others compute them
with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from vprtrain.data.audio import read_audio
from vprtrain.features import MFCC, Fbank, LogMelSpectrogram, MelSpectrogram, Spectrogram

STFT = {"n_fft": 512, "hop_length": 160, "win_length": 400}


@pytest.fixture(scope="module")
def paddleaudio() -> Any:
    return pytest.importorskip(
        "paddleaudio", reason="needs pip install paddleaudio; 1.0.2 imports beside Paddle 3.3"
    )


@pytest.fixture(scope="module")
def speech(test_data: Path) -> list[np.ndarray]:
    """A recording of each data set."""
    pack = test_data / "dev_pack"
    names = ("librispeech", "ravdess", "audiomnist_az", "arabic_commands")
    return [read_audio(sorted((pack / name).rglob("*.flac"))[0]) for name in names]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"window": "hamming"}, {"window_type": "hamming"}),
        ({"f_min": 50, "f_max": 7600, "n_mels": 64}, {"low_freq": 50, "high_freq": 7600}),
    ],
)
def test_kaldis_filter_banks_are_those_of_paddleaudio(
    paddleaudio: Any, speech: list[np.ndarray], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    feature = Fbank(floor=1e-7, **ours)
    for waveform in speech:
        expected = paddleaudio.compliance.kaldi.fbank(
            paddle.to_tensor(waveform[np.newaxis]), n_mels=feature.output_size, sr=16000, **theirs
        )
        found = feature(waveform[np.newaxis]).numpy()[0]
        # Logarithms of energies near the floor have the rounding errors of float32.
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-3)
        assert np.abs(found - expected.numpy()).mean() < 2e-5


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Spectrogram", Spectrogram(**STFT)),
        ("MelSpectrogram", MelSpectrogram(**STFT)),
        ("LogMelSpectrogram", LogMelSpectrogram(**STFT)),
        ("MFCC", MFCC(**STFT)),
    ],
)
def test_spectral_features_are_those_of_paddleaudio(
    paddleaudio: Any, speech: list[np.ndarray], name: str, ours: Any
) -> None:
    options = {"power": 2.0} if name == "Spectrogram" else {"sr": 16000, "n_mels": 80}
    reference = getattr(paddleaudio.features, name)(**STFT, **options)
    for waveform in speech:
        expected = reference(paddle.to_tensor(waveform[np.newaxis])).numpy()[0].T
        found = ours(waveform[np.newaxis]).numpy()[0]
        # paddleaudio computes its filters in float32, with an error of 1e-4 at low values.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_spectral_features_are_those_of_librosa(librosa: Any, speech: list[np.ndarray]) -> None:
    options = {**STFT, "sr": 16000, "n_mels": 80, "fmin": 50, "pad_mode": "reflect"}
    for waveform in speech:
        mel = librosa.feature.melspectrogram(y=waveform, **options)
        decibels = librosa.power_to_db(mel, top_db=None)
        cepstra = librosa.feature.mfcc(S=decibels, n_mfcc=40)
        for ours, theirs in (
            (MelSpectrogram(**STFT), mel),
            (LogMelSpectrogram(**STFT), decibels),
            (MFCC(**STFT), cepstra),
        ):
            np.testing.assert_allclose(
                ours(waveform[np.newaxis]).numpy()[0],
                theirs.T,
                rtol=0,
                atol=2e-5 * np.abs(theirs).max(),
            )


def test_padding_changes_paddleaudios_normalised_features_but_not_ours(
    paddleaudio: Any, speech: list[np.ndarray]
) -> None:
    """paddleaudio computes one waveform at a time and knows no lengths: in a padded batch, the mean
    includes the padding."""
    waveform = speech[0]
    padded = np.concatenate([waveform, np.zeros_like(waveform)])[np.newaxis]
    feature = Fbank(floor=1e-7, mean_norm=True)
    alone = feature(waveform[np.newaxis]).numpy()[0]
    found = feature(padded, np.array([len(waveform)])).numpy()[0, : len(alone)]
    np.testing.assert_array_equal(found, alone)

    def theirs(batch: np.ndarray) -> np.ndarray:
        features = paddleaudio.compliance.kaldi.fbank(
            paddle.to_tensor(batch), n_mels=80, sr=16000, subtract_mean=True
        )
        return features.numpy()[: len(alone)]

    moved = np.abs(theirs(padded) - theirs(waveform[np.newaxis])).mean()
    assert moved > 1  # of log energies
