"""For every test and the processes it starts: where the real speech is, and how Paddle computes."""

from __future__ import annotations

import os
from pathlib import Path

from vprtrain import runtime

os.environ.setdefault(
    "VPRTRAIN_TEST_DATA", str(Path(__file__).resolve().parent.parent / "shared" / "data")
)
runtime.set_environment()
