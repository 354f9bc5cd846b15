"""Process-wide set-up before Paddle is first used. Commands ask for it; no import does it."""

from __future__ import annotations

import ctypes
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
from typing import Any

from tqdm import tqdm

from vprtrain.errors import PaddleMissingError, UsageError, printable
from vprtrain.ranks.launched_ranks import launched_rank, launched_world_size

NO_TUNING = "VPRTRAIN_NO_TUNING"
DEFAULT_THREADS = 1
"""One thread, not one per core: the last bits of the weights depend on the number of threads, so
the number must not depend on the machine.

Two threads made a training step of a Conv1D network 1.1 to 1.4 times as fast on two idle cores, and
0.7 times as fast when one of the cores was busy (reading data, another rank).
"""

_PADDLES_WARNINGS = (
    "No ccache found",
    "When training, we now always track global mean",
    "(amp_guard|AmpScaler) can only be enabled on CUDAPlace",
)
"""Warnings of Paddle about an unused compiler, every batch norm, and what MixedPrecision says"""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h

Handler = Callable[[int, FrameType | None], Any] | int | None

_PYTHONS_HANDLERS: dict[signal.Signals, Handler] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}
_STOP_SIGNALS = frozenset(_PYTHONS_HANDLERS)
_own_handlers: list[Handler] = []
_handlers_installed = False
_paddle_imported = False
_stopping = False


class _Stopped(SystemExit):
    """Raised for a stop signal, so that ``finally`` blocks run; the exit status is 128 + signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


def require_paddle() -> None:
    """Raise :class:`PaddleMissingError` when Paddle cannot be found; nothing is imported."""
    if "paddle" not in sys.modules and importlib.util.find_spec("paddle") is None:
        raise PaddleMissingError


def prepare(*, threads: int | None = None, tune: bool = True, paddle: bool = True) -> None:
    """Set up the environment, import Paddle, and install handlers for SIGTERM and SIGINT.

    The handlers end the process with status 128 + signal. A second call keeps handlers that were
    installed in the meantime. In a thread other than the main one no handlers are installed,
    because Python does not allow it.

    Args:
        threads: see :func:`set_environment`.
        tune: see :func:`set_environment`.
        paddle: ``False`` for work that needs no Paddle: it is not imported.
    """
    is_ready = _handlers_installed and (_paddle_imported or not paddle)
    if is_ready or threading.current_thread() is not threading.main_thread():
        set_environment(threads=threads, tune=tune)
        return
    with _signals_held():
        set_environment(threads=threads, tune=tune)
        if paddle:
            _import_paddle()
        _install_handlers()


def set_environment(*, threads: int | None = None, tune: bool = True) -> None:
    """Set the environment variables that Paddle reads when it is imported.

    Variables that are set already are kept. With ``VPRTRAIN_NO_TUNING=1`` in the environment only
    an explicit ``threads`` is set.

    Args:
        threads: number of CPU threads of a matrix product; ``None`` keeps ``OMP_NUM_THREADS``, or
            sets it to :data:`DEFAULT_THREADS`.
        tune: ``False`` sets nothing but an explicit ``threads``.

    Raises:
        UsageError: Paddle was imported with another number of threads.
    """
    if threads is not None:
        if "paddle" in sys.modules and os.environ.get("OMP_NUM_THREADS") != str(threads):
            raise UsageError(
                f"threads={threads} has no effect after Paddle was imported with OMP_NUM_THREADS="
                f"{os.environ.get('OMP_NUM_THREADS')}: set that variable before the start"
            )
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if not (tune and _is_tuned()):
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(DEFAULT_THREADS))
    os.environ.setdefault("GLOG_minloglevel", "2")
    if _is_amd():
        # On AMD processors Paddle's MKL is 3 to 4 times slower unless it is told to use AVX2.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    for message in _PADDLES_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step instead of returning it to the system.

    The system clears every page that it gives out again, which took a third of a training step of
    ResNetSE and ERes2Net on a CPU. The process then holds the most that it ever used. Without glibc
    or with ``VPRTRAIN_NO_TUNING=1`` nothing happens.
    """
    if _is_tuned() and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)  # large blocks too come from memory that is kept
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # keep all of it


def _is_tuned() -> bool:
    return os.environ.get(NO_TUNING, "0") in ("", "0")


@contextmanager
def handling_stop_signals(handler: Handler) -> Iterator[None]:
    """A context in which a handler gets SIGTERM and SIGINT. Only in the main thread.

    A process that is forked inside has Python's own handlers: ``multiprocessing`` ends its
    processes by SIGTERM, and a process that only took note of it would never end.
    """
    _own_handlers.append(handler)
    previous = {number: signal.signal(number, handler) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
        if handler in _own_handlers:  # not in a forked process that leaves the context
            _own_handlers.remove(handler)


def _restore_pythons_handlers() -> None:
    global _handlers_installed
    for number, handler in _PYTHONS_HANDLERS.items():
        if signal.getsignal(number) in _own_handlers:
            signal.signal(number, handler)
    _own_handlers.clear()
    _handlers_installed = False  # a forked process that runs a command calls prepare() again


os.register_at_fork(after_in_child=_restore_pythons_handlers)


def use_device(name: str) -> None:
    """Make this the device of all later computation.

    Raises:
        UsageError: this machine, or this build of Paddle, has no such device.
    """
    import paddle

    if name == "auto":
        return  # Paddle chooses: a GPU if there is one, the GPU of this rank if there are several
    if ":" in name and launched_world_size() > 1:
        raise UsageError(
            f"device is {name!r}, but {launched_world_size()} processes were launched, each with "
            "its own device: choose the devices with the launcher's --devices"
        )
    try:
        paddle.set_device(name)
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"device is {name!r}, which is not available ({error}): try auto or cpu"
        ) from error


def _is_amd() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return "AuthenticAMD" in text or "HygonGenuine" in text


def _import_paddle() -> None:
    global _paddle_imported
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import paddle

    # Paddle adds a handler for all packages' log lines, in a format of its own, and sets its level.
    root.handlers[:] = handlers
    root.setLevel(level)

    # The import of Paddle installs C++ handlers that print a stack trace. This call removes them
    # and every Python handler, so it comes before our own handlers, and only once.
    paddle.disable_signal_handler()
    _paddle_imported = True


def _install_handlers() -> None:
    global _handlers_installed
    for signum in _STOP_SIGNALS:
        signal.signal(signum, _stop)
    if _handlers_installed:  # without Paddle, whose import has removed them
        return
    _own_handlers.append(_stop)
    sys.unraisablehook = partial(_resend_if_lost, otherwise=sys.unraisablehook)
    _handlers_installed = True


@contextmanager
def _signals_held() -> Iterator[None]:
    """Block stop signals inside; a signal that arrives is delivered at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(signum: int, frame: FrameType | None) -> None:
    global _stopping
    # Launchers send SIGTERM several times. Only the first interrupts the process; a later one would
    # interrupt the clean-up. Ctrl-C always interrupts.
    if _stopping and signum == signal.SIGTERM:
        return
    _stopping = True
    raise _Stopped(signum)


def _resend_if_lost(
    lost: sys.UnraisableHookArgs, otherwise: Callable[[sys.UnraisableHookArgs], object]
) -> None:
    """Send a stop signal again whose exception Python has dropped.

    Python drops exceptions in a ``__del__`` or in a weak reference's callback, and every import
    runs some of these.
    """
    global _stopping
    if isinstance(lost.exc_value, _Stopped | KeyboardInterrupt):
        _stopping = False
        signum = lost.exc_value.signum if isinstance(lost.exc_value, _Stopped) else signal.SIGINT
        # From another thread and a moment later, because this call is still inside the callback.
        threading.Timer(0.01, os.kill, (os.getpid(), signum)).start()
    else:
        otherwise(lost)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show this package's log lines on stderr, above a progress bar.

    The logging of other packages is not changed. Ranks other than 0 show only warnings and errors,
    each with the number of the rank. A record is one line, in which names of strangers are escaped;
    only a traceback comes in further lines.
    """
    logger = logging.getLogger("vprtrain")
    rank = launched_rank()
    if not logger.handlers:
        handler = _AboveProgressBars()
        origin = f"rank {rank}: " if rank else ""
        handler.setFormatter(_Printable(f"%(asctime)s {origin}%(message)s", datefmt="%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(max(level, logging.WARNING) if rank else level)
        logger.propagate = False


class _Printable(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return printable(super().formatException(ei), keep="\n")


class _AboveProgressBars(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Ctrl-C also ends a `tee` at the other end of the pipe, while the run still has to save.
        with suppress(BrokenPipeError):
            tqdm.write(self.format(record), file=sys.stderr)
