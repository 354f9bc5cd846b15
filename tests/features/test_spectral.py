"""The librosa family of features against paddle.audio and librosa themselves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import paddle
import paddle.audio.features as reference
import pytest
from jsonargparse import ArgumentParser

from vprtrain.errors import UsageError
from vprtrain.features import MFCC, FeatureExtractor, LogMelSpectrogram, MelSpectrogram, Spectrogram

WAVEFORMS = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 8000)).astype("float32")
STFT = {"n_fft": 512, "hop_length": 160}


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Spectrogram(), reference.Spectrogram(**STFT, power=2.0)),
        (
            Spectrogram(power=1.0, center=False),
            reference.Spectrogram(**STFT, power=1.0, center=False),
        ),
        (Spectrogram(power=3.0), reference.Spectrogram(**STFT, power=3.0)),
        (
            Spectrogram(win_length=400, window="hamming"),
            reference.Spectrogram(**STFT, win_length=400, window="hamming", power=2.0),
        ),
        (MelSpectrogram(n_mels=64), reference.MelSpectrogram(sr=16000, n_mels=64, **STFT)),
        (
            MelSpectrogram(
                n_fft=1024, hop_length=320, f_min=20.0, f_max=7600.0, htk=True, norm=None
            ),
            reference.MelSpectrogram(
                sr=16000,
                n_mels=80,
                n_fft=1024,
                hop_length=320,
                f_min=20.0,
                f_max=7600.0,
                htk=True,
                norm=None,
            ),
        ),
        (
            LogMelSpectrogram(amin=1e-5),
            reference.LogMelSpectrogram(sr=16000, n_mels=80, amin=1e-5, **STFT),
        ),
        (MFCC(), reference.MFCC(sr=16000, n_mels=80, **STFT)),
        (MFCC(n_mfcc=20, n_mels=64), reference.MFCC(sr=16000, n_mfcc=20, n_mels=64, **STFT)),
    ],
    ids=lambda layer: f"{type(layer).__name__}",
)
def test_equals_paddle_audio(feature: FeatureExtractor, expected: paddle.nn.Layer) -> None:
    theirs = expected(paddle.to_tensor(WAVEFORMS)).numpy().transpose(0, 2, 1)
    # Paddle computes its filters in float32, with an error of 1e-4 at low values.
    np.testing.assert_allclose(
        feature(WAVEFORMS).numpy(), theirs, rtol=0, atol=5e-5 * np.abs(theirs).max()
    )


@pytest.mark.parametrize(
    "window", ["hann", "hamming", "blackman", "bohman", "cosine", "nuttall", "triang"]
)
def test_windows_are_those_of_paddle_audio(window: str) -> None:
    theirs = paddle.audio.functional.get_window(window, 400, dtype="float64").numpy()
    np.testing.assert_allclose(
        Spectrogram(n_fft=400, window=window).steps[0].window.numpy(), theirs, atol=1e-6
    )


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_equals_librosa(librosa: Any, htk: bool, rate: int) -> None:
    stft = {"n_fft": 512, "hop_length": 128, "win_length": 400, "pad_mode": "reflect"}
    ours = {
        "n_fft": 512,
        "hop_length": 128,
        "win_length": 400,
        "sample_rate": rate,
        "n_mels": 40,
        "htk": htk,
    }
    waveform = WAVEFORMS[:1]
    mel = librosa.feature.melspectrogram(
        y=waveform[0], sr=rate, n_mels=40, fmin=50, fmax=rate / 2, htk=htk, **stft
    )
    decibel = librosa.power_to_db(mel, top_db=None)
    cepstra = librosa.feature.mfcc(S=decibel, n_mfcc=20)
    for feature, theirs in (
        (MelSpectrogram(**ours), mel),
        (LogMelSpectrogram(**ours), decibel),
        (MFCC(n_mfcc=20, **ours), cepstra),
    ):
        np.testing.assert_allclose(
            feature(waveform).numpy()[0], theirs.T, rtol=0, atol=2e-6 * np.abs(theirs).max()
        )


def test_every_option_has_its_type_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(FeatureExtractor, "feature")
    with pytest.raises(SystemExit):
        parser.parse_args(["--feature.help=vprtrain.features.MFCC"])
    _, *texts = re.split(r"\n  --feature\.", capsys.readouterr().out)
    entries = {text.split()[0]: " ".join(text.split()[2:]) for text in texts}
    assert entries.keys() == MFCC().init_args.keys()
    for name, text in entries.items():
        assert re.search(r"[a-z]{3}.* \(type: (?!Unvalidated)", text), (name, text)


def test_one_tone_stands_in_its_bin() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype("float32")
    powers = Spectrogram(center=False)(tone[None]).numpy()[0]
    assert (powers.argmax(axis=1) == 32).all()  # 1000 Hz / (16000 Hz / 512)


@pytest.mark.parametrize(
    ("feature", "options", "message"),
    [
        (Spectrogram, {"n_fft": 1}, "n_fft is 1; expected a whole number from 2"),
        (
            Spectrogram,
            {"win_length": 513},
            "win_length is 513; expected .* to 512",
        ),
        (Spectrogram, {"power": 0.0}, "power is 0.0; expected a finite number above 0"),
        (Spectrogram, {"window": "square"}, "window 'square' is not known: choose one of hann, "),
        (MelSpectrogram, {"n_mels": 0}, "n_mels is 0"),
        (MelSpectrogram, {"f_max": 9000.0}, "f_max <= sample_rate / 2"),
        (MelSpectrogram, {"n_mels": 400}, "use fewer mels"),
        (LogMelSpectrogram, {"amin": 0.0}, "amin is 0.0"),
        (MFCC, {"n_mfcc": 81}, "n_mfcc is 81; expected a whole number from 1 to 80"),
    ],
)
def test_impossible_options_are_refused(
    feature: type[FeatureExtractor], options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        feature(**options)
