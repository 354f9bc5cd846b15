"""Every file of bad_audio through ``vprtrain contrast`` and the predictor: the right answer, or one
clear line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from bad_recordings import DAMAGED, NEARLY_SILENT, UNUSABLE, bad_audio_files
from small_checkpoint import write_checkpoint

from vprtrain import Predictor
from vprtrain.__main__ import main
from vprtrain.commands import program
from vprtrain.data.audio.reading import AudioError

REFUSED = UNUSABLE | {NEARLY_SILENT}
DOUBTED = DAMAGED | {"eight_channels.wav", "long_10min_8kbps.mp3"}
"""A warning is logged; the first of the others is quiet, and the second is cut."""
NO_FILES = {"directory.wav", "dangling.wav", "missing.wav"}


@pytest.fixture(scope="module")
def folder(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, and those that a data set cannot hold."""
    folder = tmp_path_factory.mktemp("bad_audio")
    for path in bad_audio_files(test_data):
        (folder / path.name).symlink_to(path)
    (folder / "directory.wav").mkdir()
    (folder / "dangling.wav").symlink_to(folder / "nothing")
    (folder / ("n" * 200 + ".wav")).symlink_to(test_data / "bad_audio" / "ok_reference.wav")
    return folder


@pytest.fixture(scope="module")
def names(folder: Path) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} | {"missing.wav"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "epoch_1", threshold=0.5)


def test_contrast_answers_or_says_one_line(
    folder: Path, names: list[str], checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(names) > 60
    for name in names:
        arguments = [
            "contrast",
            str(folder / "ok_reference.wav"),
            str(folder / name),
            f"--checkpoint={checkpoint}",
        ]
        status = program.status(main, [*arguments, "--json"])
        out, error = capsys.readouterr()
        if name in REFUSED | NO_FILES:
            assert (status, json.loads(out)["kind"]) == (1, "audio"), name
            assert json.loads(out)["error"].startswith(f"{folder / name}: "), out
            assert error.startswith(f"error: {folder / name}: ") and error.count("\n") == 1, error
        else:
            assert status == 0, (name, error)
            assert error.count("\n") == (name in DOUBTED), (name, error)
            answer = json.loads(out)
            assert -1 <= answer["score"] <= 1, name
            assert answer["same_speaker"] is (answer["score"] >= 0.5), name


def test_the_predictor_answers_alike_for_paths_bytes_and_open_files(
    folder: Path, names: list[str], checkpoint: Path
) -> None:
    predictor = Predictor(checkpoint)
    for name in names:
        path = folder / name
        try:
            embedding = predictor.embed(path)
        except AudioError as error:
            assert "\n" not in str(error), name
            embedding = None
        assert (embedding is None) == (name in REFUSED | NO_FILES), name
        assert embedding is None or np.isfinite(embedding).all(), name
        if not path.is_file():
            continue
        for audio in (path.read_bytes(), io.BytesIO(path.read_bytes())):
            if embedding is None:
                with pytest.raises(AudioError):
                    predictor.embed(audio)
            else:
                np.testing.assert_array_equal(predictor.embed(audio), embedding, err_msg=name)


def test_nobody_is_enrolled_with_a_bad_file(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    predictor = Predictor(checkpoint, tmp_path / "voiceprints.db")
    for name in sorted(REFUSED):
        with pytest.raises(AudioError):
            predictor.register(folder / name, name)
    assert predictor.get_users() == []
    predictor.register(folder / "ok_reference.wav", "the speaker")
    # The same recording in other formats, without loss.
    for name in (
        "wav_named.flac",
        "no_extension",
        "pcm_24.wav",
        "pcm_32.wav",
        "UPPER.WAV",
        "wrong_length_ffffffff.wav",
    ):
        assert predictor.recognize(folder / name, threshold=0.99)[0] == "the speaker", name
