"""A script for ``vprtrain launch``: each rank takes "steps" of a tenth of a second, and the first
commits each one.

``launched_script.py RUN_DIR STEPS [STEP:RANK:ACTION ..]``: at a step, a rank exits with the status ACTION,
or is sent the signal that ACTION names. A run that is started again goes on from its last step.
Paddle is not needed, so starts cost the launcher's import alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from vprtrain.checkpoint.state_file import STATE_FILE, encode_state
from vprtrain.checkpoint.store import LAST
from vprtrain.files import point_link, write_folder
from vprtrain.ranks.rank_process import announce_run_dir
from vprtrain.ranks.restarts import committed_position


def commit(run_dir: Path, step: int) -> None:
    state = {
        "schema": 1,
        "step": step,
        "last_epoch": 0,
        "batch_in_epoch": step,
        "validation_pending": False,
        "files": {},
    }
    write_folder(run_dir / f"step_{step}", {STATE_FILE: encode_state(state)})
    point_link(run_dir / LAST, f"step_{step}")


def main() -> int:
    run_dir, steps, *events = sys.argv[1:]
    rank = int(os.environ["PADDLE_TRAINER_ID"])
    planned = {
        (int(step), int(who)): action
        for step, who, action in (event.split(":") for event in events)
    }
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    folder = Path(run_dir)
    announce_run_dir(folder)
    start = committed_position(folder)
    (folder / f"{os.getpid()}.pid").parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{os.getpid()}.pid").write_text(str(rank))
    print(f"rank {rank} begins at {start.step if start else 0}")
    for step in range(start.step + 1 if start else 1, int(steps) + 1):
        time.sleep(0.1)
        while rank > 0 and (committed_position(folder) or (0,))[0] < step - 1 and not stops:
            time.sleep(0.02)
        if stops:
            print(f"rank {rank} stops before step {step}")
            return 128 + stops[0]
        action = planned.get((step, rank))
        if action is not None and action.isdigit():
            print(f"rank {rank} fails at step {step}")
            return int(action)
        if action is not None:
            os.kill(os.getpid(), signal.Signals[action])
        if rank == 0:
            commit(folder, step)
    return 0


if __name__ == "__main__":
    status = main()
    # the launcher sends three, and the last may come at the very end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(status)
