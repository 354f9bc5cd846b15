"""A script for ``vprtrain launch``. Each rank takes "steps" of 0.1 s, and rank 0 commits each step.

``launched_script.py RUN_DIR STEPS [STEP:RANK:ACTION ..]``: at STEP, RANK exits
with the status ACTION, or receives the signal that ACTION names. A restarted run resumes after its
last committed step. The script does not import Paddle, so that it starts fast.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from vprtrain.checkpoint.links import LAST
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import with_state
from vprtrain.files import point_link, write_folder
from vprtrain.ranks.rank_process import announce_run_dir
from vprtrain.ranks.restarts import committed_position


def commit(run_dir: Path, step: int) -> None:
    state = CheckpointState(step=step, batch_in_epoch=step)
    write_folder(run_dir / f"step_{step}", with_state({}, state))
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
    # The launcher sends SIGTERM three times; the last one may arrive while this process exits.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(status)
