"""The codes in memory: the nearest voiceprint is always among the candidates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.voiceprints import gallery as gallery_module
from vprtrain.voiceprints import products
from vprtrain.voiceprints.codes import encode
from vprtrain.voiceprints.gallery import Gallery

DIMENSION = 6
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 1000)), max_size=60)


def units(vectors: np.ndarray) -> np.ndarray:
    exact = np.asarray(vectors, np.float64)
    return (exact / np.linalg.norm(exact, axis=1, keepdims=True)).astype(np.float32)


def unit(seed: int, dimension: int = DIMENSION) -> np.ndarray:
    return units(np.random.default_rng(seed).standard_normal((1, dimension)))[0]


def put(gallery: Gallery, *members: tuple[int, np.ndarray]) -> None:
    keys, vectors = zip(*members, strict=True)
    gallery.put(keys, [f"user {key}" for key in keys], encode(np.stack(vectors)))


@pytest.fixture(params=["bytes", "floats"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to multiply codes."""
    if request.param == "bytes":
        pytest.importorskip("simsimd", reason="the extra [search] is not installed")
    monkeypatch.setattr(products, "HAS_BYTE_PRODUCTS", request.param == "bytes")


def require_bounds(gallery: Gallery, left: dict[int, np.ndarray], probe: np.ndarray) -> int:
    """Compare with all exact scores, and give the number of candidates."""
    exact = probe.astype(np.float64) / np.linalg.norm(probe.astype(np.float64))
    found = gallery.candidates(exact)
    scores = {key: float(vector.astype(np.float64) @ exact) for key, vector in left.items()}
    assert max(scores.values()) == max(scores[key] for key in found.ids.tolist())
    assert all(
        scores[key] <= bound for key, bound in zip(*map(np.ndarray.tolist, found), strict=True)
    )
    assert (np.diff(found.bounds) <= 0).all()
    return len(found.ids)


@settings(deadline=None)
@given(steps=STEPS, probe=st.integers(0, 1000))
def test_after_any_changes_the_nearest_is_a_candidate(
    steps: list[tuple[bool, int, int]], probe: int
) -> None:
    gallery, left = Gallery(), dict[int, np.ndarray]()
    for add, key, seed in steps:
        if add:
            put(gallery, (key, unit(seed)))
            left[key] = unit(seed)
        else:
            gallery.drop([key])
            left.pop(key, None)
    assert len(gallery) == len(left)
    for key in range(13):
        assert gallery.named(f"user {key}") == [key] * (key in left)
    if left:
        require_bounds(gallery, left, unit(probe))


GALLERIES = {
    "random": lambda rng, d: rng.standard_normal((5000, d)),
    "all nearly the same": lambda rng, d: 1 + 1e-4 * rng.standard_normal((5000, d)),
    "all the same": lambda rng, d: np.ones((5000, d)),
    "one value each": lambda rng, d: np.eye(d)[rng.integers(d, size=5000)],
    "one value stands out": lambda rng, d: rng.standard_normal((5000, d)) + 300 * np.eye(d)[0],
    "a few values": lambda rng, d: rng.choice([-1.0, 1.0], (5000, d)),
    "tiny values": lambda rng, d: rng.standard_normal((5000, d)) ** 15,
    "halves of a step": lambda rng, d: rng.integers(-127, 127, (5000, d)) + 0.5,
}


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("dimension", [1, 2, 192, 2048])
@pytest.mark.parametrize("kind", GALLERIES)
def test_the_bounds_hold_for_any_gallery(kind: str, dimension: int) -> None:
    rng = np.random.default_rng(0)
    vectors = units(GALLERIES[kind](rng, dimension))
    gallery = Gallery()
    put(gallery, *enumerate(vectors, 1))
    left = dict(enumerate(vectors, 1))
    for probe in (vectors[7], -vectors[7], unit(3, dimension), np.eye(dimension)[0]):
        require_bounds(gallery, left, probe)


@pytest.mark.usefixtures("arithmetic")
def test_few_of_many_are_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """In several blocks and threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(gallery_module, "_ROWS_AT_ONCE", 1 << 15)
    rng = np.random.default_rng(1)
    vectors = units(rng.standard_normal((100_000, 192)))
    gallery = Gallery()
    put(gallery, *enumerate(vectors, 1))
    left = dict(enumerate(vectors, 1))
    assert require_bounds(gallery, left, vectors[99_999] + vectors[5]) <= 3
    assert require_bounds(gallery, left, unit(9, 192)) < 50


def test_it_grows_beyond_its_first_size_and_forgets_what_was_dropped() -> None:
    gallery = Gallery()
    for key in range(3000):
        put(gallery, (key, unit(key)))
    for key in range(0, 3000, 100):
        assert key in gallery.candidates(unit(key).astype(float)).ids
    gallery.drop(range(2000))
    assert gallery.candidates(unit(2500).astype(float)).ids.min() >= 2000
    gallery.drop(range(3000))
    assert not any(column.any() for column in (gallery._codes, gallery._names, gallery._steps))
    assert len(gallery) == 0 and gallery.dimension is None


def test_another_dimension_is_an_error() -> None:
    gallery = Gallery()
    put(gallery, (1, unit(0)))
    with pytest.raises(ValueError, match="dimension 5, expected 6"):
        put(gallery, (2, unit(0, dimension=5)))
    with pytest.raises(ValueError, match=r"shape \(5,\), expected \(6,\)"):
        gallery.candidates(unit(0, dimension=5))
    assert gallery.candidates(unit(0).astype(float)).ids.tolist() == [1] and len(gallery) == 1
    gallery.drop([1])
    put(gallery, (2, unit(0, dimension=5)))  # an empty one takes any
    assert gallery.dimension == 5
