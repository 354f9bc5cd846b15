"""The ranks of a launched run. The only module that may use ``paddle.distributed``.

Tensors go through Paddle's collectives (gloo on a CPU, NCCL on GPUs); whatever may take one
rank longer than another, and every decision, goes through :mod:`vprtrain.ranks.control`.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vprtrain.errors import RunError, UsageError, VprTrainError
from vprtrain.ranks.control import Control, Failure, Hub, Json
from vprtrain.ranks.rank_process import announce_failure
from vprtrain.ranks.ranks import Ranks

if TYPE_CHECKING:
    import numpy as np
    import paddle

log = logging.getLogger(__name__)

BUCKET_BYTES = 25 * 2**20
"""Of small tensors that are reduced as one: hundreds of calls would take longer than the sums."""
GRACE_SECONDS = 5.0
"""How long a rank may take to end by itself after another has failed: in a collective it would wait
for ever."""

_launcher = os.getppid()
"""As early as can be: the launcher may be killed while Paddle is imported. Before this import it
goes unnoticed."""
_ranks: Ranks | None = None


def launched_rank() -> int:
    """Which of the launched processes this is; 0 without a launcher. Known before :func:`connect_ranks`."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def launched_world_size() -> int:
    """How many processes the launcher started for this run; 1 without it."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def connect_ranks(*, cpu: bool = False) -> Ranks:
    """The ranks of this run. The first call under a launcher waits for the others, and chooses this
    rank's device.

    Args:
        cpu: compute there even where there are GPUs.
    """
    global _ranks
    if _ranks is None:
        if "PADDLE_TRAINER_ID" in os.environ:
            threading.Thread(
                target=_end_with, args=(_launcher,), name="watch launcher", daemon=True
            ).start()
        if cpu:
            os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        _ranks = LaunchedRanks() if launched_world_size() > 1 else Ranks()
    return _ranks


def require_one_process(command: str) -> None:
    """Refuse a command that several processes would only carry out several times.

    Raises:
        UsageError: several were launched.
    """
    if launched_world_size() > 1:
        raise UsageError(
            f"{command} is for one process, but {launched_world_size()} were launched: leave the launcher out"
        )


class LaunchedRanks(Ranks):
    """Several processes, started by ``paddle.distributed.launch`` or with its environment
    variables.

    They end together: when one fails or is killed, the others say which, and are gone within
    seconds; so they are when their launcher is.
    """

    def __init__(self) -> None:
        import paddle.distributed as dist

        with _standard_output_kept():
            group = dist.init_parallel_env()
        self._dist = dist
        # gloo gives up after 30 s, and one rank may wait longer than the others for its data.
        self._impatient = group.process_group.name() == "GLOO"
        self.rank, self.size = group.rank, group.nranks
        self._hub: Hub | None = None
        self._control = self._connect()
        atexit.register(self._leave)
        self.exchange(None)  # all are connected now, and will hear of whatever ends one of them

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

        # also the wait for the slowest, for which a collective has no time
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
        if self._impatient:
            self.exchange(None)
        with self._collective():
            for bucket in _buckets([*summed, *first], BUCKET_BYTES):
                self._sum(bucket)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if self._control.failure is None:
                announce_failure()
                reason, details = _explanation(error)
                if details:
                    log.error("%s", Failure(rank=self.rank, reason=details))
                self._control.fail(reason, details)
            raise

    def _connect(self) -> Control:
        """The first rank's hub, found by way of Paddle's store, which every rank has reached by
        now."""
        from paddle.distributed import collective

        store = collective._default_store
        if self.rank == 0:
            host = os.environ["PADDLE_CURRENT_ENDPOINT"].rpartition(":")[0]
            secret = secrets.token_hex(16)
            self._hub = Hub(size=self.size, host=host, secret=secret)
            store.set("vprtrain/hub", f"{host} {self._hub.port} {secret}")
        host, port, secret = store.get("vprtrain/hub").decode().split()
        return Control(
            rank=self.rank, address=(host, int(port)), secret=secret, on_failure=self._end_soon
        )

    def _sum(self, tensors: Sequence[paddle.Tensor]) -> None:
        import paddle

        if len(tensors) == 1:
            self._dist.all_reduce(tensors[0])
            return
        with paddle.no_grad():
            flat = paddle.concat([tensor.flatten() for tensor in tensors])
            self._dist.all_reduce(flat)
            parts = paddle.split(flat, [math.prod(tensor.shape) for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                part._share_buffer_to(tensor)  # a tenth of the time that copying takes

    @contextmanager
    def _collective(self) -> Iterator[None]:
        """Say which rank is to blame when a collective fails: Paddle only says that a connection
        was lost."""
        try:
            yield
        except (RuntimeError, ValueError, OSError) as error:
            deadline = time.monotonic() + GRACE_SECONDS / 2
            while self._control.failure is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if self._control.failure is None:
                raise RunError(
                    f"the ranks lost touch ({error}): the same command goes on"
                ) from error
            raise RunError(str(self._control.failure)) from error

    def _end_soon(self, failure: Failure) -> None:
        details = f"\n{failure.traceback}" if failure.traceback else ""
        log.error("%s; rank %d ends too%s", failure, self.rank, details)
        timer = threading.Timer(GRACE_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        self._control.leave()
        if self._hub is not None:
            self._hub.close()


def _end_with(parent: int) -> None:
    """End when the launcher is gone: nobody would stop or restart this process any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    log.error("the launcher of rank %d is gone: ending, too", launched_rank())
    os._exit(1)


def _buckets(tensors: Sequence[paddle.Tensor], limit: int) -> Iterator[list[paddle.Tensor]]:
    """Tensors of one type, in their order, to be reduced as one; of ``limit`` bytes or more,
    alone."""
    open_ones: dict[Any, list[paddle.Tensor]] = {}
    sizes: dict[Any, int] = {}
    for tensor in tensors:
        # .size takes far longer
        dtype, size = (
            tensor.dtype,
            math.prod(tensor.shape) * tensor.element_size(),
        )
        if size >= limit:
            yield [tensor]
            continue
        if sizes.get(dtype, limit) + size > limit:
            if dtype in open_ones:
                yield open_ones[dtype]
            open_ones[dtype], sizes[dtype] = [], 0
        open_ones[dtype].append(tensor)
        sizes[dtype] += size
    yield from open_ones.values()


def _explanation(error: BaseException) -> tuple[str, str]:
    """What the other ranks show of an error: a line, and the traceback where that does not say
    all."""
    if isinstance(error, VprTrainError):
        return str(error), ""
    if isinstance(error, SystemExit):
        return f"it was ended, with status {error.code}", ""
    return repr(error), "".join(traceback.format_exception(error)).rstrip()


@contextmanager
def _standard_output_kept() -> Iterator[None]:
    """What Paddle's C++ side prints goes to standard error: standard output may be JSON for another
    program."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
