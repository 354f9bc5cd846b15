from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.data.audio.reading import AudioError, audio_duration, read_audio
from vprtrain.data.preparation.joining import choose, join_short
from vprtrain.data.preparation.measuring import MeasuredUtterance


@pytest.mark.parametrize(
    ("least", "seconds", "expected"),
    [  # the self-test of Kaldi's script
        (0.1, [5.0, 6.0, 7.0], [(0, 1), (1, 2), (2, 3)]),
        (1.0, [0.5, 0.6, 0.7], [(0, 3)]),
        (1.0, [0.5, 0.6, 1.7], [(0, 2), (2, 3)]),
        (0.5, [0.1, 6.0, 7.0], [(0, 2), (2, 3)]),
        (0.5, [6.0, 7.0, 0.1], [(0, 1), (1, 3)]),
        (0.5, [6.0, 0.1, 7.0], [(0, 2), (2, 3)]),
        (0.5, [7.0, 0.1, 6.0], [(0, 1), (1, 3)]),
        (1.0, [1.0, 0.5, 0.1, 6.0], [(0, 2), (2, 4)]),
        (5.0, [2.0], [(0, 1)]),
        (5.0, [], []),
    ],
)
def test_neighbours_are_chosen_as_kaldi_does(
    least: float, seconds: list[float], expected: list[tuple[int, int]]
) -> None:
    assert [(group.start, group.stop) for group in choose(seconds, least)] == expected


@given(seconds=st.lists(st.integers(1, 900), min_size=1, max_size=40), least=st.integers(1, 1000))
def test_every_group_is_long_enough_and_none_is_lost(seconds: list[int], least: int) -> None:
    groups = choose([second / 100 for second in seconds], least / 100)
    assert [place for group in groups for place in group] == list(range(len(seconds)))
    if len(groups) > 1:
        assert min(sum(seconds[place] for place in group) for group in groups) >= least


def speech(folder: Path, name: str, seconds: float, seed: int) -> MeasuredUtterance:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    samples = (
        np.random.default_rng(seed).integers(-3000, 3000, round(16000 * seconds)).astype(np.int16)
    )
    soundfile.write(path, samples, 16000, subtype="PCM_16")
    return MeasuredUtterance(str(path), path.parent.name, seconds)


def genre(path: str) -> str:
    return Path(path).name.partition("-")[0]


def test_only_neighbours_of_one_speaker_and_genre_are_joined(tmp_path: Path) -> None:
    names = [
        "a/song-1.flac",
        "a/speech-1.flac",
        "a/speech-2.flac",
        "a/speech-3.flac",
        "b/speech-1.flac",
    ]
    rows = [
        speech(tmp_path, name, 0.4 if "3" not in name else 1.2, seed)
        for seed, name in enumerate(names)
    ]
    made = [joined.utterance for joined in join_short(rows, 0.8, genre, tmp_path / "joined", 2)]
    target = tmp_path / "joined" / "a" / "speech-1-comb2.flac"
    assert made == [rows[0], MeasuredUtterance(str(target), "a", 0.8), rows[3], rows[4]]
    parts = [read_audio(row.path) for row in rows[1:3]]
    np.testing.assert_array_equal(
        read_audio(target), np.concatenate(parts)
    )  # 16-bit samples are unchanged

    before = target.stat().st_mtime_ns
    assert [
        joined.utterance for joined in join_short(rows, 0.8, genre, tmp_path / "joined", 2)
    ] == made
    assert target.stat().st_mtime_ns == before
    speech(tmp_path, "a/speech-2.flac", 0.5, 9)  # changed, so joined again
    list(join_short(rows, 0.8, genre, tmp_path / "joined", 2))
    assert audio_duration(target) == pytest.approx(0.9)


def test_a_part_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    rows = [speech(tmp_path, f"a/speech-{number}.flac", 0.4, number) for number in range(3)]
    Path(rows[1].path).write_bytes(b"fLaC and no more")
    ((utterance, bad),) = join_short(rows, 1.2, genre, tmp_path / "joined", 1)
    assert utterance == (str(tmp_path / "joined" / "a" / "speech-0-comb3.flac"), "a", 0.8)
    ((path, error),) = bad
    assert path == rows[1].path and isinstance(error, AudioError)
    for row in rows:
        Path(row.path).write_bytes(b"fLaC and no more")
    ((utterance, bad),) = join_short(rows, 1.2, genre, tmp_path / "joined", 1)
    assert utterance is None and [path for path, _ in bad] == [row.path for row in rows]
