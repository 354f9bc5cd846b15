"""Where speech is looked for that a detector has missed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vprtrain.diarization.gaps import GAP_WINDOW, audible_gaps, samples_of

RATE = 1000


def sound(*parts: tuple[float, float]) -> np.ndarray:
    """Noise: seconds and level in dB of each part."""
    rng = np.random.default_rng(0)
    stretches = [10 ** (level / 20) * rng.normal(0, 0.1, round(s * RATE)) for s, level in parts]
    return np.concatenate(stretches).astype(np.float32)


def ends(gap: list[tuple[float, float]]) -> tuple[float, float]:
    return float(np.mean(gap[0])), float(np.mean(gap[-1]))


def test_the_windows_of_a_gap_lie_around_its_ends_and_between_them() -> None:
    (before, between, after) = audible_gaps(sound((9.0, 0)), RATE, [(1.0, 3.0), (4.6, 8.0)])
    assert ends(before) == (0.0, 1.0)
    assert ends(between) == pytest.approx((3.0, 4.6)) and ends(after) == (8.0, 9.0)
    for (start, end), (later, _) in pairwise(between):
        assert end - start == pytest.approx(GAP_WINDOW) and 0 < later - start <= 0.25 + 1e-9


def test_a_short_gap_is_left_out() -> None:
    gaps = audible_gaps(sound((9.0, 0)), RATE, [(0.0, 3.0), (3.45, 5.0), (5.55, 9.0)])
    assert [ends(gap) for gap in gaps] == [pytest.approx((5.0, 5.55))]
    assert audible_gaps(sound((9.0, 0)), RATE, [(0.2, 9.3)]) == []  # it ends after the samples


def test_a_gap_ends_where_it_is_quiet() -> None:
    waveform = sound((2.0, 0), (1.0, -15), (3.0, -40), (1.0, -15))
    first, second = audible_gaps(waveform, RATE, [(0.0, 2.0)])
    assert ends(first) == pytest.approx((2.0, 3.25), abs=0.13)
    assert ends(second) == pytest.approx((5.75, 7.0), abs=0.13)
    assert audible_gaps(sound((2.0, 0), (5.0, -40)), RATE, [(0.0, 2.0)]) == []


def test_what_is_quiet_depends_on_the_speech_of_the_block() -> None:
    waveform = sound((2.0, -40), (2.0, -50), (2.0, -100))
    assert [ends(gap) for gap in audible_gaps(waveform, RATE, [(0.0, 2.0)])] == [
        pytest.approx((2.0, 4.25), abs=0.13)
    ]
    assert ends(audible_gaps(waveform, RATE, [])[0]) == pytest.approx((0.0, 4.25), abs=0.13)
    assert audible_gaps(np.zeros(5000, np.float32), RATE, []) == []


def test_a_window_beyond_the_block_has_the_samples_in_it() -> None:
    block = np.arange(1000, dtype=np.float32)
    assert len(samples_of(block, RATE, (-0.375, 0.375))) == 375
    np.testing.assert_array_equal(samples_of(block, RATE, (0.9, 1.65)), block[900:])
