"""What a database of voiceprints promises, in an SQLite file and in PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from postgres_server import PostgresServer, require_postgres

from vprtrain.errors import RunError, UsageError
from vprtrain.scoring.cosine import unit_vectors
from vprtrain.scoring.thresholds import ScoringError
from vprtrain.voiceprints.codes import encode
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.search import NO_SCORE
from vprtrain.voiceprints.store import RecordingRow
from vprtrain.voiceprints.user import MAX_NAME, MAX_PURPOSE

MODEL = "ab" * 32
NewPlace = Callable[[], str]


def embedding(seed: int, dimension: int = 192) -> np.ndarray:
    return 3 * np.random.default_rng(seed).standard_normal(dimension).astype("float32")


def unit(vector: np.ndarray) -> np.ndarray:
    exact = vector.astype(np.float64)
    return exact / np.linalg.norm(exact)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    started = PostgresServer()
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> NewPlace:
    """Gives the location of an empty database."""
    if request.param == "postgres":
        require_postgres()
        return request.getfixturevalue("server").new_database
    numbers = iter(range(100))
    return lambda: str(tmp_path / f"{next(numbers)}.db")


@pytest.fixture
def place(new_place: NewPlace) -> str:
    return new_place()


@pytest.fixture
def voiceprints(place: str) -> Iterator[Voiceprints]:
    with closing(Voiceprints(place, model=MODEL)) as opened:
        yield opened


def test_users_come_go_and_stay_after_reopening(place: str, voiceprints: Voiceprints) -> None:
    assert voiceprints.nearest(embedding(1)) == (None, NO_SCORE)
    assert voiceprints.add("Ann", embedding(1)) == 1
    assert voiceprints.add("Ann", np.stack([embedding(2), embedding(3)]), purpose="door") == 3
    assert voiceprints.add("声纹", -embedding(4)) == 1
    mean = unit(np.mean([unit(embedding(seed)) for seed in (1, 2, 3)], axis=0))
    for opened in (voiceprints, Voiceprints(place, model=MODEL), Voiceprints(place, model=None)):
        name, score = opened.nearest(embedding(1))
        assert name == "Ann" and score == pytest.approx(float(mean @ unit(embedding(1))), abs=1e-6)
        assert opened.users() == {"Ann": 3, "声纹": 1} and opened.check() == []
        exported = opened.export("Ann")
        assert exported["model"] == MODEL and exported["user"] == "Ann"
        assert [row["purpose"] for row in exported["recordings"]] == ["", "door", "door"]
        assert all(row["enrolled_at"].endswith("Z") for row in exported["recordings"])
        for row, seed in zip(exported["recordings"], (1, 2, 3), strict=True):
            np.testing.assert_array_equal(np.array(row["embedding"], "float32"), embedding(seed))
    assert voiceprints.remove("Ann") and not voiceprints.remove("Ann")
    assert voiceprints.users() == {"声纹": 1} and voiceprints.check() == []
    assert voiceprints.nearest(embedding(4))[1] == pytest.approx(-1, abs=1e-6)
    with pytest.raises(UsageError, match="there is no user 'Ann'"):
        voiceprints.export("Ann")
    assert voiceprints.add("Ann", embedding(5)) == 1
    assert voiceprints.nearest(embedding(5))[0] == "Ann"


GALLERIES = {
    "random": lambda rng: rng.standard_normal((400, 24)),
    "nearly the same": lambda rng: 1 + 1e-4 * rng.standard_normal((400, 24)),
    "the same": lambda rng: np.ones((100, 24)),
    "in pairs": lambda rng: np.repeat(rng.standard_normal((100, 24)), 2, axis=0),
    "within a step of the code": lambda rng: np.eye(24)[0] * 5000 + rng.standard_normal((400, 24)),
}


@pytest.mark.parametrize("kind", GALLERIES)
def test_the_search_is_exact(place: str, voiceprints: Voiceprints, kind: str) -> None:
    """As an exhaustive one in float64, the first of equal users included."""
    rng = np.random.default_rng(1)
    vectors = [unit(row).astype(np.float32) for row in GALLERIES[kind](rng)]
    with voiceprints._transaction(write=True):
        for number, vector in enumerate(vectors):
            key = voiceprints._store.insert(
                f"user {number}", encode(vector[None]).tobytes(), vector.tobytes()
            )
            voiceprints._store.note_change(key)
    exact = np.stack(vectors).astype(np.float64)
    for probe in (*vectors[::20], *(-vectors[0], rng.standard_normal(24), np.eye(24)[0])):
        (probe_unit,) = unit_vectors(probe[None], [""])
        scores = (exact * probe_unit).sum(axis=1)
        found, score = voiceprints.nearest(probe)
        assert found == f"user {scores.argmax()}"
        assert score == min(max(float(scores.max()), -1.0), 1.0)


def test_several_connections_see_each_others_changes_at_once(
    place: str, voiceprints: Voiceprints
) -> None:
    rng = np.random.default_rng(0)
    present: set[int] = set()
    with closing(Voiceprints(place, model=MODEL)) as other:
        for step in range(60):
            pair = (voiceprints, other)
            writer, reader = pair if rng.random() < 0.5 else pair[::-1]
            seed = int(rng.integers(12))
            if rng.random() < 0.3:
                assert writer.remove(f"user {seed}") == (seed in present)
                present.discard(seed)
            elif seed not in present:
                writer.add(f"user {seed}", embedding(seed))
                present.add(seed)
            for probe in (seed, int(rng.integers(12))):
                found, score = reader.nearest(embedding(probe))
                assert (found == f"user {probe}" and score > 0.999) == (probe in present), step
                assert writer.nearest(embedding(probe)) == (found, score)


def test_ping_asks_the_database(place: str, voiceprints: Voiceprints) -> None:
    for _ in range(2):
        voiceprints.ping()
        voiceprints.add("Ann", embedding(1))
    voiceprints.close()
    with pytest.raises(RunError, match="open it again"):
        voiceprints.ping()


def test_threads_of_several_connections_enrol_one_user(place: str) -> None:
    """Their changes come one after the other: the voiceprint is the mean of all."""

    def work(number: int) -> None:
        try:
            with closing(Voiceprints(place, model=MODEL)) as own:
                for turn in range(10):
                    own.add("Ann", embedding(10 * number + turn))
                    assert own.nearest(embedding(0))[0] == "Ann"
        except BaseException as error:
            errors.append(error)

    errors: list[BaseException] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with closing(Voiceprints(place, model=None)) as opened:
        assert opened.users() == {"Ann": 40} and opened.check() == []


def test_an_enrolment_that_fails_leaves_nothing(voiceprints: Voiceprints) -> None:
    voiceprints.add("Ann", embedding(1))
    for rows in (np.zeros(192), np.stack([embedding(2), np.full(192, np.nan)])):
        with pytest.raises(ScoringError):
            voiceprints.add("Bob", rows)
    with pytest.raises(UsageError, match="192 values, these have 8"):
        voiceprints.add("Bob", embedding(1, dimension=8))
    for purpose in ("x" * (MAX_PURPOSE + 1), "a\nb", None):
        with pytest.raises(UsageError, match="a purpose"):
            voiceprints.add("Bob", embedding(1), purpose=purpose)
    assert voiceprints.users() == {"Ann": 1} and voiceprints.check() == []


def test_another_models_database_is_refused(place: str, voiceprints: Voiceprints) -> None:
    with pytest.raises(UsageError, match="another model") as refused:
        Voiceprints(place, model="cd" * 32)
    assert "secret" not in str(refused.value)
    assert Voiceprints(place, model=None).model == MODEL


def test_names_are_data(voiceprints: Voiceprints) -> None:
    names = ["../..", "Ann'; DROP TABLE users; --", '"', "%s", "null", "👩‍👩‍👧", "x" * MAX_NAME]
    for seed, name in enumerate(names):
        voiceprints.add(name, embedding(seed), purpose=name)
    assert voiceprints.users().keys() == set(names)
    for seed, name in enumerate(names):
        assert voiceprints.nearest(embedding(seed))[0] == name
        assert voiceprints.export(name)["recordings"][0]["purpose"] == name
        assert voiceprints.remove(name)
    assert voiceprints.users() == {}


def test_users_are_found_by_the_age_of_their_newest_recording(voiceprints: Voiceprints) -> None:
    for name, times in {
        "old": ["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"],
        "renewed": ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"],
    }.items():
        voiceprints.add(name, embedding(len(times)))
        with voiceprints._transaction(write=True):
            key = voiceprints._store.find(name)
            voiceprints._store.erase(key)
            vector = unit(embedding(1)).astype("float32")
            key = voiceprints._store.insert(name, encode(vector[None]).tobytes(), vector.tobytes())
            rows = [RecordingRow(vector.tobytes(), time, "") for time in times]
            voiceprints._store.record(key, rows)
            voiceprints._store.note_change(key)
    voiceprints.add("new", embedding(3))
    assert voiceprints.users(older_than=365) == {"old": 2}
    assert voiceprints.users(older_than=0.5) == {"old": 2}
    assert voiceprints.users(older_than=-1) == {"new": 1, "old": 2}
    assert voiceprints.users(older_than=36500) == {}
    for days in (float("nan"), float("inf"), 1e9):
        with pytest.raises(UsageError, match="days"):
            voiceprints.users(older_than=days)


def test_below_the_threshold_nobody_is_the_nearest(voiceprints: Voiceprints) -> None:
    assert voiceprints.nearest(embedding(0), threshold=-1.0) == (None, NO_SCORE)
    voiceprints.add("Ann", embedding(0))
    _, score = voiceprints.nearest(embedding(1))
    assert voiceprints.nearest(embedding(1), threshold=score) == ("Ann", score)
    assert voiceprints.nearest(embedding(1), threshold=np.nextafter(score, 2)) == (None, score)


def test_the_voiceprint_of_a_user(voiceprints: Voiceprints) -> None:
    voiceprints.add("Ann", np.stack([embedding(0), embedding(1)]))
    found = voiceprints.voiceprint(" Ann")
    assert found.dtype == np.float32 and found.tolist() == voiceprints.export("Ann")["voiceprint"]
    with pytest.raises(UsageError, match="there is no user 'Bob'"):
        voiceprints.voiceprint("Bob")


def test_compacting_changes_nothing_that_is_seen(voiceprints: Voiceprints) -> None:
    for seed in range(30):
        voiceprints.add(f"user {seed}", np.stack([embedding(seed), embedding(100 + seed)]))
    for seed in range(0, 30, 2):
        voiceprints.remove(f"user {seed}")
    before = [voiceprints.export(user) for user in voiceprints.users()]
    voiceprints.compact()
    assert [voiceprints.export(user) for user in voiceprints.users()] == before
    assert voiceprints.check() == [] and len(before) == 15
    voiceprints.add("user 0", embedding(0))
    assert voiceprints.nearest(embedding(0))[0] == "user 0"


def rows_of(place: str) -> list[tuple[object, ...]]:
    """All that is stored, in the order of enrolment."""
    found = []
    with closing(Voiceprints(place, model=None)) as opened, opened._transaction():
        for rows in opened._store.codes():
            for key, name, code in rows:
                ((_, _, voiceprint),) = opened._store.voiceprints([key])
                found.append((name, code, voiceprint, *opened._store.recordings(key)))
    return found


def test_a_copy_and_a_copy_of_it_are_the_same_to_the_bit(
    tmp_path: Path, server: PostgresServer
) -> None:
    """From SQLite to PostgreSQL and back. The values are the odd ones of float32 too."""
    original, copy, back = tmp_path / "a.db", server.new_database(), tmp_path / "b.db"
    odd = embedding(0)
    odd[:6] = [-0.0, 0.0, 1e-45, -1e-40, 3e-39, np.finfo(np.float32).tiny]
    with closing(Voiceprints(original, model=MODEL)) as source:
        source.add("odd", odd, purpose="它是一个目的")
        for seed in (5, 3, 9):
            source.add(f"user {seed}", np.stack([embedding(seed), 1e-20 * embedding(seed + 1)]))
        source.remove("user 3")
        source.add("user 5", embedding(1), purpose="later")
        with closing(Voiceprints(copy, model=source.model)) as target:
            assert source.copy_to(target) == 3
            assert target.check() == []
            assert target.nearest(odd) == source.nearest(odd)
            with closing(Voiceprints(back, model=target.model)) as last:
                assert target.copy_to(last) == 3
                assert last.check() == []
                with pytest.raises(UsageError, match="has users already"):
                    source.copy_to(last)
            with pytest.raises(UsageError, match="another model"):
                source.copy_to(Voiceprints(tmp_path / "c.db", model="cd" * 32))
    stored = rows_of(str(original))
    assert len(stored) == 3 and stored == rows_of(copy) == rows_of(str(back))


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, new_place: NewPlace) -> None:
    with closing(Voiceprints(tmp_path / "bad.db", model=MODEL)) as source:
        for seed in range(5):
            source.add(f"user {seed}", embedding(seed))
    db = sqlite3.connect(tmp_path / "bad.db")
    db.execute("UPDATE recordings SET embedding = x'00' WHERE user = 5")
    db.commit()
    db.close()
    with (
        closing(Voiceprints(tmp_path / "bad.db", model=None)) as source,
        closing(Voiceprints(new_place(), model=MODEL)) as target,
    ):
        with pytest.raises(RunError, match="damaged"):
            source.copy_to(target)
        assert target.users() == {} and target.nearest(embedding(1)) == (None, NO_SCORE)


def test_the_users_nearby_are_those_with_the_highest_cosines(voiceprints: Voiceprints) -> None:
    rng = np.random.default_rng(0)
    vectors = {f"user {number}": rng.standard_normal(192) for number in range(150)}
    for name, vector in vectors.items():
        voiceprints.add(name, vector.astype(np.float32))
    voiceprints.add("twin", vectors["user 0"].astype(np.float32))
    for name in list(vectors)[::9]:
        voiceprints.remove(name)
        del vectors[name]
    vectors["twin"] = voiceprints.voiceprint("twin")
    probe = rng.standard_normal(192)
    scores = {name: float(unit(vector) @ unit(probe)) for name, vector in vectors.items()}
    order = sorted(scores, key=scores.__getitem__, reverse=True)
    for count in (1, 7, 70, 1000):
        found = voiceprints.nearby(probe, count)
        assert [each.user for each in found] == order[:count]
        for each in found:
            assert each.score == pytest.approx(scores[each.user], abs=1e-6)
            np.testing.assert_array_equal(each.voiceprint, voiceprints.voiceprint(each.user))
    assert voiceprints.nearest(probe) == (found[0].user, found[0].score)
