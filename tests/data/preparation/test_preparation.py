"""The steps of preparation that all data sets share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.data.manifest import read_manifest, read_recordings
from vprtrain.data.preparation import Preparation, holding_out
from vprtrain.data.preparation.holding_out import hold_out
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import UsageError
from vprtrain.scoring.trials import read_trials


@pytest.fixture
def utterances(tmp_path: Path) -> list[tuple[str, str]]:
    """Six speakers with four utterances of 0.6 s each."""
    noise = np.random.default_rng(0).normal(0, 0.1, (6, 4, 9600))
    found = []
    for speaker in range(6):
        for number in range(4):
            path = tmp_path / "audio" / f"s{speaker}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise[speaker, number], 16000)
            found.append((str(path), f"s{speaker}"))
    return found


def bad_audio(out: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in (out / "bad_audio.tsv").read_text().splitlines())


def test_bad_recordings_are_left_out_and_named(
    tmp_path: Path, utterances: list[tuple[str, str]]
) -> None:
    """Silence is only found when the whole recording is decoded."""
    empty, short, silent = (path for path, _ in utterances[:3])
    utterances = [
        *utterances,
        (Path(utterances[3][0]).rename(tmp_path / "a\tname.wav").as_posix(), "s0"),
    ]
    del utterances[3]
    renamed = str(tmp_path / r"a\tname.wav")
    Path(empty).write_bytes(b"")
    soundfile.write(short, np.full(1600, 0.1), 16000)
    soundfile.write(silent, np.zeros(9600), 16000)
    for check, found in ((False, [renamed, empty, short]), (True, [renamed, empty, short, silent])):
        preparation = Preparation(out_dir=tmp_path / "out", check=check)
        preparation.write_training(preparation.measure(utterances))
        summary = preparation.finish()
        reasons = bad_audio(tmp_path / "out")
        assert sorted(reasons) == sorted(found)
        assert (
            summary.counts["utterances in train.tsv"]
            == 24 - len(found)
            == len(read_manifest(tmp_path / "out/train.tsv"))
        )
        assert summary.counts["bad recordings, named in bad_audio.tsv"] == len(found)
    assert "empty (0 bytes)" in reasons[empty]
    assert reasons[silent] == "silent"
    assert reasons[short] == ("silent" if check else "0.10 s; expected at least 0.5 s")
    assert "silent" in str(summary)


def test_the_nasty_recordings_are_told_from_the_good_ones(test_data: Path, tmp_path: Path) -> None:
    """With --check every utterance that is kept can be read, and every listed one is unusable."""
    nasty = sorted(
        path
        for path in (test_data / "bad_audio").rglob("*")
        if path.is_file() and path.name != "README.md"
    )
    preparation = Preparation(out_dir=tmp_path, check=True)
    rows = preparation.measure([(str(path), "s") for path in nasty])
    preparation.write_training(rows)
    preparation.finish()
    bad = {Path(path).name for path in bad_audio(tmp_path)}
    kept = {Path(row.path).name for row in rows} - bad
    assert bad >= {
        "zero_bytes.wav",
        "random_bytes.flac",
        "all_nan.wav",
        "nan_float.wav",
        "inf_float.wav",
    }
    assert bad >= {
        "silence_2s.wav",
        "long_30min_silence.flac",
        "html_error_page.mp3",
        "one_sample.wav",
        "dc_only.wav",
    }
    assert kept >= {
        "ok_reference.wav",
        "aac.m4a",
        "voice.opus",
        "video_with_audio.mp4",
        "stereo_antiphase.wav",
    }
    assert kept | bad == {path.name for path in nasty}


def test_nothing_left_is_an_error_that_gives_reasons(
    tmp_path: Path, utterances: list[tuple[str, str]]
) -> None:
    preparation = Preparation(out_dir=tmp_path / "out", min_seconds=2)
    rows = preparation.measure(utterances)
    with pytest.raises(
        UsageError,
        match=r"no training utterance is left, 24 were bad; .*0\.wav: 0\.60 s; expected at least 2",
    ):
        preparation.write_training(rows)
    with pytest.raises(UsageError, match="expected workers 1 or more"):
        Preparation(out_dir=tmp_path / "out", workers=0)


def test_speakers_are_held_out_with_all_their_pairs(
    tmp_path: Path, utterances: list[tuple[str, str]]
) -> None:
    preparation = Preparation(out_dir=tmp_path / "out")
    preparation.write_training(hold_out(preparation, preparation.measure(utterances), 2))
    trained = set(read_manifest(tmp_path / "out/train.tsv").speakers)
    recordings = read_recordings(tmp_path / "out/eval.tsv")
    spoken = {key: Path(recording.path).parent.name for key, recording in recordings.items()}
    held = Counter(spoken.values())
    assert (
        len(held) == 2
        and set(held.values()) == {4}
        and len(trained) == 4
        and not trained & set(held)
    )
    trials = read_trials(tmp_path / "out/trials.txt")
    pairs = [
        (trials.enroll_ids[one], trials.test_ids[two])
        for one, two in zip(trials.enroll, trials.test, strict=True)
    ]
    assert len(set(map(frozenset, pairs))) == 8 * 7 // 2 == len(pairs)
    assert [spoken[one] == spoken[two] for one, two in pairs] == list(trials.targets)
    first = (tmp_path / "out/trials.txt").read_text()
    hold_out(preparation, preparation.measure(utterances), 2)
    assert (tmp_path / "out/trials.txt").read_text() == first
    for count in (1, 5):
        with pytest.raises(
            UsageError,
            match=f"held_out is {count}; expected 2 or more, and at least 2 less than the 6",
        ):
            hold_out(preparation, preparation.measure(utterances), count)


def test_of_too_many_pairs_of_two_speakers_some_are_drawn(
    tmp_path: Path, utterances: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 speakers with 4 utterances: all 24 target trials, and about 48 of the 96 non-target trials,
    always the same."""

    def trials() -> list[str]:
        preparation = Preparation(out_dir=tmp_path / "out")
        hold_out(preparation, preparation.measure(utterances), 4)
        lines = (tmp_path / "out/trials.txt").read_text().splitlines()
        assert preparation.finish().counts["trials"] == len(lines)
        return lines

    complete = trials()
    assert Counter(line[-1] for line in complete) == {"1": 24, "0": 96}
    monkeypatch.setattr(holding_out, "_NONTARGETS", 48)
    drawn = trials()
    kept = Counter(line[-1] for line in drawn)
    assert kept["1"] == 24 and 30 < kept["0"] < 66
    assert drawn == [line for line in complete if line in set(drawn)] == trials()


def test_a_summary_says_what_differs_and_what_is_missing() -> None:
    summary = Summary()
    summary.count("speakers", 797, expected=797)
    summary.count("trials", 12, expected=3_484_292)
    summary.remark_names("speakers have no folder", [f"id{number}" for number in range(7)])
    summary.remark_names("other things", [])
    assert str(summary).splitlines() == [
        "797 speakers",
        " 12 trials  (complete: 3,484,292)",
        "note: 7 speakers have no folder: id0, id1, id2, id3, id4 and 2 more",
    ]


def test_a_bad_evaluation_recording_stays_unless_it_cannot_be_read(
    tmp_path: Path, utterances: list[tuple[str, str]]
) -> None:
    """Because trials name it."""
    recordings = [(f"u{number}", path) for number, (path, _) in enumerate(utterances[:3])]
    soundfile.write(recordings[0][1], np.zeros(9600), 16000)
    preparation = Preparation(out_dir=tmp_path / "out", check=True)
    preparation.write_evaluation(recordings)
    assert set(read_recordings(tmp_path / "out/eval.tsv")) == {"u0", "u1", "u2"}
    assert f"1 bad recordings stay in eval.tsv: {recordings[0][1]}" in str(preparation.finish())
    assert bad_audio(tmp_path / "out") == {recordings[0][1]: "silent"}
    Path(recordings[1][1]).write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"1 recordings of the evaluation cannot be read: .*1\.wav: empty"
    ):
        Preparation(out_dir=tmp_path / "out").write_evaluation(recordings)
