"""G3: on a full or broken disk, or without permission, the run fails loudly and no saved
checkpoint is damaged."""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from probes import StopAfter, Trained
from recovery import fit, outcome

from vprtrain.callbacks import Checkpoint, TensorBoard
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Callback
from vprtrain.errors import RunError

CALLS = ("mkdir", "fsync", "rename", "replace", "symlink", "unlink", "rmdir")
CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)


class Disk:
    """Counts the calls that change files, and makes some of them fail.

    Args:
        folder: writes to files below it are counted. The calls of ``os`` are counted for any path.
        fail_at: the number of the first call that fails. A write that fails stores the first half.
        once: whether the calls after that one succeed.
        lies_about: a file name. Of such files the second half is never stored, although every
            call succeeds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fail_at: int | None = None,
        code: int = 0,
        once: bool = False,
        lies_about: str = "",
    ) -> None:
        self.calls: list[str] = []
        self.lies_about = lies_about
        self._folder, self._fail_at, self._code, self._once = folder, fail_at, code, once

    def call(self, name: str) -> None:
        """Count a call, and raise if it has to fail."""
        number, at = len(self.calls), self._fail_at
        self.calls.append(name)
        if at is not None and (number == at or (number > at and not self._once)):
            raise OSError(self._code, os.strerror(self._code))

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Replace the calls of this process."""
        real_open = builtins.open

        def open_file(path: Any, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
            if (
                mode[0] == "r"
                or not isinstance(path, str | Path)
                or self._folder not in Path(path).parents
            ):
                return real_open(path, mode, buffering, **options)
            if Path(path).name == ".lock":
                return real_open(path, mode, buffering, **options)
            raw = _File(path, mode.replace("b", ""), self)
            return raw if buffering == 0 else io.BufferedWriter(raw)

        def write_bytes(path: Path, data: bytes) -> None:
            with open_file(path, "wb") as file:
                file.write(data)

        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._counted(name, getattr(os, name)))
            patch.setattr(builtins, "open", open_file)
            patch.setattr(Path, "write_bytes", write_bytes)
            yield

    def _counted(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.call(name)
            return real(*arguments, **options)

        return call


class _File(io.FileIO):
    def __init__(self, path: str | Path, mode: str, disk: Disk) -> None:
        super().__init__(path, mode)
        self._disk = disk
        self._lies = Path(path).name == disk.lies_about
        self._broken = False

    def write(self, data: Any) -> int:
        half = memoryview(data)[: len(data) // 2]
        if self._lies:
            super().write(half)
            return len(data)
        if self._broken:  # closing flushes the buffer once more
            return len(data)
        try:
            self._disk.call("write")
        except OSError:
            super().write(half)
            self._broken = True
            raise
        return super().write(data)


def go_on(run_dir: Path, *callbacks: Callback) -> Trained:
    """Start or resume, with every callback that writes."""
    return fit(run_dir, Checkpoint(keep=2), TensorBoard(), *callbacks)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, Any]:
    run_dir = tmp_path_factory.mktemp("straight")
    go_on(run_dir)
    return outcome(run_dir)


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> dict[str, Path]:
    """Run directories to resume: an empty one, one with a pending validation, one stopped between
    two validations."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("fresh", "pending", "stopped")}
    go_on(folders["pending"], StopAfter(8))
    go_on(folders["stopped"], StopAfter(9))
    assert open_checkpoint(folders["pending"] / "last_model").state.validation_pending
    assert list(linked(folders["stopped"])) == ["step_9", "step_8"]
    return folders


def copied(run_dir: Path, to: Path) -> Path:
    return Path(shutil.copytree(run_dir, to, symlinks=True))


def linked(run_dir: Path) -> dict[str, dict[str, str]]:
    """The verified targets of last_model and best_model: the files' digests by the folder's
    name."""
    links = [
        run_dir / name for name in ("last_model", "best_model") if (run_dir / name).is_symlink()
    ]
    return {os.readlink(link): open_checkpoint(link).state.files for link in links}


@pytest.mark.parametrize("start", ["fresh", "pending", "stopped"])
@pytest.mark.parametrize(
    "shift", [0, *(pytest.param(shift, marks=pytest.mark.slow) for shift in range(1, 6))]
)
def test_whichever_call_fails_the_run_says_so_and_can_go_on(
    begun, straight, tmp_path, start, shift, caplog
) -> None:
    """G3: each call that saves or logs fails once, as on a full or broken disk or without
    permission. An old generation that cannot be removed does not end the run.

    The errors alternate, and so do permanent and temporary failures; the slow variants are all
    other combinations.
    """
    counted = Disk(copied(begun[start], tmp_path / "counted"))
    with counted.mounted():
        go_on(tmp_path / "counted")
    assert {*CALLS, "write"} == set(counted.calls)
    one_commit = counted.calls.index("replace") + 2
    assert counted.calls[0] == "mkdir"  # of the run directory, which exists
    for number in range(1, len(counted.calls) if start == "stopped" else one_commit):
        run_dir = copied(begun[start], tmp_path / f"run{number}")
        before = linked(run_dir)
        code, once = CODES[(number + shift) % 3], (number + shift // 3) % 2 == 0
        disk = Disk(run_dir, fail_at=number, code=code, once=once)
        caplog.clear()
        try:
            with disk.mounted():
                go_on(run_dir)
        except RunError as error:
            said = str(error)
            assert re.match(rf"^{re.escape(str(run_dir))}/\S+ could not be ", said)
            assert os.strerror(code) in said and "run the same command again" in said
            assert "\n" not in said
            after = linked(run_dir)
            assert bool(after) >= bool(before) and {**before, **after} == {**after, **before}
        else:
            assert "could not be removed, and is tried again later" in caplog.text
        go_on(run_dir)
        assert outcome(run_dir) == straight, (number, counted.calls[number])
        assert not list(run_dir.glob(".tmp-*"))


@pytest.mark.parametrize(
    "file", ["model.pdparams", "ema.pdparams", "optimizer.pdopt", "config.yaml", "model.state"]
)
def test_a_disk_that_drops_data_is_found_out(begun, straight, tmp_path, file) -> None:
    """G3: a short write without an error: the files are read back before a link points to them."""
    run_dir = copied(begun["stopped"], tmp_path / "run")
    before = linked(run_dir)
    with (
        Disk(run_dir, lies_about=file).mounted(),
        pytest.raises(RunError, match=rf"could not be saved .*{file} is not"),
    ):
        go_on(run_dir)
    assert linked(run_dir) == before
    go_on(run_dir)
    assert outcome(run_dir) == straight


def test_the_command_ends_with_one_line_and_goes_on_when_there_is_room(
    command, recipe, recipe_here, straight_outcome, cli_killed
) -> None:
    """G3: as a user sees it, with the system refusing to write; exit status 1."""

    def refuse_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    before = linked(cli_killed)
    failed = recipe(*command(), preexec_fn=refuse_large_files)
    assert failed.returncode == 1
    *earlier, last = failed.stderr.splitlines()
    failure = r"could not be saved \(.*File too large.*\); the earlier checkpoints"
    assert re.match(rf"error: {cli_killed}/\S+ {failure}", last)
    assert not [line for line in earlier if line.startswith(("error: ", "Traceback"))]
    assert linked(cli_killed) == before
    assert not list(cli_killed.glob(".tmp-*"))
    assert recipe_here(*command()).returncode == 0
    assert outcome(cli_killed) == straight_outcome
