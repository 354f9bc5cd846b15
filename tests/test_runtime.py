"""In processes of their own: what is set up is the process."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TUNED = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "GLOG_minloglevel")


def start(script: str, **environment: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in TUNED}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(script: str, **environment: str) -> tuple[int, str, str]:
    process = start(script, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


# A stand-in for Paddle: what it does to the process when it is imported, in a hundredth of the
# time.
PADDLE = """
import os, signal, sys, time, types, importlib.abc, importlib.machinery

class Loader(importlib.abc.Loader):
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(99))
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        module.at_import = dict(os.environ)
        time.sleep(SECONDS)
        def disable_signal_handler():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        module.disable_signal_handler = disable_signal_handler

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, Loader()) if name == "paddle" else None

sys.meta_path.insert(0, Finder())
"""


def with_stand_in(script: str, seconds: float = 0.0) -> str:
    return PADDLE.replace("SECONDS", str(seconds)) + script


SHOW = """
from vprtrain import runtime
runtime.prepare({arguments})
import paddle
names = ("OMP_NUM_THREADS", "GLOG_minloglevel", "MKL_DEBUG_CPU_TYPE")
print([paddle.at_import.get(name) for name in names])
"""


def tuning(arguments: str = "", **environment: str) -> list[str | None]:
    status, out, err = outcome(with_stand_in(SHOW.format(arguments=arguments)), **environment)
    assert status == 0, err
    return eval(out)


def test_the_environment_is_set_before_paddle_is_imported() -> None:
    amd = any(
        name in Path("/proc/cpuinfo").read_text() for name in ("AuthenticAMD", "HygonGenuine")
    )
    assert tuning() == ["1", "2", "5" if amd else None]
    assert tuning("threads=2")[0] == "2"


def test_what_the_user_set_is_kept() -> None:
    own = {"OMP_NUM_THREADS": "3", "GLOG_minloglevel": "0", "MKL_DEBUG_CPU_TYPE": "4"}
    assert tuning(**own) == ["3", "0", "4"]
    assert tuning("threads=2", **own) == ["2", "0", "4"]


def test_paddles_own_lines_stay_out() -> None:
    script = """
import logging, warnings
from vprtrain import runtime
runtime.prepare()
import paddle
warnings.warn("a warning of somebody else")
logging.getLogger("another.package").info("a line in Paddle's format")
layer = paddle.nn.BatchNorm1D(4)
layer(paddle.ones([2, 4]))
root = logging.getLogger()
print(root.handlers, root.level)
"""
    status, out, err = outcome(script)
    assert (status, out) == (0, "[] 30\n")
    assert "a warning of somebody else" in err
    assert "Paddle" not in err and "track global" not in err and "ccache" not in err


@pytest.mark.parametrize(
    ("arguments", "environment"), [("tune=False", {}), ("", {"VPRTRAIN_NO_TUNING": "1"})]
)
def test_tuning_can_be_switched_off(arguments: str, environment: dict[str, str]) -> None:
    assert tuning(arguments, **environment) == ["1", None, None]  # the 1 is Paddle's own


@pytest.mark.parametrize("environment", [{}, {"VPRTRAIN_NO_TUNING": "1"}])
def test_freed_memory_is_kept_for_the_next_step(environment: dict[str, str]) -> None:
    script = """
import resource
from vprtrain import runtime
runtime.keep_freed_memory()
faults = []
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    block[::1024] = bytes(len(block[::1024]))
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""
    status, out, err = outcome(script, **environment)
    assert status == 0, err
    first, second = map(int, out.split())
    pages = (64 << 20) // resource.getpagesize()
    assert first > 0.9 * pages
    assert (second < 0.1 * pages) == (not environment)


def test_threads_asked_for_are_set_even_without_tuning() -> None:
    assert tuning("threads=2, tune=False") == ["2", None, None]


def test_threads_asked_for_too_late_are_refused() -> None:
    script = "import paddle\nfrom vprtrain import runtime\nruntime.prepare(threads=2)"
    status, _, err = outcome(with_stand_in(script))
    assert status == 1
    assert "vprtrain.errors.UsageError: threads=2 has no effect" in err


WITNESSED = """
import os, runpy, sys

class Witness:  # tells what Paddle would find, and spares the import
    def find_spec(self, name, path, target=None):
        if name == "paddle":
            names = ("OMP_NUM_THREADS", "GLOG_minloglevel")
            print([os.environ.get(name) for name in names], flush=True)
            os._exit(0)

sys.meta_path.insert(0, Witness())
sys.argv = {arguments}
runpy.{start}({program!r}, run_name="__main__")
"""
COMMANDS = [
    ("run_path", "recipes/cnceleb/run.py", "demo"),
    ("run_path", "recipes/cnceleb/run.py", "fit"),
    ("run_path", "recipes/cnceleb/run.py", "validate --checkpoint run"),
    ("run_module", "vprtrain", "demo"),
    ("run_module", "vprtrain", "fit --recipe voxceleb"),
    ("run_module", "vprtrain", "validate --checkpoint run"),
    ("run_module", "vprtrain", "convert --from ppvector source out"),
]


@pytest.mark.parametrize(("start_by", "program", "arguments"), COMMANDS)
def test_every_command_sets_up_before_it_imports_paddle(
    start_by: str, program: str, arguments: str
) -> None:
    script = WITNESSED.format(
        start=start_by, program=program, arguments=[program, *arguments.split()]
    )
    assert outcome(script) == (0, "['1', '2']\n", "")


PRODUCTS = """
from pathlib import Path
from vprtrain import runtime
runtime.prepare()
import paddle

def nanoseconds():
    tasks = Path("/proc/self/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}

a = paddle.ones([1000, 1000])
paddle.matmul(a, a)
before = nanoseconds()
for _ in range(20):
    paddle.matmul(a, a)
print(sum(now - before.get(task, 0) > 50e6 for task, now in nanoseconds().items()))
"""


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(),
    reason="reads what each thread ran from Linux's /proc",
)
@pytest.mark.parametrize(("environment", "threads"), [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)])
def test_a_matrix_product_uses_as_many_threads(environment: dict[str, str], threads: int) -> None:
    status, out, err = outcome(PRODUCTS, **environment)
    assert status == 0, err
    assert out.splitlines()[-1] == str(threads)


STARTING = """
import sys

class Witness:  # tells when prepare() has come to its import of Paddle, without a say in it
    def find_spec(self, name, path, target=None):
        if name == "paddle":
            print("importing", flush=True)

sys.meta_path.insert(0, Witness())
from vprtrain import runtime
try:
    runtime.prepare()
    import json, decimal, xml.dom.minidom
    while True:
        sum(range(1000))
finally:
    print("cleaned up", flush=True)
"""


def check_that_a_signal_ends_it(
    process: subprocess.Popen[str], signum: signal.Signals, delay: float
) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    time.sleep(delay)
    process.send_signal(signum)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (128 + signum, "cleaned up\n", "")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.25, 0.31, 0.6])
def test_a_signal_while_starting_ends_through_finally(signum: signal.Signals, delay: float) -> None:
    check_that_a_signal_ends_it(start(with_stand_in(STARTING, seconds=0.3)), signum, delay)


@pytest.mark.parametrize("delay", [0.0, 0.7])
def test_a_signal_while_the_real_paddle_is_imported(delay: float) -> None:
    check_that_a_signal_ends_it(start(STARTING), signal.SIGTERM, delay)


LOST = """
import os, signal, time, weakref
from vprtrain import runtime
runtime.prepare()

class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)

thing = Thing()
try:
    del thing
    time.sleep(20)
    print("the signal was lost")
finally:
    print("cleaned up")
"""


def test_sigterm_again_does_not_break_into_the_clean_up() -> None:
    script = """
import os, signal
from vprtrain import runtime
runtime.prepare()
try:
    os.kill(os.getpid(), signal.SIGTERM)
finally:
    os.kill(os.getpid(), signal.SIGTERM)
    print("cleaned up")
"""
    assert outcome(with_stand_in(script)) == (143, "cleaned up\n", "")


def test_a_signal_that_python_drops_inside_a_destructor_is_sent_again() -> None:
    assert outcome(with_stand_in(LOST)) == (143, "cleaned up\n", "")


def test_so_is_an_interrupt_that_aborts() -> None:
    """As the second Ctrl-C of a training run does."""
    script = LOST.replace("SIGTERM", "SIGINT").replace("finally:", "except KeyboardInterrupt:")
    script = script.replace(
        "runtime.prepare()",
        "runtime.prepare(); signal.signal(signal.SIGINT, signal.default_int_handler)",
    )
    assert outcome(with_stand_in(script)) == (0, "cleaned up\n", "")


def test_other_unraisable_errors_are_still_reported() -> None:
    script = """
from vprtrain import runtime
runtime.prepare()
class Thing:
    def __del__(self):
        raise KeyError("lost and found")
thing = Thing()
del thing
"""
    status, _, err = outcome(with_stand_in(script))
    assert status == 0
    assert "lost and found" in err


def test_a_second_call_keeps_the_handlers_installed_since() -> None:
    script = """
import os, signal
from vprtrain import runtime
runtime.prepare()
seen = []
signal.signal(signal.SIGTERM, lambda signum, frame: seen.append(signum))
runtime.prepare()
os.kill(os.getpid(), signal.SIGTERM)
assert seen == [signal.SIGTERM]
assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
"""
    assert outcome(with_stand_in(script)) == (0, "", "")


def test_another_thread_leaves_signals_alone() -> None:
    script = """
import signal, sys, threading
before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
from vprtrain import runtime
errors = []
threading.excepthook = errors.append
thread = threading.Thread(target=runtime.prepare)
thread.start()
thread.join()
assert not errors
assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
runtime.prepare()
assert signal.getsignal(signal.SIGTERM) is not before[0]
"""
    assert outcome(with_stand_in(script)) == (0, "", "")


def test_a_failing_import_of_paddle_leaves_signals_as_they_were() -> None:
    script = """
import signal, sys
sys.modules["paddle"] = None
from vprtrain import runtime
try:
    runtime.prepare()
except ImportError:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
"""
    assert outcome(script) == (0, "", "")


def test_a_log_that_nobody_reads_any_more_ends_nothing() -> None:
    """Ctrl-C ends the `tee` behind a pipe too, and the run has a checkpoint to save."""
    script = """
import logging, os
from vprtrain import runtime
runtime.log_to_stderr()
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 2)
logging.getLogger("vprtrain").info("saved")
print("goes on")
"""
    assert outcome(script)[:2] == (0, "goes on\n")
