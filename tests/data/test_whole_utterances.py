"""Whole recordings in batches of one length, from any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.data import whole_utterances
from vprtrain.data.manifest import Recording
from vprtrain.data.rank_share import RankShare
from vprtrain.data.reading import Reading
from vprtrain.data.whole_utterances import WholeUtterances

SAMPLES = (16000, 9000, 16000, 12000, 9000, 16000, 4000, 16000)


@pytest.fixture
def recordings(tmp_path: Path) -> dict[str, Recording]:
    rng = np.random.default_rng(0)
    for number, samples in enumerate(SAMPLES):
        soundfile.write(tmp_path / f"{number}.wav", rng.uniform(-0.5, 0.5, samples), 16000)
    durations = [samples / 16000 for samples in SAMPLES]
    return {
        f"u{n}": Recording(str(tmp_path / f"{n}.wav"), seconds)
        for n, seconds in enumerate(durations)
    }


def test_each_comes_once_with_others_of_its_length(
    recordings: dict[str, Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_utterances, "MAX_BATCH_SECONDS", 3.0)
    utterances = WholeUtterances(recordings)
    batches = list(utterances.batches())
    assert [key for batch in batches for key in batch.keys] == utterances.keys
    assert [batch.keys for batch in batches] == [
        ("u6",),
        ("u1", "u4"),
        ("u3",),
        ("u0", "u2", "u5"),
        ("u7",),
    ]
    assert [batch.waveforms.shape[1] for batch in batches] == [8000, 9000, 12000, 16000, 16000]
    # The short recording is repeated.
    np.testing.assert_array_equal(batches[0].waveforms[0, :4000], batches[0].waveforms[0, 4000:])


@pytest.mark.parametrize("workers", [0, 2])
def test_from_the_end_of_any_batch_on_the_rest_is_the_same(
    recordings: dict[str, Recording], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(whole_utterances, "MAX_BATCH_SECONDS", 3.0)
    utterances = WholeUtterances(recordings, reading=Reading(workers=workers))
    batches, start = list(utterances.batches()), 0
    for number, batch in enumerate(batches):
        rest = list(utterances.batches(start))
        assert [each.keys for each in rest] == [each.keys for each in batches[number:]]
        for each, whole in zip(rest, batches[number:], strict=True):
            np.testing.assert_array_equal(each.waveforms, whole.waveforms)
        start += len(batch.keys)
    assert list(utterances.batches(start)) == []


def test_what_is_skipped_is_not_decoded(recordings: dict[str, Recording]) -> None:
    utterances = WholeUtterances(recordings, reading=Reading(workers=0))
    Path(recordings[utterances.keys[0]].path).unlink()
    assert next(utterances.batches(len(utterances) - 5)).keys == ("u3",)


def test_only_the_beginning_where_that_is_asked_for(recordings: dict[str, Recording]) -> None:
    whole = {
        key: row
        for batch in WholeUtterances(recordings).batches()
        for key, row in zip(*batch, strict=True)
    }
    cut = WholeUtterances(recordings, max_seconds=0.6)
    for batch in cut.batches():
        assert batch.waveforms.shape[1] <= 9600
        for key, waveform in zip(*batch, strict=True):
            np.testing.assert_array_equal(waveform, whole[key][: len(waveform)])


def test_the_fingerprint_tells_what_embeddings_hang_on(recordings: dict[str, Recording]) -> None:
    fewer = dict(list(recordings.items())[:-1])
    moved = {**recordings, "u0": Recording("elsewhere.wav", 1.0)}
    made = [
        WholeUtterances(recordings),
        WholeUtterances(fewer),
        WholeUtterances(moved),
        WholeUtterances(recordings, max_seconds=1.0),
        WholeUtterances(recordings, reading=Reading(sample_rate=8000)),
        WholeUtterances(recordings, reading=Reading(channel=1)),
    ]
    prints = [str(each.fingerprint()) for each in made]
    assert len(set(prints)) == len(prints)
    assert (
        WholeUtterances(
            dict(reversed(recordings.items())), reading=Reading(workers=0)
        ).fingerprint()
        == made[0].fingerprint()
    )


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 6), (3, 7)])
def test_all_processes_together_read_the_batches_of_one(
    recordings: dict[str, Recording],
    monkeypatch: pytest.MonkeyPatch,
    world_size: int,
    start: int,
    end: int | None,
) -> None:
    monkeypatch.setattr(whole_utterances, "BLOCK", 3)
    alone = [batch.keys for batch in WholeUtterances(recordings).batches(start, end)]
    parts = [
        [
            batch.keys
            for batch in WholeUtterances(recordings, share=RankShare(rank, world_size)).batches(
                start, end
            )
        ]
        for rank in range(world_size)
    ]
    assert sorted(alone) == sorted(keys for part in parts for keys in part)
    assert [key for keys in alone for key in keys] == WholeUtterances(recordings).keys[start:end]
    assert (
        "u0",
        "u2",
    ) in alone or start == 3  # the third utterance of this length is in the next block
