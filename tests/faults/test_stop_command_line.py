"""G5 through the recipe's command line: signals, exit statuses, and the same command again."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable

from recovery import outcome

from vprtrain.checkpoint.state_file import open_checkpoint


def stop(
    command: list[str], *signals: signal.Signals, at: Callable[[str], bool]
) -> tuple[int, str]:
    """Send signals, 0.15 s apart, at the first line for which ``at`` is true.

    Returns:
        The exit status, and the lines after that one.
    """
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process:
        while not at(line := process.stderr.readline()):
            assert line, f"the process ended with {process.wait()} before that line"
        for number in signals:
            process.send_signal(number)
            time.sleep(0.15)
        said = process.stderr.read()
    return process.returncode, said


def reached(step: int) -> Callable[[str], bool]:
    """True for lines of this step or a later one: the run before may have come further."""
    return lambda line: (
        (found := re.search(r" step (\d+)/", line)) is not None and int(found[1]) >= step
    )


def test_stopped_and_started_again_by_the_same_command(
    command, recipe_here, straight_outcome, tmp_path
) -> None:
    """G5: 143 after one or three SIGTERMs, 130 after one or two SIGINTs; then the straight run's
    bits."""
    run_dir = tmp_path / "TDNN_Fbank"
    status, said = stop(command(), *[signal.SIGTERM] * 3, at=lambda line: "run directory" in line)
    assert status == 143, said
    assert not list(run_dir.glob("*_*")) and not list(run_dir.glob(".tmp-*"))

    for signals, step, expected in (
        ([signal.SIGTERM] * 3, 3, 143),
        ([signal.SIGINT], 11, 130),
        ([signal.SIGINT] * 2, 19, 130),
    ):
        status, said = stop(command(), *signals, at=reached(step))
        assert status == expected, said
        assert "Traceback" not in said
        assert len(signals) == 2 or "; the same command " in said
        # committed every 4 steps at least
        assert open_checkpoint(run_dir / "last_model").state.step > step - 4
        assert not list(run_dir.glob(".tmp-*"))

    assert recipe_here(*command()).returncode == 0
    assert outcome(run_dir) == straight_outcome
