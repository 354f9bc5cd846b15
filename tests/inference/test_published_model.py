"""A published CAM++ on real speech that is quiet, padded with silence, or not speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sounds import NOT_SPEECH, RATE

from vprtrain import Predictor
from vprtrain.conversion import convert
from vprtrain.data.audio import read_audio
from vprtrain.data.audio.reading import AudioError
from vprtrain.data.vad.silero import is_installed

pytestmark = pytest.mark.slow
Opened = Callable[..., Predictor]


@pytest.fixture(scope="module")
def open_predictor(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    weights = test_data / "pretrained" / "campplus_cn_en_common.pt"
    if not weights.exists():
        pytest.skip(f"no published model at {weights}")
    folder = tmp_path_factory.mktemp("published")
    convert("3dspeaker", weights, folder / "model")

    def opened(**options) -> Predictor:
        return Predictor(folder / "model", folder / "voiceprints.db", **options)

    return opened


@pytest.fixture(scope="module")
def speech(test_data: Path) -> np.ndarray:
    return read_audio(sorted((test_data / "dev_pack" / "librispeech").rglob("*.flac"))[0])


def test_the_level_changes_a_score_unless_it_is_normalised(
    open_predictor: Opened, speech: np.ndarray
) -> None:
    quiet = speech * np.float32(0.01)
    assert open_predictor().contrast((speech, RATE), (quiet, RATE)) < 0.95
    normalised = open_predictor(level_norm=True)
    assert normalised.contrast((speech, RATE), (quiet, RATE)) > 0.999
    ordinary = open_predictor().embed((speech, RATE))
    scaled = normalised.embed((speech, RATE))
    assert ordinary @ scaled / np.linalg.norm(ordinary) / np.linalg.norm(scaled) > 0.99


def test_silence_at_the_end_changes_a_score_unless_it_is_left_out(
    open_predictor: Opened, speech: np.ndarray
) -> None:
    padded = np.concatenate([speech, np.zeros(30 * RATE, np.float32)])
    assert open_predictor().contrast((speech, RATE), (padded, RATE)) < 0.8
    for vad, least in {"energy": 0.94, **({"silero": 0.98} if is_installed() else {})}.items():
        assert open_predictor(vad=vad).contrast((speech, RATE), (padded, RATE)) > least


@pytest.mark.skipif(not is_installed(), reason="Silero VAD is not installed")
def test_what_is_not_speech_is_nobody(open_predictor: Opened, speech: np.ndarray) -> None:
    predictor = open_predictor(vad="silero")
    predictor.register((speech, RATE), "Ann")
    for sound in NOT_SPEECH.values():
        with pytest.raises(AudioError, match=r"0.00 s of speech"):
            predictor.recognize((sound, RATE), threshold=0.3)
    assert predictor.recognize((speech, RATE), threshold=0.3)[0] == "Ann"


def test_many_recordings_have_the_embeddings_of_each_alone(
    open_predictor: Opened, test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several data sets, so of several lengths."""
    files = sorted((test_data / "dev_pack").rglob("*.flac"))[::100]
    predictor = open_predictor()
    expected = {str(path): predictor.embed(path) for path in files}
    found = dict(predictor.embed_each({str(path): path for path in files}))
    assert list(found) == list(expected) and len(found) >= 20
    difference = max(np.abs(found[name] - expected[name]).max() for name in expected)
    with capsys.disabled():
        print(f"\n{len(found)} recordings: embeddings differ by at most {difference:.1e}")
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-5, rtol=1e-5)
