"""Process-wide set-up before Paddle is first used; the command line asks for it, no import does
it."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from vprtrain.errors import PaddleMissingError, UsageError
from vprtrain.ranks.launched_ranks import launched_rank, launched_world_size

NO_TUNING = "VPRTRAIN_NO_TUNING"
DEFAULT_THREADS = 1
"""One, not one per core: the last bits of the weights depend on it, so it must not depend on the
machine.

Two threads made a training step of a Conv1D network 1.1 to 1.4 times as fast on two idle cores, and
0.7 times as fast where one of the two was busy otherwise (reading data, another rank).
"""

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_handlers_installed = False
_stopping = False


class _Stopped(SystemExit):
    """A stop signal on its way out through the ``finally`` blocks; the exit status is 128 +
    signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


def require_paddle() -> None:
    """Raise :class:`PaddleMissingError` when Paddle cannot be found; nothing is imported."""
    if "paddle" not in sys.modules and importlib.util.find_spec("paddle") is None:
        raise PaddleMissingError


def prepare(*, threads: int | None = None, tune: bool = True) -> None:
    """Set up the environment, import Paddle, and make SIGTERM and SIGINT end the process with 128 +
    signal.

    The arguments are :func:`set_environment`'s. May be called again: handlers that were installed
    since are kept. In a thread other than the main one, signals are left alone, as Python allows
    nothing else.
    """
    if _handlers_installed or threading.current_thread() is not threading.main_thread():
        set_environment(threads=threads, tune=tune)
        return
    with _signals_held():
        set_environment(threads=threads, tune=tune)
        _import_paddle_and_install_handlers()


def set_environment(*, threads: int | None = None, tune: bool = True) -> None:
    """Set what Paddle reads from the environment when it is imported, and no variable that is set
    already.

    ``threads`` is the number of CPU threads of a matrix product; ``None`` keeps
    ``OMP_NUM_THREADS``, or takes :data:`DEFAULT_THREADS`; a :class:`UsageError` where Paddle is
    already imported with another number. With ``tune=False`` or ``VPRTRAIN_NO_TUNING=1`` in the
    environment, nothing but an explicit ``threads`` is set.
    """
    if threads is not None:
        if "paddle" in sys.modules and os.environ.get("OMP_NUM_THREADS") != str(threads):
            raise UsageError(
                f"threads={threads} comes too late, Paddle is already imported with OMP_NUM_THREADS="
                f"{os.environ.get('OMP_NUM_THREADS')}: set that variable before the start instead"
            )
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if not tune or os.environ.get(NO_TUNING, "0") not in ("", "0"):
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(DEFAULT_THREADS))
    os.environ.setdefault("GLOG_minloglevel", "2")
    if _is_amd():
        # Paddle's MKL takes its slowest path on AMD processors unless told to use AVX2: 3 to 4
        # times slower.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    warnings.filterwarnings("ignore", message="No ccache found")


def use_device(name: str) -> None:
    """Compute there from now on.

    Raises:
        UsageError: this machine, or this build of Paddle, has no such device.
    """
    import paddle

    if name == "auto":
        return  # Paddle's own choice: a GPU where there is one, and the one of this rank where there are several
    if ":" in name and launched_world_size() > 1:
        raise UsageError(
            f"device is {name!r}, but {launched_world_size()} processes were launched, each with a device of its own: "
            "choose them with the launcher's --devices"
        )
    try:
        paddle.set_device(name)
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"device is {name!r}, which is not to be had here ({error}): try auto or cpu"
        ) from error


def _is_amd() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return "AuthenticAMD" in text or "HygonGenuine" in text


def _import_paddle_and_install_handlers() -> None:
    global _handlers_installed
    import paddle

    # Importing Paddle installs C++ handlers that print a stack trace, and this call removes them;
    # it also resets whatever Python had installed, so it must come before our own handlers, and
    # only once.
    paddle.disable_signal_handler()
    for signum in _STOP_SIGNALS:
        signal.signal(signum, _stop)
    sys.unraisablehook = partial(_resend_if_lost, otherwise=sys.unraisablehook)
    _handlers_installed = True


@contextmanager
def _signals_held() -> Iterator[None]:
    """A signal that comes meanwhile is delivered at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(signum: int, frame: FrameType | None) -> None:
    global _stopping
    # Launchers send SIGTERM several times; only the first may break into what is running, as by the
    # next one that is the clean-up. Ctrl-C always does.
    if _stopping and signum == signal.SIGTERM:
        return
    _stopping = True
    raise _Stopped(signum)


def _resend_if_lost(
    lost: sys.UnraisableHookArgs, otherwise: Callable[[sys.UnraisableHookArgs], object]
) -> None:
    """Python drops what is raised in a ``__del__`` or a weak reference's callback; every import
    runs some."""
    global _stopping
    if isinstance(lost.exc_value, _Stopped | KeyboardInterrupt):
        _stopping = False
        signum = lost.exc_value.signum if isinstance(lost.exc_value, _Stopped) else signal.SIGINT
        # From another thread and a moment later, as this very call is still inside the callback.
        threading.Timer(0.01, os.kill, (os.getpid(), signum)).start()
    else:
        otherwise(lost)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show this package's log lines on stderr, above a progress bar; others' logging is left alone.

    Of several launched processes, all but the first show warnings and errors only, and say which
    they are.
    """
    logger = logging.getLogger("vprtrain")
    rank = launched_rank()
    if not logger.handlers:
        handler = _AboveProgressBars()
        origin = f"rank {rank}: " if rank else ""
        handler.setFormatter(
            logging.Formatter(f"%(asctime)s {origin}%(message)s", datefmt="%H:%M:%S")
        )
        logger.addHandler(handler)
        logger.setLevel(max(level, logging.WARNING) if rank else level)
        logger.propagate = False


class _AboveProgressBars(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Ctrl-C ends the `tee` behind a pipe as well: the run still has to save
        with suppress(BrokenPipeError):
            tqdm.write(self.format(record), file=sys.stderr)
