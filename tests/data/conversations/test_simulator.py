"""Simulated conversations: functions of the seed and the number, whose labels are true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conversation_material import PITCHES, RATE, make_manifest, make_noise

from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.augmentation import AdditiveNoise, Reverberation
from vprtrain.data.conversations import (
    Conversation,
    ConversationSimulator,
    ConversationStyle,
    write_conversation,
)
from vprtrain.data.manifest import Manifest, read_manifest
from vprtrain.errors import UsageError
from vprtrain.lists import Segment, Span, read_rttm, read_uem
from vprtrain.scoring import score_diarization

STYLE = ConversationStyle(seconds=60, speakers=(3, 3))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(make_manifest(tmp_path_factory.mktemp("material")))


def heard(conversation: Conversation) -> list[Segment]:
    """Who speaks when, by the pitches in frames of 20 ms; pauses below 0.3 s are speech."""
    frames = conversation.waveform[: len(conversation.waveform) // 320 * 320].reshape(-1, 320)
    times = np.arange(320) / RATE
    found = []
    for speaker, pitch in PITCHES.items():
        level = np.abs(frames @ np.exp(-2j * np.pi * pitch * times)) / 160
        active = np.concatenate([[False], level > 0.02, [False]])
        edges = np.flatnonzero(np.diff(active.astype(int))) * 0.02
        pauses = np.flatnonzero(edges[2::2] - edges[1:-1:2] < 0.3)
        edges = np.delete(edges, np.concatenate([2 * pauses + 1, 2 * pauses + 2]))
        found += [Segment(start, end, speaker) for start, end in edges.reshape(-1, 2).tolist()]
    return found


def same(one: Conversation, other: Conversation) -> bool:
    return np.array_equal(one.waveform, other.waveform) and one.segments == other.segments


def test_a_conversation_depends_on_the_seed_and_its_number_only(manifest: Manifest) -> None:
    simulator = ConversationSimulator(manifest, seed=3, style=STYLE)
    second = [simulator.conversation(number) for number in (0, 1)][1]
    assert same(second, ConversationSimulator(manifest, seed=3, style=STYLE).conversation(1))
    assert not same(second, simulator.conversation(2))
    assert not same(second, ConversationSimulator(manifest, seed=4, style=STYLE).conversation(1))


@pytest.mark.parametrize("number", range(3))
def test_the_labels_say_who_is_heard_when(manifest: Manifest, number: int) -> None:
    conversation = ConversationSimulator(manifest, style=STYLE).conversation(number)
    assert conversation.waveform.shape == (60 * RATE,)
    assert conversation.waveform.dtype == np.float32
    assert np.abs(conversation.waveform).max() <= 1
    errors = score_diarization(conversation.segments, heard(conversation), collar=0.1)
    assert errors.speech > 20
    assert errors.der < 0.01
    assert all(one == other for one, other in errors.mapping.items())


def test_everybody_speaks_and_nobody_interrupts_himself(manifest: Manifest) -> None:
    segments = ConversationSimulator(manifest, style=STYLE).conversation(0).segments
    assert segments == sorted(segments)
    speakers = {segment.speaker for segment in segments}
    assert len(speakers) == 3
    for speaker in speakers:
        own = [segment for segment in segments if segment.speaker == speaker]
        assert all(one.end < other.start for one, other in pairwise(own))
        assert all(0 <= each.start < each.end <= 60 for each in own)


@pytest.mark.parametrize(("overlap", "least", "most"), [(0.0, 0.0, 0.0), (1.0, 0.05, 0.6)])
def test_overlap_is_what_was_asked_for(
    manifest: Manifest, overlap: float, least: float, most: float
) -> None:
    style = ConversationStyle(seconds=60, speakers=(3, 3), overlap=overlap, go_on=0.0)
    segments = ConversationSimulator(manifest, style=style).conversation(0).segments
    speech = score_diarization(segments, []).speech
    alone = score_diarization(segments, [], skip_overlap=True).speech
    assert least <= 1 - alone / speech <= most


def test_the_number_of_speakers_is_drawn(manifest: Manifest) -> None:
    simulator = ConversationSimulator(
        manifest, style=ConversationStyle(seconds=40, speakers=(1, 3), turn_seconds=(1, 3))
    )
    counts = [
        len({segment.speaker for segment in simulator.conversation(number).segments})
        for number in range(20)
    ]
    assert set(counts) == {1, 2, 3}


def test_rooms_and_noise_change_what_is_heard_and_not_who_speaks(
    manifest: Manifest, tmp_path: Path
) -> None:
    rirs, musan = make_noise(tmp_path)
    room = Reverberation(manifest=str(rirs), probability=1)
    noise = AdditiveNoise(manifest=str(musan), noise_snr=(10, 10), probability=1)
    plain, spoilt = (
        ConversationSimulator(manifest, style=STYLE, **options).conversation(0)
        for options in ({}, {"room": room, "noise": noise})
    )
    assert plain.segments == spoilt.segments
    quiet = np.ones(60 * RATE, bool)
    for segment in plain.segments:
        quiet[int((segment.start - 0.1) * RATE) : int((segment.end + 1) * RATE)] = False
    assert quiet.sum() > RATE // 10
    levels = [10 * np.log10(np.mean(each.waveform[quiet] ** 2)) for each in (plain, spoilt)]
    assert levels[0] == pytest.approx(STYLE.floor_db, abs=0.5)
    speech = 10 * np.log10(np.mean(plain.waveform**2))
    assert levels[1] == pytest.approx(speech - 10, abs=6)


def test_utterances_that_cannot_be_used_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_manifest(tmp_path)
    for speaker in range(5):
        (tmp_path / f"{speaker}_0.wav").write_bytes(b"no audio")
    style = ConversationStyle(seconds=30, speakers=(5, 5), turn_seconds=(2, 3))
    simulator = ConversationSimulator(read_manifest(path), style=style)
    assert len({segment.speaker for segment in simulator.conversation(0).segments}) == 5
    assert "the conversation goes on without it" in caplog.text
    for speaker in range(5):
        for utterance in range(3):
            (tmp_path / f"{speaker}_{utterance}.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match="any other utterance of its speaker holds speech"):
        simulator.conversation(0)


def test_a_conversation_is_three_files(manifest: Manifest, tmp_path: Path) -> None:
    conversation = ConversationSimulator(manifest, style=STYLE).conversation(0)
    files = write_conversation(tmp_path / "new", "talk", conversation, sample_rate=RATE)
    assert np.abs(read_audio(files.wav) - conversation.waveform).max() < 1e-4
    ((name, segments),) = read_rttm(files.rttm).items()
    assert (name, read_uem(files.uem)) == ("talk", {"talk": [Span(0, 60)]})
    assert len(segments) == len(conversation.segments)
    assert {each.speaker for each in segments} <= {name.replace(" ", "_") for name in PITCHES}
    assert score_diarization(conversation.segments, segments).der < 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seconds": 0}, "seconds is 0; expected"),
        ({"seconds": 1e9}, "expected a finite number .*at most 7200"),
        ({"seconds": 3, "turn_seconds": (5, 10)}, "no room for a turn of 5 s"),
        ({"turn_seconds": (5, 2)}, "the longest is 2"),
        ({"speakers": (0, 2)}, "the fewest is 0"),
        ({"speakers": (3, 2)}, "the most is 2"),
        ({"overlap": 1.5}, "overlap is 1.5"),
        ({"go_on": -1}, "go_on is -1"),
        ({"pause_seconds": float("nan")}, "pause_seconds is nan"),
    ],
)
def test_impossible_styles_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ConversationStyle(**options)  # type: ignore[arg-type]


def test_too_few_speakers_are_refused(manifest: Manifest) -> None:
    with pytest.raises(UsageError, match=r"found 5 speaker\(s\) .*expected at least 6"):
        ConversationSimulator(manifest, style=ConversationStyle(speakers=(2, 6)))
