"""After any failure or kill during a write, a path has either the old content or the new content,
and nothing else is left."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vprtrain import files


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Every name below a folder: a file's bytes, a link's target, ``None`` for a folder."""

    def of(path: Path) -> bytes | str | None:
        if path.is_symlink():
            return os.readlink(path)
        return path.read_bytes() if path.is_file() else None

    return {str(path.relative_to(folder)): of(path) for path in sorted(folder.rglob("*"))}


def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, *, after: int = 0) -> None:
    """Make ``os.<name>`` fail from call number ``after`` on, counted from 0."""
    real, calls = getattr(os, name), iter(range(1_000_000))

    def call(*arguments, **options):
        if next(calls) >= after:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, call)


def test_sha256_is_the_standard_one() -> None:
    assert (
        files.sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("sizes", [(0,), (3, 2 << 20, 5), (1 << 20, 1 << 20)])
def test_the_digest_of_pieces_is_that_of_the_file(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    pieces = [random.Random(size).randbytes(size) for size in sizes]

    def write(writer: files.DigestingWriter) -> None:
        for piece in pieces:
            writer.write(piece)

    digest = files.write_synced(tmp_path / "a", write)
    assert digest == files.sha256(b"".join(pieces)) == files.file_sha256(tmp_path / "a")
    assert digest == files.content_sha256(write)


def test_a_file_is_replaced_and_no_other_name_remains(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"old")
    files.write_atomic(tmp_path / "a", b"new")
    assert content(tmp_path) == {"a": b"new"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failed_replacement_leaves_the_old_file_alone(
    tmp_path, monkeypatch, name: str, code: int
) -> None:
    files.write_atomic(tmp_path / "a", b"old")
    failing(monkeypatch, name, code)
    with pytest.raises(OSError, match=os.strerror(code)):
        files.write_atomic(tmp_path / "a", b"new")
    assert content(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("name", "after"), [("fsync", 0), ("fsync", 1), ("fsync", 2), ("rename", 0), ("mkdir", 0)]
)
def test_a_folder_that_could_not_be_written_leaves_nothing(
    tmp_path, monkeypatch, name, after, code
) -> None:
    failing(monkeypatch, name, code, after=after)
    with pytest.raises(OSError, match=os.strerror(code)):
        files.write_folder(tmp_path / "epoch_1", {"a": b"1", "b": b"2"})
    assert content(tmp_path) == {}


def test_a_folder_is_whole_even_where_its_name_could_not_be_made_durable(
    tmp_path, monkeypatch
) -> None:
    failing(monkeypatch, "fsync", errno.EIO, after=3)  # after two files and the folder: the parent
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        files.write_folder(tmp_path / "epoch_1", {"a": b"1", "b": b"2"})
    assert content(tmp_path) == {"epoch_1": None, "epoch_1/a": b"1", "epoch_1/b": b"2"}


WRITE_TOO_MUCH = """
import resource, runpy, signal, sys
from pathlib import Path
from types import SimpleNamespace
files = SimpleNamespace(**runpy.run_path(sys.argv[2]))  # files.py imports nothing of the package
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder, big = Path(sys.argv[1]), b"x" * 300_000
for write in (lambda: files.write_atomic(folder / "a", big),
              lambda: files.write_folder(folder / "epoch_2", {"small": b"1", "big": big})):
    try:
        write()
    except OSError as error:
        print(error.errno)
"""


def test_a_write_that_the_system_cuts_short_leaves_the_old_content(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"old")
    command = [sys.executable, "-c", WRITE_TOO_MUCH, tmp_path, files.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(errno.EFBIG)] * 2
    assert content(tmp_path) == {"a": b"old"}


def test_a_folder_is_not_written_over_another(tmp_path: Path) -> None:
    files.write_folder(tmp_path / "epoch_1", {"a": b"1"})
    with pytest.raises(OSError, match=r"not empty|exists"):
        files.write_folder(tmp_path / "epoch_1", {"a": b"2"})
    assert content(tmp_path) == {"epoch_1": None, "epoch_1/a": b"1"}


def test_what_a_killed_writer_left_is_not_in_the_way(tmp_path: Path) -> None:
    for name in (".tmp-epoch_1", ".tmp-removed-epoch_1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_bytes(b"x")
    files.write_folder(tmp_path / "epoch_1", {"a": b"1"})
    files.remove_tree(tmp_path / "epoch_1")
    assert content(tmp_path) == {}


class Killed(BaseException):
    """Stands for a kill of the process."""


@pytest.mark.parametrize("calls", range(4))
def test_no_part_of_a_removed_folder_is_ever_under_its_name(
    tmp_path, monkeypatch, calls: int
) -> None:
    files.write_folder(tmp_path / "epoch_1", {"a": b"1", "b": b"2", "c": b"3"})
    seen: list[set[str]] = []
    real = os.unlink

    def unlink(*arguments, **options):
        seen.append({path.name for path in tmp_path.glob("epoch_1/*")})
        if len(seen) > calls:
            raise Killed
        real(*arguments, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    if calls < 3:
        with pytest.raises(Killed):
            files.remove_tree(tmp_path / "epoch_1")
    else:
        files.remove_tree(tmp_path / "epoch_1")
    assert seen == [set()] * min(calls + 1, 3)
    monkeypatch.undo()
    files.remove_leftovers(tmp_path)
    assert content(tmp_path) == {}


def test_removing_what_is_not_there_is_no_fault(tmp_path: Path) -> None:
    files.remove_tree(tmp_path / "epoch_1")
    assert content(tmp_path) == {}


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "epoch_1").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"mine")
    (tmp_path / ".tmp-last_model").symlink_to("epoch_1")
    (tmp_path / ".tmp-dangling").symlink_to("nowhere")
    (tmp_path / ".tmp-model.state").write_bytes(b"half")
    (tmp_path / ".tmp-epoch_2").mkdir()
    (tmp_path / ".tmp-epoch_2" / "a").write_bytes(b"half")
    files.remove_leftovers(tmp_path)
    assert content(tmp_path) == {"epoch_1": None, "notes.txt": b"mine"}


@pytest.mark.parametrize("name", ["symlink", "replace"])
def test_a_failed_swap_leaves_the_link_as_it_was(tmp_path, monkeypatch, name: str) -> None:
    files.point_link(tmp_path / "last_model", "epoch_1")
    failing(monkeypatch, name, errno.ENOSPC)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        files.point_link(tmp_path / "last_model", "epoch_2")
    assert content(tmp_path) == {"last_model": "epoch_1"}


def test_a_real_folder_in_a_links_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "last_model").mkdir()
    with pytest.raises(IsADirectoryError):
        files.point_link(tmp_path / "last_model", "epoch_1")
    assert content(tmp_path) == {"last_model": None}


PATIENCE = 120.0
"""Seconds: far more than is needed, so that only a hang exceeds it."""

READ_UNTIL_MUCH_HAS_CHANGED = """
import sys
from pathlib import Path
file = Path(sys.argv[1]) / "a"
reads = changes = misses = 0
last = ""
while changes < 20 or reads < 500:
    try:
        found = file.read_text()
    except OSError:
        misses += 1
    else:
        changes += found != last
        last = found
    reads += 1
print(misses)
"""


def test_a_link_that_is_swapped_always_leads_somewhere(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files.write_folder(tmp_path / name, {"a": name.encode()})
    files.point_link(tmp_path / "last_model", "one")
    command = [sys.executable, "-S", "-c", READ_UNTIL_MUCH_HAS_CHANGED, tmp_path / "last_model"]
    deadline = time.monotonic() + PATIENCE
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            while reader.poll() is None:
                assert time.monotonic() < deadline
                for target in ("two", "one"):
                    files.point_link(tmp_path / "last_model", target)
        finally:
            reader.kill()
        assert reader.communicate() == ("0\n", None)


def test_readers_of_a_replaced_file_see_one_content_or_the_other(tmp_path: Path) -> None:
    contents = [b"1" * 70_000, b"2" * 50_000]
    files.write_atomic(tmp_path / "a", contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((tmp_path / "a").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    deadline, swaps = time.monotonic() + PATIENCE, 0
    while (swaps < 100 or len(seen) < 2) and time.monotonic() < deadline:
        swaps += 1
        files.write_atomic(tmp_path / "a", contents[swaps % 2])
    done.set()
    reader.join(timeout=PATIENCE)
    assert seen == set(contents)


def test_only_a_regular_file_of_the_expected_size_is_read(tmp_path: Path) -> None:
    """A pipe would wait for ever, a device has no end, and a sparse file has any size."""
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read_file(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, expected at most 4"):
        files.read_file(tmp_path / "a", 4)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(2**40)
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "sparse", "expected at most"),
        (tmp_path / "pipe", "not a file"),
        (Path("/dev/zero"), "not a file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(OSError, match=said):
            files.read_file(path, 2**30)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b"-Infinity", "-Infinity is not a number"),
        (b"{", "Expecting"),
        (b"\xff\xfe\xfa", "codec"),
        (b"1" * 5000, "digits"),
    ],
)
def test_a_text_that_is_not_json_is_a_value_error(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        files.parse_json(text)
    assert files.parse_json(b'{"a": [1, NaN]}', lambda name: None) == {"a": [1, None]}
