"""The windows of a recording that comes in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from limited import run_limited
from tonal_voices import RATE, TonalExtractor, tonal_voice

from vprtrain.diarization import WindowEmbedder


def embedder(**changes) -> WindowEmbedder:
    return WindowEmbedder(
        **{
            "embed": TonalExtractor().embed,
            "segments": lambda waveform: [(0.0, len(waveform) / RATE)],
            "prepared": lambda waveform: waveform,
            "sample_rate": RATE,
            **changes,
        }
    )


@pytest.mark.parametrize("end", [0.3, 1.5, 1.6, 2.25, 2.3, 7.77])
def test_windows_cover_a_segment_and_no_more(end: float) -> None:
    windows = embedder().cut((10.0, 10 + end))
    assert windows[0][0] == 10.0 and windows[-1][1] == pytest.approx(10 + end)
    for (first, _), (second, _) in pairwise(windows):
        assert 0 < second - first <= 0.75 + 1e-9
    lengths = [stop - start for start, stop in windows]
    assert lengths == pytest.approx([min(1.5, end)] * len(windows))


def test_how_the_samples_come_does_not_matter() -> None:
    samples = np.concatenate([tonal_voice(0, 70.0), tonal_voice(1, 60.0)])
    whole = embedder().embed_blocks([samples[: 60 * RATE], samples[60 * RATE : 120 * RATE]])
    parts = embedder().embed_blocks(np.split(samples[: 120 * RATE], 24))
    np.testing.assert_allclose(parts.times, whole.times)
    np.testing.assert_allclose(parts.embeddings, whole.embeddings, atol=1e-6)
    assert parts.speech == [(0.0, 120.0)]  # joined at the border of the minutes
    np.testing.assert_allclose(np.linalg.norm(parts.embeddings, axis=1), 1, atol=1e-6)


def test_speech_ends_with_the_samples() -> None:
    def segments(waveform: np.ndarray) -> list[tuple[float, float]]:
        end = len(waveform) / RATE
        return [(0.0, end + 0.03), (end + 0.03, end + 1.0)]

    found = embedder(segments=segments).embed_blocks([tonal_voice(0, 70.0)])
    assert found.speech == [(0.0, 70.0)] and found.times.max() == 70.0


def test_gaps_are_embedded_in_short_windows_across_minutes() -> None:
    samples = np.concatenate([tonal_voice(0, 70.0), tonal_voice(1, 60.0)])

    def segments(waveform: np.ndarray) -> list[tuple[float, float]]:
        return [(2.0, 57.0), (57.3, len(waveform) / RATE - 1)]

    parts = np.split(samples[: 120 * RATE], 24)
    found = embedder(segments=segments).embed_blocks(parts)
    assert found.speech == [(2.0, 59.0), (62.0, 119.0)]
    assert found.gaps is not None and found.gaps.gaps is None
    assert found.gaps.speech == [(0.0, 2.0), (59.0, 62.0), (119.0, 120.0)]
    middles = found.gaps.times.mean(axis=1)
    assert (np.diff(middles) >= 0).all() and len(found.gaps) == len(found.gaps.embeddings)
    np.testing.assert_allclose(np.diff(found.gaps.times, axis=1), 0.75)
    between = middles[(middles > 58) & (middles < 63)]
    assert between[0] == 59 and between[-1] == 62 and np.diff(between).max() <= 0.25 + 1e-9
    np.testing.assert_allclose(np.linalg.norm(found.gaps.embeddings, axis=1), 1, atol=1e-6)

    without = embedder(segments=segments, with_gaps=False).embed_blocks(parts)
    assert without.gaps is None
    np.testing.assert_array_equal(without.embeddings, found.embeddings)


def test_a_short_segment_is_repeated_to_a_window() -> None:
    seen: list[np.ndarray] = []

    def embed(waveforms: Sequence[np.ndarray]) -> np.ndarray:
        seen.extend(waveforms)
        return np.ones((len(waveforms), 4), np.float32)

    short = embedder(embed=embed, segments=lambda waveform: [(0.5, 1.0)])
    found = short.embed_blocks([tonal_voice(0, 2.0)])
    assert found.times.tolist() == [[0.5, 1.0]] and len(seen[0]) == 1.5 * RATE
    np.testing.assert_array_equal(seen[0][:8000], seen[0][8000:16000])


def test_silence_is_not_looked_at_and_loud_samples_are_scaled() -> None:
    seen: list[float] = []

    def segments(waveform: np.ndarray) -> list[tuple[float, float]]:
        seen.append(float(np.abs(waveform).max()))
        return []

    def blocks() -> Iterator[np.ndarray]:
        yield np.zeros(60 * RATE, np.float32)
        yield 30 * tonal_voice(0, 60.0)

    found = embedder(segments=segments).embed_blocks(blocks())
    assert len(found) == 0 and found.speech == [] and seen == pytest.approx([1.0])
    assert found.gaps is not None and found.gaps.speech == [(60.0, 120.0)]


def test_the_memory_of_three_hours_is_that_of_a_minute() -> None:
    script = """
import numpy as np
from vprtrain.diarization import WindowEmbedder
RATE = 16000
minute = np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32) / 10
embedder = WindowEmbedder(
    embed=lambda waveforms: np.ones((len(waveforms), 192), np.float32),
    segments=lambda waveform: [(0.0, len(waveform) / RATE / 2)],
    prepared=lambda waveform: waveform,
    sample_rate=RATE,
)
found = embedder.embed_blocks(minute for _ in range(int(sys.argv[1])))
print(len(found), len(found.gaps))
"""
    (few, short), (many, long) = run_limited(script, 2), run_limited(script, 180)
    assert few.split() == [f"{2 * 39}", f"{2 * 121}"]
    assert many.split() == [f"{180 * 39}", f"{180 * 121}"]
    assert long - short < 80 << 20  # the embeddings take 22 MB
