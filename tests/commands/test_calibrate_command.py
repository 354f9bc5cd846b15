"""``vprtrain calibrate``: a threshold from recordings of one's own, in a new checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.__main__ import main
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.commands import program
from vprtrain.scoring import Calibration, compute_eer
from vprtrain.scoring.thresholds import at_threshold, operating_points

SPEAKERS, TAKES = 6, 4


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each speaker, with recordings in a subfolder, and one that is silent."""
    folder = tmp_path_factory.mktemp("speakers")
    for speaker in range(SPEAKERS):
        for take in range(TAKES):
            path = folder / f"speaker {speaker}" / "takes" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(speaker, take), 16000)
    soundfile.write(folder / "speaker 0" / "silent.wav", np.zeros(16000, "float32"), 16000)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp("model") / "epoch_1", threshold=None, averaged=True
    )


def calibrate(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert program.status(main, ["calibrate", "--json", *map(str, arguments)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def scores_of(speakers: Path, checkpoint: Path) -> tuple[np.ndarray, np.ndarray]:
    """The cosines of all pairs of recordings, and whether each is of one speaker."""
    predictor = Predictor(checkpoint)
    paths = [
        (speaker, speakers / f"speaker {speaker}" / "takes" / f"{take}.wav")
        for speaker in range(SPEAKERS)
        for take in range(TAKES)
    ]
    units = [predictor.embed(path) for _, path in paths]
    units = [unit / np.linalg.norm(unit) for unit in units]
    pairs = [(i, j) for i in range(len(paths)) for j in range(i)]
    scores = np.array([float(units[i] @ units[j]) for i, j in pairs])
    return scores, np.array([paths[i][0] == paths[j][0] for i, j in pairs])


def test_the_threshold_of_a_folder(
    speakers: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    out = tmp_path / "out"
    found = calibrate(capsys, f"--checkpoint={checkpoint}", f"--from={speakers}", f"--out={out}")
    scores, targets = scores_of(speakers, checkpoint)
    eer, threshold = compute_eer(scores, targets)
    assert found["eer"] == pytest.approx(eer, abs=1e-6)
    assert found["threshold"] == pytest.approx(threshold, abs=1e-5) and eer > 0
    at = at_threshold(operating_points(scores, targets), found["threshold"])
    assert found["false_accept_rate"] == pytest.approx(at.false_accept_rate, abs=0.01)
    assert found["miss_rate"] == pytest.approx(at.miss_rate, abs=0.04)
    counts = {name: found[name] for name in ("speakers", "recordings", "target_trials")}
    assert counts == {"speakers": 6, "recordings": 24, "target_trials": 36}
    assert found["nontarget_trials"] == 240 and len(found["refused"]) == 1
    assert found["path"] == str(out)

    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    saved = open_checkpoint(out)
    assert saved.state.metrics == {name: found[name] for name in ("eer", "min_dcf", "threshold")}
    assert saved.state.extra["calibrated_on"]["speakers"] == 6
    calibration = Calibration(**saved.state.extra["calibration"])
    llr = calibration.apply({"score": np.array([-1.0, 1.0])})
    assert llr[0] < 0 < llr[1]
    assert Predictor(out).threshold == found["threshold"]


def test_the_new_checkpoint_knows_the_same_voices(
    speakers: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exported model is calibrated too, and stays the model of the voiceprints."""
    recording = speakers / "speaker 1" / "takes" / "0.wav"
    Predictor(checkpoint, tmp_path / "people.db").register(recording, "Ann")
    exported, out = tmp_path / "exported", tmp_path / "out"
    status = ["export", f"--checkpoint={checkpoint}", f"--out={exported}", "--format=paddle"]
    assert program.status(main, status) == 0
    found = calibrate(capsys, f"--checkpoint={exported}", f"--from={speakers}", f"--out={out}")
    predictor = Predictor(out, tmp_path / "people.db")
    assert predictor.recognize(recording)[0] == "Ann"
    assert predictor.threshold == found["threshold"]


def test_a_threshold_is_used_as_it_was_found_or_a_warning_says_so(
    speakers: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    given = (f"--checkpoint={checkpoint}", f"--from={speakers}", f"--out={out}")
    found = calibrate(capsys, *given, "--vad=energy")
    assert open_checkpoint(out).state.extra["calibrated_on"]["vad"] == "energy"
    same, other = Predictor(out, vad="energy"), Predictor(out, level_norm=True)
    assert same.threshold == other.threshold == other.threshold == found["threshold"]
    said = capsys.readouterr().err
    assert said.count("the threshold of this model was found with") == 1
    assert "was found with --vad energy, but is used with --level_norm" in said

    validated = Predictor(write_checkpoint(tmp_path / "validated", threshold=0.5), vad="energy")
    assert validated.threshold == 0.5
    said = capsys.readouterr().err
    assert "was found with neither --vad nor --level_norm, but is used with --vad energy" in said
    assert Predictor(tmp_path / "validated").threshold == 0.5 and not capsys.readouterr().err


def test_the_threshold_of_a_trial_list(
    speakers: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [f"{speaker}-{take}" for speaker in range(SPEAKERS) for take in range(TAKES)]
    lines = [
        f"{first} {second} {int(first[0] == second[0])}\n"
        for place, first in enumerate(ids)
        for second in ids[:place]
    ]
    (tmp_path / "trials.txt").write_text("".join(lines))
    manifest = [f"{each}\t{speakers}/speaker {each[0]}/takes/{each[2]}.wav\n" for each in ids]
    (tmp_path / "eval.tsv").write_text("".join(manifest))
    lists = (f"--trials={tmp_path / 'trials.txt'}", f"--manifest={tmp_path / 'eval.tsv'}")
    model = f"--checkpoint={checkpoint}"
    listed = calibrate(capsys, model, *lists, f"--out={tmp_path / 'a'}")
    folder = calibrate(capsys, model, f"--from={speakers}", f"--out={tmp_path / 'b'}")
    same = ("threshold", "eer", "speakers", "recordings", "target_trials", "nontarget_trials")
    assert {name: listed[name] for name in same} == {name: folder[name] for name in same}

    at = calibrate(capsys, model, *lists, "--fa_rate=0.05", f"--out={tmp_path / 'c'}")
    assert at["false_accept_rate"] <= 0.05 and at["threshold"] > listed["threshold"]
    (tmp_path / "eval.tsv").write_text("".join(manifest[1:]))
    words = refusal(capsys, model, *lists, f"--out={tmp_path / 'd'}")
    assert "has no line for 1 ids" in words and not (tmp_path / "d").exists()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert program.status(main, ["calibrate", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert said.out == ""
    return line


def test_too_little_is_refused(
    speakers: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "speaker 0").symlink_to(speakers / "speaker 0")
    (few / "speaker 1").symlink_to(speakers / "speaker 1")
    options = (f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}")
    words = refusal(capsys, *options, f"--from={few}")
    assert "found 2 speakers with two usable recordings or more, 12 target and 16 " in words
    assert "expected at least 5, 20 and 100, for example 5 speakers with 4 recordings" in words
    words = refusal(capsys, *options, f"--from={speakers}", "--fa_rate=0.001")
    assert "found 240 non-target trials, expected at least 10000" in words
    (tmp_path / "empty").mkdir()
    assert "has no folders in it" in refusal(capsys, *options, f"--from={tmp_path / 'empty'}")
    assert "is not a folder" in refusal(capsys, *options, "--from=nowhere")
    assert "expected either --from, or" in refusal(capsys, *options)
    assert "expected either" in refusal(capsys, *options, "--from=x", "--trials=y")
    assert "expected either" in refusal(capsys, *options, "--manifest=x")
    assert not (tmp_path / "out").exists()
    taken = (f"--checkpoint={checkpoint}", f"--out={checkpoint}", f"--from={speakers}")
    assert "exists already" in refusal(capsys, *taken)


def test_a_model_without_a_threshold_gives_the_score_only(
    speakers: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (str(speakers / "speaker 2" / "takes" / f"{take}.wav") for take in (0, 1))
    arguments = [first, second, f"--checkpoint={checkpoint}"]
    score = Predictor(checkpoint).contrast(first, second)
    assert program.status(main, ["contrast", *arguments, "--json"]) == 0
    expected = {
        "score": score,
        "same_speaker": None,
        "threshold": None,
        "runtime": f"paddle {paddle.__version__}",
    }
    assert json.loads(capsys.readouterr().out) == expected
    assert program.status(main, ["contrast", *arguments]) == 0
    assert capsys.readouterr().out.startswith(f"score {score:.4f}; the threshold of this model is ")


def test_a_model_of_synthetic_voices_says_so(
    speakers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "epoch_1", synthetic=True)
    recording = str(speakers / "speaker 2" / "takes" / "0.wav")
    assert program.status(main, ["embed", recording, f"--checkpoint={checkpoint}", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["embedding"]
    assert said.err.startswith("warning: this model was trained on synthetic voices")
