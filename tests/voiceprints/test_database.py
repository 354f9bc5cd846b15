"""The database of voiceprints: what it stores and refuses, what a removal leaves, and which
processes see a change."""

from __future__ import annotations

import random
import sqlite3
import stat
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import RunError, UsageError
from vprtrain.scoring.thresholds import ScoringError
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.search import NO_SCORE
from vprtrain.voiceprints.user import MAX_NAME, checked_name

MODEL = "ab" * 32


def embedding(seed: int, dimension: int = 192) -> np.ndarray:
    return 3 * np.random.default_rng(seed).standard_normal(dimension).astype("float32")


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "voiceprints.db"


@pytest.fixture
def voiceprints(path: Path) -> Iterator[Voiceprints]:
    opened = Voiceprints(path, model=MODEL)
    yield opened
    opened.close()


def test_a_user_is_the_mean_of_the_recordings_at_length_one(voiceprints: Voiceprints) -> None:
    recordings = [embedding(1), 7 * embedding(2), embedding(3)]
    assert voiceprints.add("Ann", recordings[0]) == 1
    assert voiceprints.add("Ann", np.stack(recordings[1:])) == 3
    voiceprints.add("Bob", embedding(4))
    mean = np.mean([unit(each) for each in recordings], axis=0)
    name, score = voiceprints.nearest(embedding(1))
    assert name == "Ann" and score == pytest.approx(
        float(unit(mean) @ unit(embedding(1))), abs=1e-6
    )
    assert voiceprints.users() == {"Ann": 3, "Bob": 1}
    assert voiceprints.check() == []


def test_scores_have_a_sign(voiceprints: Voiceprints) -> None:
    assert voiceprints.nearest(embedding(1)) == (None, NO_SCORE)
    voiceprints.add("Ann", -embedding(1))
    name, score = voiceprints.nearest(embedding(1))
    assert name == "Ann" and score == pytest.approx(-1, abs=1e-6)


def test_everything_is_there_again_after_reopening(path: Path, voiceprints: Voiceprints) -> None:
    for seed in range(30):
        voiceprints.add(f"user {seed}", np.stack([embedding(seed), embedding(seed + 100)]))
    before = voiceprints.nearest(embedding(7))
    voiceprints.close()
    again = Voiceprints(path, model=MODEL)
    assert again.nearest(embedding(7)) == before and before[0] == "user 7"
    assert again.users() == {f"user {seed}": 2 for seed in range(30)}
    exported = again.export("user 7")
    assert exported["model"] == MODEL and exported["user"] == "user 7"
    for recording, seed in zip(exported["recordings"], (7, 107), strict=True):
        np.testing.assert_array_equal(np.array(recording["embedding"], "float32"), embedding(seed))
        assert recording["enrolled_at"].endswith("Z")


def test_several_connections_see_each_others_changes_at_once(
    path: Path, voiceprints: Voiceprints
) -> None:
    other = Voiceprints(path, model=MODEL)
    rng = np.random.default_rng(0)
    present: set[int] = set()
    for step in range(120):
        writer, reader = (voiceprints, other) if rng.random() < 0.5 else (other, voiceprints)
        seed = int(rng.integers(20))
        if rng.random() < 0.25:
            assert writer.remove(f"user {seed}") == (seed in present)
            present.discard(seed)
        elif seed not in present:
            writer.add(f"user {seed}", embedding(seed))
            present.add(seed)
        for probe in (seed, int(rng.integers(20))):
            found, score = reader.nearest(embedding(probe))
            assert (found == f"user {probe}" and score > 0.999) == (probe in present), step
            assert writer.nearest(embedding(probe)) == (found, score)
    other.close()


@pytest.mark.parametrize(
    "seed", [14, 27, *(pytest.param(n, marks=pytest.mark.slow) for n in range(8))]
)
def test_a_removed_user_is_in_no_byte_of_any_file(
    path: Path, voiceprints: Voiceprints, seed: int
) -> None:
    """With the seeds 14 and 27, a file of version 1 would keep names if it were not rewritten:
    SQLite leaves copies where it moves entries of an index between pages (secure_delete = ON)."""
    voiceprints._store._db.execute("PRAGMA synchronous = OFF")  # this test has no power cut
    rng = random.Random(seed)
    present: dict[str, list[bytes]] = {}
    for step in range(350):
        if not present or rng.random() >= 0.45:
            name = f"user-{step}-" + "x" * rng.randint(5, 60)
            integers = np.frombuffer(rng.randbytes(768 * rng.randint(1, 3)), "i2").reshape(-1, 384)
            rows = integers.astype("float32")[:, :192]
            voiceprints.add(name, rows)
            present[name] = [
                name.encode(),
                *(row.tobytes()[at : at + 16] for row in rows for at in (0, 376, 752)),
            ]
            continue
        removed = rng.choice(list(present))
        assert voiceprints.remove(removed)
        content = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert not any(part in content for part in present.pop(removed)), (step, removed)
    assert voiceprints.check() == [] and voiceprints.users().keys() == present.keys()


def test_a_removal_that_was_killed_half_way_is_finished_by_the_next(
    path: Path, voiceprints: Voiceprints
) -> None:
    """The rows are deleted, but the write-ahead log still has them."""
    voiceprints.add("Ann", embedding(1))
    assert embedding(1).tobytes() in (path.parent / f"{path.name}-wal").read_bytes()
    with voiceprints._transaction(write=True):
        voiceprints._store.erase(1)
    assert voiceprints.remove("Ann") is False
    assert all(embedding(1).tobytes() not in file.read_bytes() for file in path.parent.iterdir())


def test_an_enrolment_that_fails_leaves_nothing(voiceprints: Voiceprints) -> None:
    voiceprints.add("Ann", embedding(1))
    for rows in (
        np.zeros(192),
        np.stack([embedding(2), np.full(192, np.nan)]),
        np.stack([embedding(2), -embedding(2)]),
    ):
        with pytest.raises(ScoringError):
            voiceprints.add("Bob", rows)
    with pytest.raises(UsageError, match="192 values, these have 8"):
        voiceprints.add("Bob", embedding(1, dimension=8))
    assert voiceprints.users() == {"Ann": 1} and voiceprints.check() == []
    with pytest.raises(ScoringError):
        voiceprints.nearest(np.zeros(192))


NAMES = [
    "../..",
    "/etc/passwd",
    "a b",
    "声纹",
    "Ann'; DROP TABLE users; --",
    '"',
    "null",
    "%s",
    "👩‍👩‍👧",
    "x" * MAX_NAME,
]


def test_names_are_data(path: Path, voiceprints: Voiceprints) -> None:
    for seed, name in enumerate(NAMES):
        voiceprints.add(name, embedding(seed))
    assert set(voiceprints.users()) == set(NAMES)
    assert all(voiceprints.nearest(embedding(seed))[0] == name for seed, name in enumerate(NAMES))
    for name in NAMES:
        assert voiceprints.remove(name)
    assert voiceprints.users() == {}
    assert {file.name for file in path.parent.iterdir()} <= {
        f"{path.name}{end}" for end in ("", "-wal", "-shm")
    }


def test_names_that_look_alike_are_one_user(voiceprints: Voiceprints) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    assert composed != decomposed
    voiceprints.add(composed, embedding(1))
    assert voiceprints.add(f" {decomposed} ", embedding(2)) == 2
    assert voiceprints.users() == {composed: 2}


@pytest.mark.parametrize(
    "name",
    ["", "  ", "a\nb", "a\0b", "\x1b[31m", "a\u2028b", "\udcff", "x" * (MAX_NAME + 1), None, 7],
)
def test_names_that_cannot_be_are_refused(voiceprints: Voiceprints, name: str) -> None:
    for call in (lambda: voiceprints.add(name, embedding(1)), lambda: voiceprints.remove(name)):
        with pytest.raises(UsageError, match="name"):
            call()
    assert voiceprints.users() == {}


@settings(deadline=None)
@given(st.text(max_size=300))
def test_a_name_is_refused_or_stays_what_it_is(name: str) -> None:
    try:
        checked = checked_name(name)
    except UsageError as error:
        assert str(error).isprintable()
        return
    assert checked_name(checked) == checked and checked.encode()


def test_the_file_is_its_owners_only(path: Path, voiceprints: Voiceprints) -> None:
    voiceprints.add("Ann", embedding(1))
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_another_models_database_is_refused(path: Path, voiceprints: Voiceprints) -> None:
    with pytest.raises(UsageError, match="another model"):
        Voiceprints(path, model="cd" * 32)
    assert Voiceprints(path, model=None).users() == {}


def write_foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE users (id INTEGER, name TEXT)")
    db.close()


def write_later(path: Path) -> None:
    Voiceprints(path, model=MODEL).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 3")
    db.close()


def write_truncated(path: Path) -> None:
    voiceprints = Voiceprints(path, model=MODEL)
    for seed in range(50):
        voiceprints.add(f"user {seed}", embedding(seed))
    voiceprints.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))


REFUSED = {
    "text": (lambda path: path.write_text("not a database, " * 100), "not a database"),
    "a foreign database": (write_foreign, "not a database of voiceprints"),
    "a later version": (write_later, "version 3"),
    "a folder": (lambda path: path.mkdir(), "is not a file"),
    "damage": (write_truncated, "damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_database_is_refused_and_left_as_it_is(path: Path, kind: str) -> None:
    write, reason = REFUSED[kind]
    write(path)
    before = path.is_file() and path.read_bytes()
    for model in (MODEL, None):
        with pytest.raises((UsageError, RunError), match=reason) as caught:
            Voiceprints(path, model=model).nearest(embedding(1))
        assert str(path) in str(caught.value)
    assert (path.is_file() and path.read_bytes()) == before


def test_a_missing_file_is_made_only_to_enrol(path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Voiceprints(path, model=None)
    with pytest.raises(UsageError, match="cannot be opened"):
        Voiceprints(path / "x" / "y", model=MODEL)
    assert not path.exists()
    path.touch()  # a process that is killed while it makes the file leaves this
    with pytest.raises(UsageError, match="not a database of voiceprints"):
        Voiceprints(path, model=None)
    assert Voiceprints(path, model=MODEL).users() == {}


def test_a_database_that_others_hold_is_said_to_be_locked(path: Path) -> None:
    voiceprints = Voiceprints(path, model=MODEL, timeout=0.1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunError, match="locked"):
        voiceprints.add("Ann", embedding(1))
    assert voiceprints.nearest(embedding(1)) == (
        None,
        NO_SCORE,
    )  # reading does not wait for the lock
    holder.execute("ROLLBACK")
    assert voiceprints.add("Ann", embedding(1)) == 1
    holder.close()


def test_damage_to_a_voiceprint_is_found(path: Path, voiceprints: Voiceprints) -> None:
    voiceprints.add("Ann", embedding(1))
    voiceprints.add("Bob", embedding(2))
    voiceprints._store._db.execute(
        "UPDATE voiceprints SET voiceprint = zeroblob(768) WHERE user = 2"
    )
    (problem,) = voiceprints.check()
    assert "'Bob'" in problem


def test_threads_share_an_object(voiceprints: Voiceprints) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(15):
                seed = 100 * number + turn
                voiceprints.add(f"user {seed}", embedding(seed))
                assert voiceprints.nearest(embedding(seed))[0] == f"user {seed}"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(voiceprints.users()) == 90 and voiceprints.check() == []


def test_users_are_removed_at_the_same_time(path: Path) -> None:
    """SQLite reports a log as busy while another connection clears it: the removal must wait."""

    def come_and_go(number: int) -> None:
        own = Voiceprints(path, model=MODEL)
        try:
            for turn in range(12):
                own.add(f"u{number}-{turn}", embedding(turn))
                removed.append(own.remove(f"u{number}-{turn}"))
        finally:
            own.close()

    removed: list[bool] = []
    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert removed == [True] * 48


def test_a_closed_database_says_so(voiceprints: Voiceprints) -> None:
    voiceprints.close()
    with pytest.raises(RunError, match="closed database; open it again"):
        voiceprints.users()
