"""A database of a stranger, and a database that cannot be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from limited import DEADLINE, run_limited

from vprtrain.errors import RunError, UsageError
from vprtrain.files import open_file
from vprtrain.voiceprints import file_access, sqlite_file
from vprtrain.voiceprints.database import Voiceprints

MODEL = "ab" * 32
DIMENSION = 192


def embedding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype("float32")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of three users."""
    made = tmp_path / "voiceprints.db"
    voiceprints = Voiceprints(made, model=MODEL)
    for number, name in enumerate(("ann", "bob", "eve")):
        voiceprints.add(name, embedding(number))
    voiceprints.close()
    return made


def changed(path: Path, *statements: str) -> Path:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()
    return path


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT "
SCHEMAS = {
    "an endless view": (
        "ALTER TABLE users RENAME TO hidden",
        f"CREATE VIEW users AS {ENDLESS} x AS id, 'ann' AS name, x'00' AS code FROM n",
    ),
    "a trigger that keeps what is removed": (
        "CREATE TABLE kept (name, code)",
        "CREATE TRIGGER keep BEFORE DELETE ON users BEGIN "
        "INSERT INTO kept VALUES (old.name, old.code); END",
    ),
    "a trigger alone": (
        "CREATE TRIGGER undo AFTER DELETE ON users BEGIN INSERT INTO users "
        "VALUES (old.id, old.name, old.code); END",
    ),
    "a table more": ("CREATE TABLE more (x)",),
    "an index more": ("CREATE INDEX more ON users (code)",),
    "an index of an expression": ("CREATE INDEX more ON users (hex(code))",),
    "a column more": ("ALTER TABLE users ADD COLUMN more",),
    "a generated column": ("ALTER TABLE users ADD COLUMN more AS (hex(code))",),
    "a table less": ("DROP TABLE changes",),
    "an index less": ("DROP INDEX recordings_of_user",),
    "many views": tuple(f"CREATE VIEW v{number} AS SELECT 1" for number in range(50)),
}


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("model", [MODEL, None])
def test_a_schema_of_its_own_is_refused(path: Path, kind: str, model: str | None) -> None:
    changed(path, *SCHEMAS[kind])
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is not a database that vprtrain made") as raised:
        Voiceprints(path, model=model)
    assert "\n" not in str(raised.value) and path.read_bytes() == before


def float32(*values: float) -> str:
    return "x'" + np.array(values, "<f4").tobytes().hex() + "'"


def code(step: float = 1 / 127, error: float = 1e-4, values: bytes = b"\x7f") -> str:
    """A code in SQL: by default that of the vector (1, 0, 0...)."""
    head = np.array([step, error], "<f4").tobytes()
    return f"x'{(head + values.ljust(DIMENSION, bytes(1))).hex()}'"


NAN = float32(*[float("nan")] * DIMENSION)
OF_ANN, OF_BOB = (
    "UPDATE voiceprints SET voiceprint = {} WHERE user = 1",
    ("UPDATE users SET code = {} WHERE name = 'bob'"),
)
ROWS = {
    "NaN": OF_ANN.format(NAN),
    "infinity": OF_ANN.format(float32(*[float("inf")] * DIMENSION)),
    "another length": OF_ANN.format(float32(*[1.0] * DIMENSION)),
    "zeros": OF_ANN.format(f"zeroblob({4 * DIMENSION})"),
    "one value": OF_ANN.format(float32(1)),
    "other values": OF_ANN.format(float32(0, 1)),
    "part of a value": OF_ANN.format("x'000000'"),
    "nothing": OF_ANN.format("x''"),
    "a text": OF_ANN.format("'text'"),
    "a number": OF_ANN.format("7"),
    "a code with a step of NaN": OF_BOB.format(code(step=float("nan"))),
    "a code with an infinite step": OF_BOB.format(code(step=float("inf"))),
    "a code with a negative step": OF_BOB.format(code(step=-1 / 127)),
    "a code of another length": OF_BOB.format(code(step=1 / 64)),
    "a code with an error of NaN": OF_BOB.format(code(error=float("nan"))),
    "a code with an infinite error": OF_BOB.format(code(error=float("inf"))),
    "a code with a negative error": OF_BOB.format(code(error=-1e-4)),
    "a code with an error beyond its step": OF_BOB.format(code(error=0.9)),
    "a code of zeros": OF_BOB.format(f"zeroblob({DIMENSION + 8})"),
    "a code of fewer values": OF_BOB.format("x'000000000000000001'"),
    "no code": OF_BOB.format("x''"),
    "codes of nothing": "UPDATE users SET code = zeroblob(8)",
    "a text as a code": OF_BOB.format("'text'"),
    "a number as a code": OF_BOB.format("7"),
    "a name of control characters": "UPDATE users SET name = char(27) || '[2J' WHERE name = 'bob'",
    "a long name": "UPDATE users SET name = hex(zeroblob(500)) WHERE name = 'bob'",
    "an empty name": "UPDATE users SET name = '' WHERE name = 'bob'",
    "a name of bytes": "UPDATE users SET name = x'ff' WHERE name = 'bob'",
    "a name that is not UTF-8": "UPDATE users SET name = CAST(x'ff' AS TEXT) WHERE name = 'bob'",
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_that_is_no_voiceprint_is_refused_and_does_not_hide_others(
    path: Path, kind: str
) -> None:
    """The code of any user, and the voiceprint of one whom the search finds."""
    voiceprints = Voiceprints(changed(path, ROWS[kind]), model=MODEL)
    with pytest.raises(RunError) as raised:
        voiceprints.nearest(embedding(0))
    said = str(raised.value)
    assert said.startswith(str(path)) and "\n" not in said and "\x1b" not in said
    assert len(said) < 500
    voiceprints.close()


@pytest.mark.parametrize(
    "value", ["7", "'text'", "x''", "x'000000'", NAN, float32(1), "zeroblob(20)"]
)
def test_a_recording_that_is_no_embedding_is_refused(path: Path, value: str) -> None:
    changed(path, f"UPDATE recordings SET embedding = {value} WHERE user = 1")
    voiceprints = Voiceprints(path, model=MODEL)
    calls = [lambda: voiceprints.add("ann", embedding(9)), voiceprints.check]
    if value in ("7", "'text'", "x''", "x'000000'", NAN):
        calls.append(lambda: voiceprints.export("ann"))
    for call in calls:
        with pytest.raises((RunError, UsageError)) as raised:
            if problems := call():
                raise UsageError(str(problems))
        assert "\n" not in str(raised.value)
    assert voiceprints.users() == {"ann": 1, "bob": 1, "eve": 1}
    voiceprints.close()


def test_a_bad_user_can_be_removed(path: Path) -> None:
    for name, kind in (("ann", "NaN"), ("bob", "a code with a step of NaN")):
        voiceprints = Voiceprints(changed(path, ROWS[kind]), model=MODEL)
        with pytest.raises(RunError):
            voiceprints.nearest(embedding(0))
        assert voiceprints.remove(name)
        voiceprints.close()
    voiceprints = Voiceprints(path, model=MODEL)
    assert voiceprints.nearest(embedding(2))[0] == "eve" and voiceprints.check() == []
    voiceprints.close()


def test_a_code_that_is_not_that_of_the_voiceprint_is_found(path: Path) -> None:
    voiceprints = Voiceprints(changed(path, OF_BOB.format(code())), model=MODEL)
    (problem,) = voiceprints.check()
    assert problem == "the code of 'bob' is not that of the voiceprint"
    voiceprints.close()


ENDLESS_TABLE = """
from pathlib import Path
from vprtrain.errors import RunError
from vprtrain.voiceprints.database import Voiceprints
voiceprints = Voiceprints(Path(sys.argv[1]), model=None)
try:
    voiceprints.users()
except RunError as error:
    print(error)
"""


def test_pages_in_a_circle_have_an_end(path: Path) -> None:
    """Every child of an inner page is the same page, for eight levels: 40^8 rows and more."""
    voiceprints = Voiceprints(path, model=MODEL)
    voiceprints._store._db.execute("PRAGMA synchronous = OFF")
    for number in range(800):
        voiceprints.add(f"user {number}", embedding(number))
    voiceprints._store._db.execute("VACUUM")
    voiceprints.close()
    db = sqlite3.connect(path)
    (size,) = db.execute("PRAGMA page_size").fetchone()
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'users'").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    start = (root - 1) * size
    assert data[start] == 5  # an inner page of a table
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    first = int.from_bytes(data[start + 12 : start + 14], "big")
    child = int.from_bytes(data[start + first : start + first + 4], "big")
    chain = [child]
    assert cells > 30 and data[(child - 1) * size] == 13  # children are leaves
    for _ in range(8):  # eight inner pages, each with its cells on the next one
        page = bytearray(data[start : start + size])
        for cell in range(cells):
            at = int.from_bytes(page[12 + 2 * cell : 14 + 2 * cell], "big")
            page[at : at + 4] = chain[-1].to_bytes(4, "big")
        page[8:12] = chain[-1].to_bytes(4, "big")
        data += page
        chain.append(len(data) // size)
    data[start : start + size] = data[(chain[-1] - 1) * size : chain[-1] * size]
    data[28:32] = (len(data) // size).to_bytes(4, "big")
    path.write_bytes(data)
    said, _ = run_limited(ENDLESS_TABLE, path)
    assert "damaged" in said and "\n" not in said


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_others_may_change_is_taken_from_them(
    path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path.chmod(mode)
    Voiceprints(path, model=MODEL).close()
    assert f"had the mode {mode:o}" in caplog.text and "its mode is 600 now" in caplog.text
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_file_that_others_may_read_is_said_to_be_one(
    path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path.chmod(mode)
    Voiceprints(path, model=MODEL).close()
    assert f"has the mode {mode:o}" in caplog.text and "can read the voiceprints" in caplog.text
    assert "chmod 600" in caplog.text and path.stat().st_mode & 0o777 == mode


def test_searches_without_a_change_never_use_up_their_steps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite counts the steps of a statement over all its uses: 200,000 searches used them up."""
    monkeypatch.setattr(sqlite_file, "_STEPS_BETWEEN_CHECKS", 100)
    monkeypatch.setattr(sqlite_file, "_LEAST_STEPS", 2000)
    monkeypatch.setattr(sqlite_file, "_STEPS_PER_BYTE", 0)
    voiceprints = Voiceprints(path, model=MODEL)
    for _ in range(2000):
        assert voiceprints.nearest(embedding(0))[0] == "ann"
    voiceprints.close()


def test_a_file_of_ones_own_is_not_mentioned(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Voiceprints(path, model=MODEL).close()
    assert not caplog.text


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for model in (MODEL, None):
        with pytest.raises(UsageError, match="is not a file"):
            Voiceprints(tmp_path / "pipe", model=model)
        with pytest.raises(UsageError, match="is not a file"):
            Voiceprints("/dev/zero", model=model)


READ_ONLY = """
import os
import sys
import numpy as np
import numpy.random  # while the folder of Python's modules can be read
from vprtrain.errors import RunError
from vprtrain.voiceprints.database import Voiceprints
path = sys.argv[1]
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not bind the superuser
for model in (None, "ab" * 32):
    voiceprints = Voiceprints(path, model=model)
    assert voiceprints.users() == {"ann": 1, "bob": 1, "eve": 1}
    probe = np.random.default_rng(1).standard_normal(192).astype("float32")
    assert voiceprints.nearest(probe)[0] == "bob"
    assert voiceprints.check() == []
    assert voiceprints.export("ann")["user"] == "ann"
    for change in (lambda: voiceprints.add("zoe", probe), lambda: voiceprints.remove("ann")):
        try:
            change()
        except RunError as error:
            assert "readonly" in str(error), error
        else:
            raise AssertionError("it was written")
    voiceprints.close()
print("read")
"""


READ_LATER = """
import os
import sys
from vprtrain.voiceprints.database import Voiceprints
if os.geteuid() == 0:
    os.seteuid(65534)
voiceprints = Voiceprints(sys.argv[1], model=None)
for line in sys.stdin:
    print(*voiceprints.users(), voiceprints._store._db.is_outdated(), flush=True)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine can enter: pytest's own are for one user."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("what", ["the file", "the folder", "both"])
def test_a_database_that_cannot_be_written_is_read(
    path: Path, open_folder: Path, what: str
) -> None:
    """By a user without the right to write."""
    shared = open_folder / "shared"
    shared.mkdir()
    copy = Path(shutil.copy(path, shared / "voiceprints.db"))
    copy.chmod(0o444 if what != "the folder" else 0o666)
    shared.chmod(0o555 if what != "the file" else 0o777)
    before = copy.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(copy)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.stdout == "read\n", done.stderr
    assert copy.read_bytes() == before and [*shared.iterdir()] == [copy]
    shared.chmod(0o755)


def test_a_reader_that_cannot_write_sees_later_changes(path: Path, open_folder: Path) -> None:
    """Those of a process that closed the file, and those of one that has it open."""
    copy = Path(shutil.copy(path, open_folder / "voiceprints.db"))
    copy.chmod(0o644)
    with subprocess.Popen(
        [sys.executable, "-c", READ_LATER, str(copy)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:

        def seen() -> str:
            reader.stdin.write("users\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert seen() == "ann bob eve False"
        writer = Voiceprints(copy, model=MODEL)
        writer.add("zoe", embedding(7))
        writer.close()
        assert seen() == "ann bob eve zoe False"
        writer = Voiceprints(copy, model=MODEL)
        writer.remove("ann")
        assert seen() == "bob eve zoe False"
        writer.add("ida", embedding(8))
        assert seen() == "bob eve ida zoe False"
        writer.close()
        assert seen() == "bob eve ida zoe False"
        reader.stdin.close()
        assert reader.wait(DEADLINE) == 0


def journal_naming(victim: Path, database: Path) -> bytes:
    """A hot rollback journal that names a file as the super-journal of several databases."""
    data = database.read_bytes()
    page_size = int.from_bytes(data[16:18], "big")
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(victim)
    header = magic + struct.pack(">IIIII", 0, 1, len(data) // page_size, 512, page_size)
    return (
        header.ljust(512, b"\0")
        + struct.pack(">I", 0x40000000 // page_size + 1)
        + name
        + struct.pack(">II", len(name), sum(name))
        + magic
    )


def test_a_journal_deletes_no_other_file(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "thesis.txt"
    victim.write_text("mine")
    path.with_name("voiceprints.db-journal").write_bytes(journal_naming(victim, path))
    with pytest.raises(UsageError, match="is not a journal that vprtrain made") as refusal:
        Voiceprints(path, model=MODEL)
    assert "\n" not in str(refusal.value)
    assert victim.read_text() == "mine"


def test_a_journal_that_is_gone_when_it_is_read_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the tables of the same new file."""
    journal = path.with_name("voiceprints.db-journal")
    journal.write_bytes(b"half a journal")

    def gone(name: Path) -> object:
        journal.unlink()
        return open_file(name)

    monkeypatch.setattr(file_access, "open_file", gone)
    Voiceprints(path, model=MODEL).close()
    assert not journal.exists()


def test_a_pipe_as_a_journal_does_not_hang(path: Path) -> None:
    os.mkfifo(path.with_name("voiceprints.db-journal"))
    with pytest.raises(UsageError, match="is not a journal that vprtrain made"):
        Voiceprints(path, model=MODEL)
