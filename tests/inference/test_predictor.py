"""The seven methods of the Predictor, called as in an application."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import UsageError

RATE = 16000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("predictor") / "epoch_1", threshold=0.9)


@pytest.fixture
def predictor(checkpoint: Path, tmp_path: Path) -> Iterator[Predictor]:
    opened = Predictor(checkpoint, tmp_path / "voiceprints.db")
    yield opened
    opened.close()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_embedding_and_contrast(predictor: Predictor, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(0), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    embedding = predictor.embed(tmp_path / "a.wav")
    assert embedding.shape == (16,) and embedding.dtype == np.float32
    np.testing.assert_array_equal(predictor.embed(content), embedding)
    np.testing.assert_array_equal(predictor.embed(io.BytesIO(content)), embedding)
    np.testing.assert_array_equal(
        predictor.embed(soundfile.read(tmp_path / "a.wav", dtype="int16")), embedding
    )
    other = predictor.embed((voice(1), RATE))
    score = predictor.contrast(tmp_path / "a.wav", (voice(1), RATE))
    assert isinstance(score, float) and score == pytest.approx(cosine(embedding, other), abs=1e-6)
    assert predictor.contrast(content, content) == pytest.approx(1, abs=1e-6)


def test_a_batch_answers_as_single_calls_do(predictor: Predictor) -> None:
    audios = [(voice(number, seconds=0.6 + 0.3 * number), RATE) for number in range(5)]
    alone = np.stack([predictor.embed(audio) for audio in audios])
    np.testing.assert_allclose(predictor.embed_batch(audios), alone, rtol=1e-5, atol=1e-5)
    assert predictor.embed_batch([]).shape == (0, 16)


def test_a_batch_holds_two_minutes_in_memory_at_the_most(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    embed = predictor._extractor.embed

    def watched(waveforms: list[np.ndarray]) -> np.ndarray:
        sizes.append(len(waveforms) * max(map(len, waveforms)) / RATE)
        return embed(waveforms)

    monkeypatch.setattr(predictor._extractor, "embed", watched)
    seconds = [50, 50, 50, 119, 1, 1, 1, 59]
    noise = np.random.default_rng(0).standard_normal(120 * RATE).astype("float32") * 0.1
    found = predictor.embed_batch((noise[: length * RATE], RATE) for length in seconds)
    assert len(found) == len(seconds) and sizes == [3, 100, 118, 119]


def test_only_the_beginning_of_a_long_recording_counts(checkpoint: Path) -> None:
    short = Predictor(checkpoint, max_seconds=0.5)
    np.testing.assert_array_equal(
        short.embed((voice(0), RATE)), short.embed((voice(0)[: RATE // 2], RATE))
    )
    for seconds in (0.4, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="max_seconds"):
            Predictor(checkpoint, max_seconds=seconds)


def test_enrol_recognise_list_and_remove(predictor: Predictor) -> None:
    assert predictor.get_users() == []
    assert predictor.recognize((voice(0), RATE)) == (None, -1.0)
    assert predictor.register((voice(0), RATE), "Zoë") == 1
    assert predictor.register((voice(0, take=1), RATE), "Zoë") == 2
    assert predictor.register((voice(1), RATE), "../..") == 1
    assert predictor.get_users() == ["../..", "Zoë"]
    assert predictor.recognize((voice(1), RATE))[0] == "../.."
    name, score = predictor.recognize((voice(0), RATE), threshold=0.0)
    assert name == "Zoë"
    units = [
        each / np.linalg.norm(each)
        for each in (predictor.embed((voice(0, take), RATE)) for take in (0, 1))
    ]
    assert score == pytest.approx(cosine(np.mean(units, axis=0), units[0]), abs=1e-6)
    assert predictor.remove_user("Zoë") is True and predictor.remove_user("Zoë") is False
    assert predictor.get_users() == ["../.."]


def test_the_threshold_decides_and_zero_is_one(predictor: Predictor) -> None:
    predictor.register((voice(0), RATE), "Ann")
    name, score = predictor.recognize((voice(1), RATE), threshold=-1.0)
    assert name == "Ann" and -1 <= score < 1
    assert predictor.recognize((voice(1), RATE), threshold=score) == ("Ann", score)
    assert predictor.recognize((voice(1), RATE), threshold=np.nextafter(score, 2)) == (None, score)
    predictor.remove_user("Ann")
    predictor.voiceprints.add("Opposite", -predictor.embed((voice(0), RATE)))
    name, score = predictor.recognize((voice(0), RATE), threshold=0.0)
    assert name is None and score == pytest.approx(-1, abs=1e-6)  # a cosine has a sign


def test_the_checkpoints_threshold_is_the_default(predictor: Predictor, tmp_path: Path) -> None:
    assert predictor.threshold == 0.9
    unvalidated = Predictor(
        write_checkpoint(tmp_path / "epoch_1", threshold=None), tmp_path / "other.db"
    )
    unvalidated.register((voice(0), RATE), "Ann")
    with pytest.raises(UsageError, match="unknown, because it was never validated: estimate it"):
        unvalidated.recognize((voice(0), RATE))
    assert unvalidated.recognize((voice(0), RATE), threshold=0.5)[0] == "Ann"


def test_another_models_database_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "epoch_1", seed=1)
    with pytest.raises(UsageError, match="another model"):
        Predictor(other, tmp_path / "voiceprints.db")


def test_without_a_database_there_is_nobody_to_recognise(checkpoint: Path) -> None:
    predictor = Predictor(checkpoint)
    calls = (
        lambda: predictor.register((voice(0), RATE), "Ann"),
        lambda: predictor.recognize((voice(0), RATE)),
        predictor.get_users,
        lambda: predictor.remove_user("Ann"),
    )
    for call in calls:
        with pytest.raises(UsageError, match="no database of voiceprints"):
            call()


def test_what_is_refused_says_which(predictor: Predictor) -> None:
    silence = (np.zeros(RATE, "int16"), RATE)
    with pytest.raises(AudioError, match="the second audio: silent"):
        predictor.contrast((voice(0), RATE), silence)
    with pytest.raises(AudioError, match="audio 3: silent"):
        predictor.embed_batch([(voice(0), RATE), (voice(1), RATE), silence])
    with pytest.raises(AudioError, match="the audio: too short"):
        predictor.register((voice(0)[:7000], RATE), "Ann")
    with pytest.raises(UsageError, match="name"):
        predictor.register((voice(0), RATE), "A\nnn")
    assert predictor.get_users() == []


def test_threads_share_a_predictor(predictor: Predictor) -> None:
    audios = [(voice(number, seconds=0.6 + 0.1 * number), RATE) for number in range(6)]
    alone = [predictor.embed(audio) for audio in audios]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(4):
                np.testing.assert_allclose(
                    predictor.embed(audios[number]), alone[number], rtol=1e-5, atol=1e-5
                )
                assert predictor.register(audios[number], f"user {number}") == turn + 1
                name, score = predictor.recognize(audios[number])
                assert name == f"user {number}" and score > 0.999
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(audios))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert predictor.voiceprints.users() == {f"user {number}": 4 for number in range(len(audios))}


def test_gradients_are_off_in_every_thread_and_left_as_they_were(predictor: Predictor) -> None:
    import paddle

    results = []
    thread = threading.Thread(target=lambda: results.append(predictor.embed((voice(0), RATE))))
    thread.start()
    thread.join()
    assert results and paddle.is_grad_enabled()


def test_the_class_is_there_without_paddle_and_sets_it_up_before_it_is_loaded(
    checkpoint: Path,
) -> None:
    script = (
        "import os, sys\n"
        "from vprtrain import Predictor\n"
        "assert 'paddle' not in sys.modules\n"
        f"predictor = Predictor({str(checkpoint)!r})\n"
        "assert 'paddle' in sys.modules and os.environ['OMP_NUM_THREADS'] == '1'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_least_speech_is_an_option_and_enrolment_should_have_more(
    predictor: Predictor, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = (voice(0, seconds=0.7), RATE)
    predictor.recognize(short)
    assert not caplog.messages
    predictor.register(short, "Ann")
    assert caplog.messages == ["the audio: only 0.70 s of speech; 1 s are better"]
    with pytest.raises(AudioError, match=r"0.70 s; expected at least 2 s"):
        Predictor(checkpoint, min_speech=2.0).embed(short)
    assert Predictor(checkpoint, min_speech=0.1).embed((short[0][:3200], RATE)).shape == (16,)
    for seconds in (-1, 121, float("nan")):
        with pytest.raises(UsageError, match="min_speech is"):
            Predictor(checkpoint, min_speech=seconds)


def test_a_detector_of_ones_own_and_a_channel(checkpoint: Path, predictor: Predictor) -> None:
    channels = np.stack([voice(1, seconds=2.0), voice(0, seconds=2.0)], axis=1)
    own = Predictor(checkpoint, channel=1, vad=lambda waveform, rate: [(0.5, 1.5)])
    expected = predictor.embed((channels[RATE // 2 : 3 * RATE // 2, 1], RATE))
    np.testing.assert_array_equal(own.embed((channels, RATE)), expected)
    with pytest.raises(UsageError, match="vad is 'loud'"):
        Predictor(checkpoint, vad="loud")
    with pytest.raises(UsageError, match="channel is"):
        Predictor(checkpoint, channel=-1)
