"""``vprtrain contrast``, ``embed``, ``enroll``, ``identify``, ``users`` and ``remove``, as a shell
calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import paddle
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.commands import program
from vprtrain.commands.main import COMMANDS, main
from vprtrain.commands.options import Detector, name_detector
from vprtrain.data.vad.detectors import BEST, DETECTORS


class Answer(NamedTuple):
    status: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        """The one JSON object that is all of standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Vprtrain = Callable[..., Answer]
RUNTIME = f"paddle {paddle.__version__}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("commands") / "epoch_1", threshold=0.999)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Recordings of the speakers a and b, two each, and one that is silent."""
    folder = tmp_path_factory.mktemp("audio")
    samples = {
        f"{name}{take}": voice(number, take)
        for number, name in enumerate("ab")
        for take in range(2)
    }
    samples["silent"] = np.zeros(16000, "float32")
    for name, waveform in samples.items():
        soundfile.write(folder / f"{name}.wav", waveform, 16000)
    return {name: str(folder / f"{name}.wav") for name in samples}


@pytest.fixture
def vprtrain(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Vprtrain:
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        status = program.status(main, list(arguments))
        return Answer(status, *capsys.readouterr())

    return run


def test_contrast(vprtrain: Vprtrain, checkpoint: Path, audio: dict[str, str]) -> None:
    score = Predictor(checkpoint).contrast(audio["a0"], audio["b0"])
    options = (f"--checkpoint={checkpoint}", "--json")
    assert vprtrain("contrast", audio["a0"], audio["b0"], *options).json == {
        "score": score,
        "same_speaker": False,
        "threshold": 0.999,
        "runtime": RUNTIME,
    }
    found = vprtrain("contrast", audio["a0"], audio["b0"], *options, f"--threshold={score!r}").json
    assert found["same_speaker"] is True and found["threshold"] == score
    answer = vprtrain("contrast", audio["a0"], audio["b0"], f"--checkpoint={checkpoint}")
    assert answer == (0, f"different speakers: score {score:.4f}, threshold 0.9990\n", "")


def test_embed(vprtrain: Vprtrain, checkpoint: Path, audio: dict[str, str]) -> None:
    expected = Predictor(checkpoint).embed(audio["a0"])
    found = vprtrain("embed", audio["a0"], f"--checkpoint={checkpoint}", "--json").json
    np.testing.assert_array_equal(np.array(found["embedding"], "float32"), expected)
    words = vprtrain("embed", audio["a0"], f"--checkpoint={checkpoint}").out.split()
    np.testing.assert_allclose(np.array(words, dtype=float), expected, rtol=1e-5)


def test_people_come_and_go(vprtrain: Vprtrain, checkpoint: Path, audio: dict[str, str]) -> None:
    model = f"--checkpoint={checkpoint}"
    assert vprtrain("enroll", "../Ann", audio["a0"], model, "--json").json == {
        "user": "../Ann",
        "recordings": 1,
    }
    assert (
        vprtrain("enroll", model, "../Ann", audio["a0"], audio["a1"], "--json").json["recordings"]
        == 3
    )
    assert (
        vprtrain("enroll", "null", audio["b0"], model).out
        == "null: 1 recording in voiceprints.db\n"
    )
    found = vprtrain("identify", audio["b0"], model, "--json").json
    assert found == {
        "user": "null",
        "score": pytest.approx(1, abs=1e-6),
        "threshold": 0.999,
        "runtime": RUNTIME,
    }
    found = vprtrain("identify", audio["b1"], model, "--json", "--threshold=1").json
    assert found["user"] is None and found["score"] < 1
    assert vprtrain("identify", audio["b1"], model, "--threshold=1").out.startswith(
        "none of the users: score "
    )
    assert vprtrain("users", "--json").json == {
        "users": ["../Ann", "null"],
        "recordings": {"../Ann": 3, "null": 1},
    }
    assert vprtrain("users").out == "../Ann\t3\nnull\t1\n"
    exported = vprtrain("users", "--export=../Ann").json
    assert exported["user"] == "../Ann" and len(exported["recordings"]) == 3
    assert vprtrain("users", "--export=null").json["user"] == "null"
    assert vprtrain("users", "--check", "--json").json == {"problems": []}
    assert vprtrain("remove", "../Ann", "--json").json == {"user": "../Ann", "removed": True}
    again = vprtrain("remove", "../Ann", "--json")
    assert again.status == 1 and again.json == {"user": "../Ann", "removed": False}
    assert vprtrain("users", "--json").json["users"] == ["null"]
    assert {path.name for path in Path.cwd().iterdir()} == {"voiceprints.db"}


def test_a_folder_of_users(
    vprtrain: Vprtrain, checkpoint: Path, audio: dict[str, str], tmp_path: Path
) -> None:
    for user, takes in {"Ann": ("a0", "a1"), "Bob": ("b0", "silent"), "Eve": ("silent",)}.items():
        (tmp_path / "db" / user).mkdir(parents=True)
        for take in takes:
            (tmp_path / "db" / user / f"{take}.wav").write_bytes(Path(audio[take]).read_bytes())
    model = f"--checkpoint={checkpoint}"
    answer = vprtrain("enroll", "--folder=db", "--purpose=the door", model, "--json")
    assert answer.status == 0 and answer.json["enrolled"] == {"Ann": 2, "Bob": 1}
    assert vprtrain("enroll", "Bob", audio["b0"], "--purpose=the safe", model).status == 0
    stored = json.loads(vprtrain("users", "--export=Bob").out)["recordings"]
    assert [recording["purpose"] for recording in stored] == ["the door", "the safe"]
    assert answer.json["refused"].keys() == {"db/Bob/silent.wav", "db/Eve/silent.wav", "db/Eve"}
    assert answer.error.count("warning: ") == 3
    said = vprtrain("enroll", "--folder=db", f"--checkpoint={checkpoint}").out
    assert said.startswith(
        "0 users with 0 recordings enrolled in voiceprints.db; 2 were enrolled before, 2 "
    )


def test_of_several_files_all_are_enrolled_or_none(
    vprtrain: Vprtrain, checkpoint: Path, audio: dict[str, str]
) -> None:
    answer = vprtrain("enroll", "Ann", audio["a0"], audio["silent"], f"--checkpoint={checkpoint}")
    assert answer.status == 1 and not answer.out
    assert (
        answer.error.startswith(f"error: {audio['silent']}: silent")
        and answer.error.count("\n") == 1
    )
    assert vprtrain("users", "--json").json["users"] == []


MISTAKES = [
    (("contrast", "a0", "b0"), "checkpoint"),
    (("contrast", "a0", "--checkpoint", "MODEL"), "second"),
    (("contrast", "a0", "b0", "--checkpoint", "nowhere"), "nowhere is not a checkpoint"),
    (("contrast", "a0", "b0", "--checkpoint", "MODEL", "--threshold", "7"), "--threshold is 7"),
    (
        ("contrast", "a0", "b0", "--checkpoint", "MODEL", "--device", "toaster"),
        "device is 'toaster'",
    ),
    (("contrast", "a0", "b0", "--checkpoint", "MODEL", "--max_seconds", "0"), "max_seconds is 0"),
    (("identify", "a0", "--checkpoint", "MODEL"), "voiceprints.db does not exist"),
    (
        ("contrast", "a0", "b0", "--checkpoint", "UNVALIDATED", "--threshold", "7"),
        "--threshold is 7",
    ),
    (("enroll", "--checkpoint", "MODEL"), "expected a NAME"),
    (("enroll", "Ann", "--checkpoint", "MODEL"), "expected a NAME"),
    (("enroll", "Ann", "--folder", "x", "--checkpoint", "MODEL"), "expected a NAME"),
    (("enroll", "Ann", "a0", "--folder", "x", "--checkpoint", "MODEL"), "expected a NAME"),
    (("enroll", "--folder", "x", "--checkpoint", "MODEL"), "x is not a folder"),
    (("enroll", "A\nnn", "a0", "--checkpoint", "MODEL"), "control characters"),
    (("users",), "voiceprints.db does not exist"),
    (("remove", "Ann", "--voiceprints", "x.db"), "x.db does not exist"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(
    vprtrain: Vprtrain,
    checkpoint: Path,
    audio: dict[str, str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    unvalidated = write_checkpoint(tmp_path / "unvalidated", threshold=None)
    places = {"MODEL": str(checkpoint), "UNVALIDATED": str(unvalidated), **audio}
    answer = vprtrain(*(places.get(argument, argument) for argument in arguments))
    assert (answer.status, answer.out) == (2, "") and said in answer.error
    assert answer.error.startswith("error: ") and answer.error.count("\n") == 1


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_every_command_explains_itself(
    vprtrain: Vprtrain, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        vprtrain(command, "--help")
    said = capsys.readouterr().out
    assert left.value.code == 0 and f"vprtrain {command}" in said and "--help" in said
    assert "`" not in said, "markup of a docstring"


def test_looking_after_users_does_not_load_paddle(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from vprtrain.voiceprints.database import Voiceprints\n"
        "Voiceprints('voiceprints.db', model='m').close()\n"
        "from vprtrain.__main__ import main\n"
        "assert main(['users']) == 0 and main(['remove', 'Ann']) == 1\n"
        "assert 'paddle' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_is_heard_in_a_recording_can_be_chosen(
    vprtrain: Vprtrain, checkpoint: Path, audio: dict[str, str], tmp_path: Path
) -> None:
    samples = soundfile.read(audio["a0"], dtype="float32")[0]
    silence = np.zeros(160000, "float32")
    late = np.concatenate([silence, samples])
    soundfile.write(tmp_path / "late.wav", np.stack([late * 0, late], axis=1), 16000)
    model = (f"--checkpoint={checkpoint}", "--threshold=0.5", "--json")
    silent = vprtrain("contrast", audio["a0"], "late.wav", *model)
    assert silent.status == 1 and "(this is channel 0 of 2: try --channel)" in silent.error
    both = str(tmp_path / "both.wav")
    soundfile.write(both, np.stack([samples, samples], axis=1), 16000)
    whole = vprtrain("contrast", both, "late.wav", "--channel=1", *model)
    cut = vprtrain("contrast", both, "late.wav", "--channel=1", "--vad=energy", *model)
    assert cut.json["score"] > 0.99 > whole.json["score"]
    mixed = vprtrain("embed", both, "--channel", "mix", f"--checkpoint={checkpoint}", "--json")
    assert len(mixed.json["embedding"]) == 16
    answer = vprtrain("enroll", "Ann", audio["a0"], "--min_speech=2", f"--checkpoint={checkpoint}")
    assert answer.status == 1 and "expected at least 2 s of speech (--min_speech)" in answer.error
    assert vprtrain("users", "--json").json["users"] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--vad", "a.wav"], ["--vad=auto", "a.wav"]),
        (["a.wav", "--vad"], ["a.wav", "--vad=auto"]),
        (["--vad", "energy", "a.wav"], ["--vad", "energy", "a.wav"]),
        (["--vad=silero", "--vad", "--json"], ["--vad=silero", "--vad=auto", "--json"]),
    ],
)
def test_vad_alone_is_the_best_detector(arguments: list[str], expected: list[str]) -> None:
    assert name_detector(arguments) == expected
    assert set(get_args(Detector)) == {BEST, *DETECTORS}
