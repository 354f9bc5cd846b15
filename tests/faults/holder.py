"""A run that saves once and then waits to be killed: ``holder.py RUN_DIR``. Says ``committed`` by
then."""

from __future__ import annotations

import sys
from pathlib import Path

from recovery import fit

from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Run


class WaitWhenSaved(Callback):
    """Comes after Checkpoint."""

    place = 2

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        print("committed", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    fit(Path(sys.argv[1]), WaitWhenSaved())
