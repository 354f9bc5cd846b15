"""The enrolment of a folder of users in ppvector's layout."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.errors import UsageError
from vprtrain.inference.folder_enrolment import enroll_folder


@pytest.fixture
def predictor(tmp_path: Path) -> Iterator[Predictor]:
    opened = Predictor(write_checkpoint(tmp_path / "epoch_1"), tmp_path / "voiceprints.db")
    yield opened
    opened.close()


@pytest.fixture
def audio_db(tmp_path: Path) -> Path:
    """ppvector's layout: a folder for each user with 0.wav, 1.wav .., and an index, a pickle."""
    folder = tmp_path / "audio_db"
    for number, user in enumerate(("张三", "Ann", "Zoë Müller")):
        (folder / user).mkdir(parents=True)
        for take in range(number + 1):
            soundfile.write(folder / user / f"{take}.wav", voice(number, take), 16000)
    (folder / "audio_indexes.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")
    return folder


def test_every_folder_is_a_user(predictor: Predictor, audio_db: Path) -> None:
    found = enroll_folder(predictor, audio_db)
    assert found.enrolled == {"张三": 1, "Ann": 2, "Zoë Müller": 3} == predictor.voiceprints.users()
    assert not found.known and not found.refused
    assert predictor.recognize((voice(0), 16000), threshold=0.9)[0] == "张三"


def test_it_goes_on_where_it_was_interrupted(predictor: Predictor, audio_db: Path) -> None:
    predictor.register((voice(1), 16000), "Ann")
    found = enroll_folder(predictor, audio_db)
    assert found.known == ["Ann"] and found.enrolled.keys() == {"张三", "Zoë Müller"}
    assert predictor.voiceprints.users()["Ann"] == 1
    assert enroll_folder(predictor, audio_db).enrolled == {}


def test_what_cannot_be_used_is_named_and_left_out(predictor: Predictor, audio_db: Path) -> None:
    (audio_db / "Ann" / "notes.txt").write_text("Ann's telephone number")
    (audio_db / "Ann" / ".DS_Store").write_text("x")
    (audio_db / "Ann" / "more").mkdir()
    shutil.copy(audio_db / "Ann" / "0.wav", audio_db / "eve")
    (audio_db / "nobody").mkdir()
    (audio_db / "a\nb").mkdir()
    found = enroll_folder(predictor, audio_db)
    assert found.enrolled["Ann"] == 2
    assert found.refused.keys() == {
        str(audio_db / name) for name in ("Ann/notes.txt", "Ann/more", "eve", "nobody", "a\nb")
    }
    assert "cannot be decoded" in found.refused[str(audio_db / "Ann" / "notes.txt")]


def test_recordings_are_embedded_together_and_short_ones_are_warned_of(
    predictor: Predictor,
    audio_db: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sizes: list[int] = []
    embed = predictor._extractor.embed

    def watched(waveforms: list[np.ndarray]) -> np.ndarray:
        sizes.append(len(waveforms))
        return embed(waveforms)

    monkeypatch.setattr(predictor._extractor, "embed", watched)
    soundfile.write(audio_db / "Ann" / "short.wav", voice(1, 3, seconds=0.8), 16000)
    enroll_folder(predictor, audio_db, purpose="door")
    assert sizes == [7]
    assert "short.wav: only 0.80 s of speech" in caplog.text
    alone = predictor.embed(audio_db / "张三" / "0.wav")
    (stored,) = predictor.voiceprints.export("张三")["recordings"]
    np.testing.assert_allclose(stored["embedding"], alone, rtol=1e-5, atol=1e-5)
    assert stored["purpose"] == "door"


def test_a_folder_without_users_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no folders"):
        enroll_folder(predictor, tmp_path / "empty")
    with pytest.raises(UsageError, match="is not a folder"):
        enroll_folder(predictor, tmp_path / "epoch_1" / "model.state")
