"""The base of loggers that append to a file of the run directory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

from vprtrain.callbacks.scalar_log import ScalarLog
from vprtrain.callbacks.writing import LogFile, writing
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.engine import Run, ValidationRun


class FileLog(ScalarLog):
    """Appends to one file. A resume cuts off the entries that it logs again."""

    path: Path
    """Of the file, in the run directory."""

    def __init__(self) -> None:
        self._file: LogFile | None = None

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is None:
            return
        path = run.run_dir / self.path
        with writing(path):
            path.parent.mkdir(exist_ok=True)
        kept = 0
        if run.opened is not None and path.exists():
            kept = self._kept_bytes(path.read_bytes(), run.opened.state)
        self._file = LogFile(path, keep=kept or None)
        if not kept:
            self._file.append(self.header(run.run_dir))

    def write(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> None:
        if self._file is not None:
            self._file.append(self.encode(run, group, values))

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        if self._file is not None:
            self._file.sync()

    def on_fit_end(self, run: Run) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _kept_bytes(self, data: bytes, state: CheckpointState) -> int:
        """How much of the file was written before a checkpoint was taken."""
        kept = 0
        for end, of_validation, step in self.entries(data):
            again = of_validation and state.validation_pending
            if step > state.step or (step == state.step and again):
                break
            kept = end
        return kept

    @abstractmethod
    def header(self, run_dir: Path) -> bytes:
        """What a new file begins with."""

    @abstractmethod
    def encode(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> bytes:
        """The entries of a log point or of a validation."""

    @abstractmethod
    def entries(self, data: bytes) -> Iterator[tuple[int, bool, int]]:
        """Where each entry of a file ends, whether it is of a validation, and its step; up to the
        first entry that a kill has cut."""
