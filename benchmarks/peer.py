"""Time one piece of work in several processes that take turns: ours, and a peer's in its own
interpreter.

A *worker* is a Python file with functions that take keyword options and return the step to time.
The step is a callable without arguments that returns a number, such as a loss, which shows that all
contestants compute the same. The worker imports what it needs, because nothing of this project is
installed in a peer's interpreter. This file runs the worker there (``PYTHON benchmarks/peer.py
WORKER FUNCTION OPTIONS``) and needs only the standard library.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

OURS, PPVECTOR, SWITCHED = "vprtrain", "ppvector", "ppvector + MKL switch"
MKL_SWITCH = {"MKL_DEBUG_CPU_TYPE": "5"}
"""What lets Paddle's MKL use AVX2 on an AMD processor; vprtrain.runtime sets it for ours."""
_TUNING = (
    "MKL_DEBUG_CPU_TYPE",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONPATH",
)


@dataclass(frozen=True)
class Turn:
    """One step: CPU seconds of all threads, wall-clock seconds, the step's result, and the
    process's peak memory so far."""

    cpu: float
    wall: float
    value: float
    peak_mb: float


class Contestant:
    """A worker's step in a process of its own, which ends with the ``with`` block.

    The process inherits the environment without the variables that choose threads and kernels;
    ``environment`` sets them anew. Its standard error is shown. The constructor does not wait, so
    several contestants can prepare at the same time; ``start`` waits until the step is ready.
    """

    def __init__(
        self,
        worker: Path,
        function: str,
        options: Mapping[str, Any],
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in _TUNING}
        self._label = f"{function} of {worker.name} in {python}"
        self._process = subprocess.Popen(
            [python, "-W", "ignore", __file__, str(worker), function, json.dumps(dict(options))],
            env=inherited | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        self._answer()

    def turn(self) -> Turn:
        """Run the step once."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        return Turn(**self._answer())

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self._label} ended with status {self._process.wait()}: its error is above"
            )
        return json.loads(line)

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()


def ppvector_contestants(
    worker: Path, function: str, options: Mapping[str, Any], *, python: str | None, threads: int
) -> dict[str, Contestant]:
    """ppvector's step, unchanged and with the MKL switch; empty without an interpreter that has
    ppvector."""
    if python is None:
        return {}
    environment = {"OMP_NUM_THREADS": str(threads)}
    return {
        name: Contestant(worker, function, options, python=python, environment=environment | switch)
        for name, switch in ((PPVECTOR, {}), (SWITCHED, MKL_SWITCH))
    }


def take_turns(
    contestants: Mapping[str, Contestant], *, seconds: float, warm_up: int = 1
) -> dict[str, Turn]:
    """Each contestant's medians over rounds of one turn each. The processes end afterwards.

    Rounds go on until they have taken ``seconds`` in total; there is at least one. The first
    ``warm_up`` rounds are not counted, unless there are no others. Value and peak memory are those
    of the last turn.
    """
    rounds: list[dict[str, Turn]] = []
    with ExitStack() as stack:
        for contestant in contestants.values():
            stack.enter_context(contestant)
        for contestant in contestants.values():
            contestant.start()
        started = time.perf_counter()
        while not rounds or time.perf_counter() - started < seconds:
            rounds.append({name: contestant.turn() for name, contestant in contestants.items()})
    counted = rounds[warm_up:] or rounds[-1:]
    return {name: _median([turns[name] for turns in counted]) for name in contestants}


def _median(turns: Sequence[Turn]) -> Turn:
    cpu, wall = (
        statistics.median(getattr(turn, clock) for turn in turns) for clock in ("cpu", "wall")
    )
    return Turn(cpu=cpu, wall=wall, value=turns[-1].value, peak_mb=turns[-1].peak_mb)


def _serve(worker: str, function: str, options: str) -> None:
    """Serve in the contestant's process: each line "turn" on standard input runs the step, and the
    answer is a line of JSON."""
    # the output of libraries must not mix with the answers
    with contextlib.redirect_stdout(sys.stderr):
        spec = importlib.util.spec_from_file_location(Path(worker).stem, worker)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        step = getattr(module, function)(**json.loads(options))
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        value = float(step())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps(asdict(Turn(cpu=cpu, wall=wall, value=value, peak_mb=peak_mb))), flush=True
        )


if __name__ == "__main__":
    # Otherwise this folder is searched for modules first, and its features.py or models.py is
    # found.
    sys.path.pop(0)
    _serve(*sys.argv[1:])
