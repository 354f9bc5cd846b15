"""A run that commits once, prints ``committed`` and waits to be killed: ``holder.py RUN_DIR``."""

from __future__ import annotations

import sys
from pathlib import Path

from recovery import fit

from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Run


class WaitWhenSaved(Callback):
    """Waits at the first commit. Its place is after Checkpoint."""

    place = 2

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        print("committed", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    fit(Path(sys.argv[1]), WaitWhenSaved())
