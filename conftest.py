"""Set for every test and the processes that it starts: where the real speech is, and how Paddle
computes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, settings

from vprtrain import runtime

os.environ.setdefault(
    "VPRTRAIN_TEST_DATA", str(Path(__file__).resolve().parent.parent / "shared" / "data")
)
runtime.set_environment()

pytest_plugins = ("recipe_cli",)  # fixtures

# On a busy machine an example may take any time: hypothesis's limits (200 ms for one of them) are
# off everywhere.
settings.register_profile("vprtrain", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vprtrain")

# A shell that starts pytest in the background (`pytest &`, `nohup`) makes it ignore SIGINT, and so
# would every process that a test starts, for good: no test of Ctrl-C could pass.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
