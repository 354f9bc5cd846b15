"""Who speaks in a stream: the same decisions for every chunking, at a bounded cost."""

from __future__ import annotations

import csv
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_checkpoint import voice, write_checkpoint
from sounds import NOT_SPEECH, RATE

from vprtrain import Predictor
from vprtrain.conversion import convert
from vprtrain.data.audio import AudioError, read_audio
from vprtrain.errors import UsageError
from vprtrain.inference import Decision

PAUSE = np.zeros(RATE, np.float32)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    folder = tmp_path_factory.mktemp("stream")
    opened = Predictor(write_checkpoint(folder / "epoch_1", threshold=0.95), folder / "people.db")
    for speaker, name in enumerate(("Ann", "Bob")):
        for take in range(2):
            opened.register((voice(speaker, take, seconds=2.0), RATE), name)
    yield opened
    opened.close()


def decided(decisions: list[Decision]) -> list[str]:
    """Of each decision the user, the number of an unknown voice, ``someone`` or ``nobody``."""
    return [
        "nobody" if each.score is None else each.user or each.speaker or "someone"
        for each in decisions
    ]


@given(
    cuts=st.lists(st.integers(0, 3 * RATE), max_size=12),
    rate=st.sampled_from([8000, 16000, 44100]),
    hop=st.sampled_from([0.25, 0.37, 0.5]),
)
@settings(max_examples=5)
def test_chunks_of_any_length_give_the_same_decisions(
    predictor: Predictor, cuts: list[int], rate: int, hop: float
) -> None:
    samples = np.concatenate([voice(0, 3, 1.5), PAUSE[:9000], voice(1, 3, 1.0)])
    whole = predictor.stream(sample_rate=rate, window=0.75, hop=hop, threshold=0.5)
    expected = whole.feed(samples) + whole.finish()
    chunked = predictor.stream(sample_rate=rate, window=0.75, hop=hop, threshold=0.5)
    parts = np.split(samples, sorted(min(cut, len(samples)) for cut in cuts))
    found = [decision for part in parts for decision in chunked.feed(part)]
    assert found + chunked.finish() == expected
    assert len(expected) == pytest.approx(len(samples) / rate / hop, abs=1)


def test_a_decision_every_hop_about_the_window_before_it(predictor: Predictor) -> None:
    stream = predictor.stream(window=1.0, hop=0.5)
    found = stream.feed(voice(0, 3, seconds=1.7))
    assert [(each.start, each.end) for each in found] == [(0, 0.5), (0, 1.0), (0.5, 1.5)]
    (last,) = stream.finish()
    assert (last.start, last.end) == pytest.approx((0.7, 1.7))
    assert all(each.threshold == 0.95 and 0 < each.speech <= 1 for each in [*found, last])
    assert stream.finish() == []
    assert stream.feed(voice(0, 3, seconds=0.5))[0].end == 0.5


def test_users_someone_unknown_and_nobody(predictor: Predictor) -> None:
    stream = predictor.stream(window=1.0, hop=0.5, smoothing=0)
    turns = [voice(0, 3, 2.0), PAUSE, voice(1, 3, 2.0), PAUSE]
    found = decided(stream.feed(np.concatenate(turns)))
    assert {found[3], found[9]} <= {"Ann", "Bob"}
    assert found[5] == "nobody" == found[11]
    strict = predictor.stream(window=1.0, hop=0.5, threshold=1.0)
    assert set(decided(strict.feed(voice(0, 3, 2.0)))) == {"someone"}


def test_a_user_is_decided_exactly_at_the_threshold_or_above(predictor: Predictor) -> None:
    stream = predictor.stream(window=1.0, hop=0.25, threshold=0.98)
    found = stream.feed(np.concatenate([voice(0, 4, 3.0), voice(1, 4, 3.0)]))
    assert {each.user for each in found} >= {"Ann", None}
    assert all((each.user is not None) == (each.score >= 0.98) for each in found if each.score)


@pytest.mark.parametrize("name", ["a tone", "hiss", "loud hiss", "clicks"])
def test_what_is_not_speech_is_nobody(predictor: Predictor, name: str) -> None:
    assert set(decided(predictor.stream().feed(NOT_SPEECH[name]))) == {"nobody"}


def test_smoothing_ends_at_a_pause(predictor: Predictor) -> None:
    alone = predictor.stream(window=1.0, hop=0.5, smoothing=0.9)
    after = predictor.stream(window=1.0, hop=0.5, smoothing=0.9)
    expected = alone.feed(np.concatenate([PAUSE, voice(1, 3, 2.0)]))
    found = after.feed(np.concatenate([voice(0, 3, 2.0), PAUSE, PAUSE, voice(1, 3, 2.0)]))
    assert [each.score for each in found[-4:]] == [each.score for each in expected[-4:]]


def test_smoothing_evens_out_the_scores(predictor: Predictor) -> None:
    speech = voice(0, 5, 8.0)
    rough, even = (
        [
            each.score
            for each in predictor.stream(
                window=0.5, hop=0.25, smoothing=share, threshold=-1.0
            ).feed(speech)
            if each.score is not None
        ]
        for share in (0.0, 0.8)
    )
    assert np.abs(np.diff(even)).mean() < np.abs(np.diff(rough)).mean()


def test_nothing_grows(predictor: Predictor) -> None:
    stream = predictor.stream(sample_rate=8000, window=1.0, hop=0.5)

    def size() -> int:
        state = {
            name: value
            for name, value in vars(stream).items()
            if isinstance(value, np.ndarray | float | int)
        }
        return len(pickle.dumps((state, stream._resampler._rest)))

    sizes = []
    for turn in range(12):
        stream.feed(voice(turn % 2, 3, 1.0)[:8000])
        sizes.append(size())
    assert max(sizes[2:]) - min(sizes[2:]) < 200


def test_a_new_user_is_recognised_at_the_next_hop(predictor: Predictor) -> None:
    stream = predictor.stream(window=1.0, hop=0.5, smoothing=0, threshold=0.9999)
    assert decided(stream.feed(voice(7, 0, 1.0)))[-1] == "someone"
    predictor.register((voice(7, 0, 1.0), RATE), "Cleo")
    assert predictor.stream(window=1.0, hop=1.0, threshold=0.9999).feed(voice(7, 0, 1.0))[
        0
    ].user == ("Cleo")
    predictor.remove_user("Cleo")


def test_samples_of_another_form_are_refused(predictor: Predictor) -> None:
    stream = predictor.stream()
    same = predictor.stream(threshold=-1.0)
    integers = (voice(0, 3, 1.0).clip(-1, 1) * 32767).astype(np.int16)
    assert same.feed(integers)[1].score == pytest.approx(
        predictor.stream(threshold=-1.0).feed(integers / 32768.0)[1].score, abs=1e-5
    )
    for samples in (np.zeros((2, 2), np.float32), np.zeros(4, np.uint8), [0.0], b"\0\0"):
        with pytest.raises(AudioError, match="the stream: a chunk is"):
            stream.feed(samples)
    with pytest.raises(AudioError, match="not finite"):
        stream.feed(np.array([0, np.nan], np.float32))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", 0.2),
        ("window", 1000),
        ("hop", 0.0),
        ("hop", float("nan")),
        ("smoothing", 1),
        ("threshold", 2),
        ("sample_rate", 10),
    ],
)
def test_values_out_of_range_are_refused(predictor: Predictor, name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is"):
        predictor.stream(**{name: value})


def test_a_stream_needs_a_database(tmp_path: Path) -> None:
    alone = Predictor(write_checkpoint(tmp_path / "epoch_1"))
    with pytest.raises(UsageError, match="no database"):
        alone.stream()


ENROLLED = {"Ann": "librispeech-1502", "Bea": "librispeech-1737", "Carl": "librispeech-1867"}
STRANGER = "librispeech-2384"
THRESHOLD = 0.45


@pytest.mark.slow
def test_a_conversation_of_three_users_and_a_stranger(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real voices and a published CAM++; which second is whose is known to the sample."""
    weights = test_data / "pretrained" / "campplus_cn_en_common.pt"
    if not weights.exists():
        pytest.skip(f"no published model at {weights}")
    convert("3dspeaker", weights, tmp_path / "model")
    pack = test_data / "dev_pack"
    recordings: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in csv.DictReader((pack / "metadata.csv").open(encoding="utf-8")):
        if row["speaker"] in {*ENROLLED.values(), STRANGER}:
            recordings[row["speaker"]].append(read_audio(pack / row["path"]))
    predictor = Predictor(tmp_path / "model", tmp_path / "people.db")
    for name, speaker in ENROLLED.items():
        for recording in recordings[speaker][:2]:
            predictor.register((recording, RATE), name)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(RATE * 7 // 10).astype(np.float32)
    people = {**ENROLLED, "someone": STRANGER}
    parts, truth = [], []
    for turn, name in enumerate(["Ann", "Bea", "someone", "Carl"] * 2):
        speech = np.concatenate(recordings[people[name]][2:])[: RATE * (9 if turn < 4 else 4)]
        parts += [speech, noise]
        truth += [name] * len(speech) + ["nobody"] * len(noise)
    for diarize in (False, True):
        stream = predictor.stream(threshold=THRESHOLD, diarize=diarize)
        decisions = stream.feed(np.concatenate(parts))
        stranger = "speaker_1" if diarize else "someone"
        seconds = [
            (
                Counter(truth[second * RATE : (second + 1) * RATE]).most_common(1)[0][0],
                decided([each for each in decisions if each.end == second + 1])[0],
            )
            for second in range(len(truth) // RATE)
        ]
        accuracy = np.mean(
            [
                said == (stranger if spoken == "someone" else spoken)
                for spoken, said in seconds
                if spoken != "nobody"
            ]
        )
        confused = [pair for pair in seconds if pair[1] in ENROLLED and pair[1] != pair[0]]
        numbers = {each.speaker for each in decisions} - {None}
        with capsys.disabled():
            print(
                f"\nlive recognition, {len(seconds)} s of 3 users and a stranger, unknown voices "
                f"{'numbered' if diarize else 'not told apart'}: {accuracy:.0%} of the seconds "
                f"right at the moment, {len(confused)} with a wrong user, numbers {numbers}"
            )
        assert accuracy >= 0.8 and len(confused) <= 4
        assert numbers == ({"speaker_1"} if diarize else set())
