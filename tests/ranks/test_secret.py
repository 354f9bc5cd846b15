"""Where the secret of a run comes from, and which files are not trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vprtrain.errors import RunError, UsageError
from vprtrain.ranks.secret import (
    given_secret,
    new_secret,
    read_secret,
    shared_secret_file,
    write_secret,
)


def test_the_secret_of_the_environment_is_taken_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"VPRTRAIN_SECRET", b"\xff" * 16)
    assert given_secret(machines=1) == given_secret(machines=2) == b"\xff" * 16


def test_without_one_a_single_machine_needs_none_and_several_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VPRTRAIN_SECRET", raising=False)
    assert given_secret(machines=1) is None
    with pytest.raises(UsageError, match=r"set it to the same .*openssl rand -hex 32"):
        given_secret(machines=2)


def test_each_secret_is_another_one() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100 and {len(each) for each in secrets} == {64}


def test_rank_0_shares_a_file_that_only_its_user_can_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old = os.umask(0)
    told: list[str] = []
    try:
        with shared_secret_file(first=True, tell=told.append, ask=lambda: b"") as secret:
            path = Path(told[0])
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert secret.decode() not in told[0]
            with shared_secret_file(
                first=False, tell=told.append, ask=lambda: os.fsencode(path)
            ) as same:
                assert same == secret
            assert path.exists()
    finally:
        os.umask(old)
    assert len(told) == 1 and not list(tmp_path.iterdir())


def test_a_file_that_is_not_this_users_alone_is_refused(tmp_path: Path) -> None:
    path = write_secret(tmp_path, new_secret())
    assert len(read_secret(os.fsencode(path))) == 64
    for mode in (0o640, 0o604, 0o620, 0o666):
        path.chmod(mode)
        refused(os.fsencode(path), "not a file that rank 0 wrote for this user alone")


def test_a_file_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_secret(tmp_path, new_secret())
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    refused(os.fsencode(path), "not a file that rank 0 wrote")


def test_paths_that_a_stranger_may_put_into_the_store_are_refused(tmp_path: Path) -> None:
    path = write_secret(tmp_path, new_secret())
    link, pipe, short, long = (tmp_path / name for name in ("link", "pipe", "short", "long"))
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    for file, size in ((short, 63), (long, 65)):
        file.write_bytes(b"0" * size)
        file.chmod(0o600)
    refused(os.fsencode(link), "Too many levels of symbolic links")
    for each in (pipe, short, long, Path("/dev/zero")):
        refused(os.fsencode(each), "not a file that rank 0 wrote")
    refused(os.fsencode(tmp_path), "Is a directory|not a file that rank 0 wrote")
    for foreign in (b"", b"\0", b"no/such/file", b"\xff\n" * 10_000):
        refused(foreign, "")


def refused(path: bytes, reason: str) -> None:
    with pytest.raises(
        RunError, match=rf"secret of the run cannot be read from .*{reason}"
    ) as error:
        read_secret(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 2_000


def test_a_secret_is_never_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_secret(tmp_path, new_secret())
    assert not (tmp_path / "elsewhere").exists()
