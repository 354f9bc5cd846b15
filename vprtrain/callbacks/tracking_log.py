"""The base of loggers that hand the run's numbers to an experiment tracker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vprtrain.callbacks.scalar_log import ScalarLog
from vprtrain.callbacks.writing import writing
from vprtrain.engine import Run, ValidationRun
from vprtrain.errors import RunError
from vprtrain.files import write_atomic


class TrackingLog(ScalarLog):
    """Logs to one run of a tracker. Its id is in a file of the run directory, so that a resume goes
    on in the same run; the steps after the checkpoint are logged again with the same values."""

    id_file: str
    """The name of that file."""

    def __init__(self) -> None:
        self._open = False

    def on_fit_start(self, run: Run) -> None:
        if run.run_dir is None:
            return
        path = run.run_dir / self.id_file
        with writing(path):
            known = path.read_text() if run.opened is not None and path.exists() else None
            write_atomic(path, self.begin(run, known).encode())
        self._open = True

    def write(self, run: ValidationRun, group: str, values: Mapping[str, float]) -> None:
        if self._open:
            named = {f"{group}/{name}": float(value) for name, value in values.items()}
            self.send(named, run.progress.step)

    def on_exception(self, run: Run, error: BaseException) -> None:
        self._end(failed=True)

    def on_fit_end(self, run: Run) -> None:
        self._end(failed=False)

    def _end(self, *, failed: bool) -> None:
        if self._open:
            self._open = False
            self.end(failed=failed)

    @abstractmethod
    def begin(self, run: Run, known_id: str | None) -> str:
        """Open the tracker's run with a known id, or a new one, and return its id."""

    @abstractmethod
    def send(self, values: Mapping[str, float], step: int) -> None:
        """Log values by name."""

    @abstractmethod
    def end(self, *, failed: bool) -> None:
        """Close the tracker's run."""


@contextmanager
def refusals(tracker: str, errors: type[Exception]) -> Iterator[None]:
    """Name the tracker that does not take what is logged.

    Args:
        tracker: its name.
        errors: the tracker's own class of errors.

    Raises:
        RunError: instead of such an error inside the context.
    """
    try:
        yield
    except errors as error:
        line = " ".join(str(error).split())
        raise RunError(f"{tracker}: {line}; the checkpoints are intact") from error
