"""The voiceprints in memory, compared with a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.voiceprints.gallery import Gallery


def unit(seed: int, dimension: int = 6) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(dimension).astype("float32")
    return vector / np.linalg.norm(vector)


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 1000)), max_size=60)


@settings(deadline=None)
@given(steps=STEPS, probe=st.integers(0, 1000))
def test_after_any_changes_the_nearest_is_the_nearest_of_what_is_left(
    steps: list[tuple[bool, int, int]], probe: int
) -> None:
    gallery, left = Gallery(), {}
    for put, key, seed in steps:
        if put:
            gallery.put(key, f"user {seed}", unit(seed))
            left[key] = f"user {seed}", unit(seed)
        else:
            gallery.drop(key)
            left.pop(key, None)
    assert len(gallery) == len(left)
    if not left:
        return
    scores = {name: float(vector @ unit(probe)) for name, vector in left.values()}
    name, score = gallery.nearest(unit(probe))
    assert score == pytest.approx(max(scores.values()), abs=1e-6)
    assert scores[name] == pytest.approx(score, abs=1e-6)


def test_it_grows_beyond_its_first_size_and_forgets_what_was_dropped() -> None:
    gallery = Gallery()
    for key in range(3000):
        gallery.put(key, str(key), unit(key))
    assert all(gallery.nearest(unit(key))[0] == str(key) for key in range(0, 3000, 100))
    for key in range(3000):
        gallery.drop(key)
    assert not gallery._matrix.any()  # no removed voiceprint remains in memory
    assert len(gallery) == 0


def test_another_dimension_is_an_error() -> None:
    gallery = Gallery()
    gallery.put(1, "a", unit(0))
    with pytest.raises(ValueError, match=r"shape|size|dimension"):
        gallery.put(2, "b", unit(0, dimension=5))
    with pytest.raises(ValueError, match=r"size|dimension"):
        gallery.nearest(unit(0, dimension=5))
    assert gallery.nearest(unit(0))[0] == "a" and len(gallery) == 1
