"""A back end from ``vprtrain calibrate``, and every command that uses it."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.__main__ import main
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.commands import program
from vprtrain.errors import UsageError
from vprtrain.features import Fbank
from vprtrain.models import TDNN
from vprtrain.serving import Recognizer

OTHERS = range(10, 18)
"""The speakers of the cohort"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``my_speakers/``, ``cohort.tsv``, a manifest and trials of the former, and a checkpoint.

    The recordings of a speaker begin alike, so that an untrained network is better than chance.
    """
    folder = tmp_path_factory.mktemp("data")

    def write(speaker: int, take: int) -> Path:
        path = folder / "my_speakers" / str(speaker) / f"{take}.wav"
        if speaker in OTHERS:
            path = folder / "others" / f"{speaker}-{take}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        spoken = voice(speaker, seconds=2.4)[: 19200 + 4800 * take]
        noise = np.random.default_rng(take).normal(scale=0.01, size=len(spoken))
        soundfile.write(path, spoken + noise, 16000)
        return path

    own = [(speaker, write(speaker, take)) for speaker in range(6) for take in range(4)]
    lines = [f"{write(speaker, take)}\t{speaker}\n" for speaker in OTHERS for take in range(2)]
    (folder / "cohort.tsv").write_text("".join(lines))
    ids = [f"{speaker}-{path.stem}" for speaker, path in own]
    manifest = [f"{key}\t{path}\n" for key, (_, path) in zip(ids, own, strict=True)]
    (folder / "eval.tsv").write_text("".join(manifest))
    trials = [f"{a} {b} {int(a[0] == b[0])}\n" for a in ids for b in ids if a < b]
    (folder / "trials.txt").write_text("".join(trials))
    write_checkpoint(
        folder / "plain",
        threshold=None,
        model=TDNN(input_size=80, channels=8, pooled_channels=16, embedding_dim=16),
        feature=Fbank(n_mels=80, mean_norm=True, f_max=7600.0),
    )
    return folder


def call(*arguments: object) -> dict[str, Any]:
    """The JSON object that a command prints."""
    with redirect_stdout(io.StringIO()) as said:
        assert program.status(main, [*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


@pytest.fixture(scope="module")
def calibrated(folder: Path) -> tuple[Path, dict[str, Any]]:
    out = folder / "as_norm"
    found = call(
        *("calibrate", f"--checkpoint={folder / 'plain'}", f"--from={folder / 'my_speakers'}"),
        *("--backend=as-norm", f"--cohort={folder / 'cohort.tsv'}", "--top=4"),
        *("--quality=[duration]", f"--out={out}"),
    )
    return out, found


def test_calibrate_writes_a_back_end_that_people_can_read(
    calibrated: tuple[Path, dict[str, Any]], folder: Path
) -> None:
    out, found = calibrated
    state = json.loads((out / "model.state").read_text())
    assert state["backend"]["kind"] == "as-norm"
    assert (state["backend"]["top"], state["backend"]["cohort"]) == (4, len(OTHERS))
    assert list(state["backend"]["quality"]["weights"]) == ["score", "duration_min"]
    assert state["threshold"] == found["threshold"] and "backend.npz" in state["files"]
    assert state["calibrated_on"]["backend"] == found["backend"]
    assert found["backend"] == "as-norm (top 4 of 8 speakers), calibrated with duration_min"
    assert (
        state["files"]["model.pdparams"]
        == open_checkpoint(folder / "plain").state.files["model.pdparams"]
    )


def test_contrast_identify_and_validate_use_it_and_so_does_an_export(
    calibrated: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    out, found = calibrated
    pair = [folder / "my_speakers" / "1" / f"{take}.wav" for take in (0, 3)]
    model = f"--checkpoint={out}"
    predictor = Predictor(out)
    score = predictor.matcher.score(*map(predictor.voice, pair), ("a", "b"))
    contrasted = call("contrast", *pair, model)
    assert contrasted["score"] == pytest.approx(score, abs=1e-3)  # of another runtime, perhaps
    assert contrasted["threshold"] == found["threshold"]
    assert contrasted["same_speaker"] is (contrasted["score"] >= found["threshold"])
    people = f"--voiceprints={tmp_path / 'people.db'}"
    for user in ("1", "2"):
        call("enroll", f"user {user}", folder / "my_speakers" / user / "0.wav", model, people)
    identified = call("identify", pair[1], model, people, "--threshold=-90")
    assert identified["user"] in ("user 1", "user 2")
    expected = Predictor(out, tmp_path / "people.db").recognize(pair[1], threshold=-90)
    assert identified["user"] == expected[0]
    assert identified["score"] == pytest.approx(expected[1], abs=1e-3)

    lists = (
        f"--data.trials={folder / 'trials.txt'}",
        f"--data.eval_manifest={folder / 'eval.tsv'}",
    )
    validated = call("validate", model, *lists, f"--out={tmp_path / 'report'}")
    assert validated["backend"] == "as-norm, calibrated"
    assert validated["threshold"] == pytest.approx(found["threshold"], abs=1e-3)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert list(report["results"]) == ["cosine, the checkpoint's back end", "cosine"]
    plain = call(
        "validate", f"--checkpoint={folder / 'plain'}", *lists, f"--out={tmp_path / 'plain'}"
    )
    assert plain["backend"] == "cosine"
    assert report["results"]["cosine"]["eer"] == plain["eer"]

    exported = tmp_path / "exported"
    call("export", model, f"--out={exported}", "--format=paddle")
    again = call("contrast", *pair, f"--checkpoint={exported}")
    assert again["score"] == pytest.approx(score, abs=1e-3)
    assert again["threshold"] == found["threshold"]


def test_a_client_that_knows_cosines_only_is_refused(
    calibrated: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = ["export", f"--checkpoint={calibrated[0]}", f"--out={tmp_path / 'x'}"]
    assert program.status(main, [*status, "--for=wespeaker"]) == 2
    said = capsys.readouterr().err
    assert "wespeaker compares embeddings by cosines" in said and "--backend cosine" in said
    assert not (tmp_path / "x").exists()


def test_a_back_end_stays_until_another_is_asked_for(
    calibrated: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    out, found = calibrated
    given = (f"--checkpoint={out}", f"--from={folder / 'my_speakers'}")
    kept = call("calibrate", *given, "--fa_rate=0.1", f"--out={tmp_path / 'kept'}")
    assert kept["backend"] == found["backend"] and kept["threshold"] != found["threshold"]
    plain = call("calibrate", *given, "--backend=cosine", f"--out={tmp_path / 'cosine'}")
    assert plain["backend"] == "cosine" and not (tmp_path / "cosine" / "backend.npz").exists()
    plda = call(
        *("calibrate", *given, "--backend=plda", f"--cohort={folder / 'cohort.tsv'}"),
        *("--lda_dim=5", f"--out={tmp_path / 'plda'}"),
    )
    assert plda["backend"] == "plda"
    assert Predictor(tmp_path / "plda").matcher.backend.plda is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backend=as-norm"], "need --cohort"),
        (["--cohort=cohort.tsv"], "need --cohort"),
        (["--quality=[cohort]"], "needs a cohort"),
        (["--top=1"], "--top is 1"),
        (["--backend=plda", "--cohort=nowhere.tsv"], "no such file"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    options: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [f"--checkpoint={folder / 'plain'}", f"--from={folder / 'my_speakers'}"]
    status = program.status(main, ["calibrate", *given, f"--out={tmp_path / 'x'}", *options])
    words = capsys.readouterr().err
    assert status == 2 and said in words and not (tmp_path / "x").exists()


def test_a_cohort_with_recordings_of_the_threshold_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = tmp_path / "cohort.tsv"
    shared = folder / "my_speakers" / "1" / ".." / "2" / "0.wav"
    cohort.write_text((folder / "cohort.tsv").read_text() + f"{shared}\tanother name\n")
    given = [f"--checkpoint={folder / 'plain'}", f"--from={folder / 'my_speakers'}"]
    given += ["--backend=as-norm", f"--cohort={cohort}", f"--out={tmp_path / 'x'}"]
    assert program.status(main, ["calibrate", *given]) == 2
    said = capsys.readouterr().err
    assert "has 1 of the recordings that the threshold is estimated from" in said
    assert not (tmp_path / "x").exists()


def test_a_service_takes_a_threshold_in_the_scale_of_its_back_end(
    calibrated: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    people = tmp_path / "people.db"
    with closing(Recognizer(calibrated[0], people, threshold=3.5)) as recognizer:
        assert recognizer.threshold == 3.5
    with pytest.raises(UsageError, match=r"threshold is 3\.5: expected -1 to 1"):
        Recognizer(folder / "plain", people, threshold=3.5)


def test_a_damaged_back_end_is_refused_in_one_line(
    calibrated: tuple[Path, dict[str, Any]],
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(calibrated[0], out)
    path = out / "backend.npz"
    path.write_bytes(path.read_bytes()[:-9])
    pair = [str(folder / "my_speakers" / "1" / f"{take}.wav") for take in (0, 1)]
    assert program.status(main, ["contrast", *pair, f"--checkpoint={out}"]) == 1
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "error" in each]
    assert "backend.npz is not what was saved" in line
