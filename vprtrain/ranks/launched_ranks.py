"""The ranks of a launched run. The only module that may use ``paddle.distributed``.

Tensors go through Paddle's collectives (gloo on CPUs, NCCL on GPUs). Every decision, and every wait
that may be long, goes through :mod:`vprtrain.ranks.control`.
"""

from __future__ import annotations

import atexit
import io
import logging
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

from vprtrain.errors import RunError, UsageError, VprTrainError
from vprtrain.ranks.buckets import BUCKET_BYTES, buckets
from vprtrain.ranks.connection import Failure, Json
from vprtrain.ranks.rank_logs import log_lines
from vprtrain.ranks.rank_process import announce_failure
from vprtrain.ranks.ranks import Ranks
from vprtrain.ranks.rendezvous import meet, rank_hosts
from vprtrain.ranks.secret import given_secret

if TYPE_CHECKING:
    import numpy as np
    import paddle

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long a rank may take to end by itself after another rank has failed. A rank that waits in a
collective would otherwise never end."""

_launcher = os.getppid()
"""Read when this module is imported, so that a launcher that is killed while Paddle is imported is
noticed. A launcher killed before this import is not."""
_ranks: Ranks | None = None


def launched_rank() -> int:
    """This process's rank; 0 without a launcher. Known before :func:`connect_ranks`."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def launched_world_size() -> int:
    """The number of ranks that the launcher started; 1 without a launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def connect_ranks(*, cpu: bool = False) -> Ranks:
    """The ranks of this run. Later calls return the same object.

    Under a launcher, the first call waits for all ranks and sets this rank's device.

    Args:
        cpu: use the CPU even if the machine has GPUs.
    """
    global _ranks
    if _ranks is None:
        if "PADDLE_TRAINER_ID" in os.environ:
            threading.Thread(
                target=_exit_after, args=(_launcher,), name="watch launcher", daemon=True
            ).start()
        if cpu:
            os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        _ranks = LaunchedRanks() if launched_world_size() > 1 else Ranks()
    return _ranks


def require_one_process(command: str) -> None:
    """Refuse a launch of several processes, which would each run the whole command.

    Args:
        command: the command's name, for the message.

    Raises:
        UsageError: several processes were launched.
    """
    if launched_world_size() > 1:
        raise UsageError(
            f"{command} runs in one process, but {launched_world_size()} were launched: run it "
            "without the launcher"
        )


class LaunchedRanks(Ranks):
    """Several processes, started by ``paddle.distributed.launch`` or with its environment
    variables.

    They end together. When one rank fails or is killed, the others log which one and end within
    seconds. They also end when their launcher is gone.
    """

    def __init__(self) -> None:
        import paddle.distributed as dist
        from paddle.distributed import collective

        from vprtrain.layers.paddle_internals import default_store

        hosts = rank_hosts(launched_world_size())
        secret = given_secret(machines=len(set(hosts)))
        # Paddle's Python code prints there which of its flags are set; its C++ code does not.
        with _stdout_to_stderr(), redirect_stderr(io.StringIO()):
            group = dist.init_parallel_env()
        self._dist = dist
        # gloo fails after 30 s, but one rank may wait longer than that for its data.
        self._gloo = group.process_group.name() == "GLOO"
        self.rank, self.size = group.rank, group.nranks
        with meet(
            default_store(collective),
            rank=self.rank,
            hosts=hosts,
            secret=secret,
            on_failure=self._exit_soon,
        ) as (self._hub, self._control):
            atexit.register(self._leave)
            self.exchange(None)  # from here on, every rank learns when another one ends

    @property
    def attention(self) -> bool:
        return self._control.attention

    def call_attention(self) -> None:
        self._control.call_attention()

    def exchange(self, value: Json, *, hurry: Callable[[], bool] = lambda: False) -> Sequence[Json]:
        return self._control.exchange(value, hurry=hurry)

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        import numpy as np
        import paddle

        # This exchange also waits for the slowest rank: the collective below would time out.
        lengths = self.exchange(len(array))
        padded = np.zeros((max(lengths), *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        parts: list[paddle.Tensor] = []
        with self._collective():
            self._dist.all_gather(parts, paddle.to_tensor(padded))
        return [part.numpy()[:length] for part, length in zip(parts, lengths, strict=True)]

    def broadcast(self, tensors: Sequence[paddle.Tensor]) -> None:
        self.exchange(None)
        with self._collective():
            for tensor in tensors:
                self._dist.broadcast(tensor, src=0)

    def combine(self, summed: Sequence[paddle.Tensor], first: Sequence[paddle.Tensor] = ()) -> None:
        if self.rank:
            for tensor in first:
                tensor.zero_()
        if self._gloo:
            self.exchange(None)
        with self._collective():
            for bucket in buckets([*summed, *first], BUCKET_BYTES):
                self._sum(bucket)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if self._control.failure is None:
                announce_failure()
                reason, details = _describe(error)
                if details:
                    log.error("%s", Failure(rank=self.rank, reason=details))
                self._control.fail(reason, details)
            raise

    def _sum(self, tensors: Sequence[paddle.Tensor]) -> None:
        import paddle

        from vprtrain.layers.paddle_internals import share_memory

        if len(tensors) == 1:
            self._dist.all_reduce(tensors[0])
            return
        with paddle.no_grad():
            flat = paddle.concat([tensor.flatten() for tensor in tensors])
            self._dist.all_reduce(flat)
            parts = paddle.split(flat, [math.prod(tensor.shape) for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                share_memory(tensor, part)  # takes a tenth of the time of a copy

    @contextmanager
    def _collective(self) -> Iterator[None]:
        """Name the failed rank when a collective fails: Paddle only reports a lost connection."""
        try:
            yield
        except (RuntimeError, ValueError, OSError) as error:
            deadline = time.monotonic() + GRACE_SECONDS / 2
            while self._control.failure is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if self._control.failure is None:
                raise RunError(
                    f"the connection between the ranks was lost ({error}): run the same command "
                    "again to resume"
                ) from error
            raise RunError(str(self._control.failure)) from error

    def _exit_soon(self, failure: Failure) -> None:
        log_lines(f"{failure}; rank {self.rank} ends too\n{failure.traceback}")
        timer = threading.Timer(GRACE_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        self._control.leave()
        if self._hub is not None:
            self._hub.close()


def _exit_after(parent: int) -> None:
    """Exit once the launcher is gone: nothing would stop or restart this process any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    log.error("the launcher of rank %d is gone: this rank ends too", launched_rank())
    os._exit(1)


def _describe(error: BaseException) -> tuple[str, str]:
    """What the other ranks log of an error: one line, and a traceback if the line is not enough."""
    if isinstance(error, VprTrainError):
        return str(error), ""
    if isinstance(error, SystemExit):
        return f"it exited with status {error.code}", ""
    return repr(error), "".join(traceback.format_exception(error)).rstrip()


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what Paddle's C++ code prints: standard output may be JSON for another
    program."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
