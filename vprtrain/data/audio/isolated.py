"""Reading strangers' audio in processes of their own: what a codec library does to its process, by
a defect or by intent, does not reach the caller's.

A worker has limits of memory, processor time and wall time, cannot write files, and does not import
Paddle. A worker that crashes or exceeds a limit is replaced.
"""

from __future__ import annotations

import json
import logging
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from queue import LifoQueue
from threading import Timer
from types import TracebackType
from typing import Any

import numpy as np

from vprtrain.data.audio.files import AudioFile
from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.child_process import ChildProcess, CollectedMessages, named_status
from vprtrain.errors import cause

log = logging.getLogger(__name__)

_START_SECONDS = 120  # for the imports of a worker on a busy machine


class IsolatedReader:
    """A pool of worker processes that read audio. Threads may share it.

    Args:
        workers: processes; each is started when it is needed first. A call waits for a free one.
        seconds: the longest time of a call.
        memory: bytes that a worker may take in addition to what it has after its start.
    """

    def __init__(self, *, workers: int = 1, seconds: float = 30.0, memory: int = 2 << 30) -> None:
        self._seconds, self._memory = seconds, memory
        self._idle: LifoQueue[_Worker | None] = LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._size = workers

    def read(self, audio: AudioFile, **options: Any) -> np.ndarray:
        """The same as :func:`vprtrain.data.audio.read_audio`, in a worker.

        Raises:
            AudioError: as ``read_audio``; or the worker crashed or exceeded a limit.
        """
        return self.call(read_audio, audio, **options)

    def call(
        self, function: Callable[..., np.ndarray], audio: AudioFile, **options: Any
    ) -> np.ndarray:
        """``function(audio, **options)`` in a worker, which imports the function by its name.

        Args:
            function: returns float32 ``[samples]``.
            audio: an audio file.
            options: arguments that can be pickled.

        Raises:
            AudioError: the function raised an exception; or the worker crashed or exceeded a limit.
        """
        request = pickle.dumps(((function, audio, options), self._seconds))
        worker = self._idle.get()
        if worker is not None and not worker.is_ours:  # its replies are the other process's
            worker.end()
            worker = None
        try:
            worker = worker or _Worker(self._memory)
            samples, error = worker.call(request, self._seconds)
        except BaseException as failure:  # its reply may still be under way
            reason = f"reading it {worker.close()}" if worker is not None else str(failure)
            worker = None
            if not isinstance(failure, Exception):
                raise
            raise AudioError(f"{audio}: {reason}") from failure
        finally:
            self._idle.put(worker)
        if error is not None:
            raise AudioError(error)
        return samples

    def close(self) -> None:
        """End the workers, after the calls that are under way."""
        for _ in range(self._size):
            worker = self._idle.get()
            if worker is not None:
                worker.end()
        for _ in range(self._size):
            self._idle.put(None)

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Worker:
    """One process. Replies are not unpickled: a worker may be in a stranger's hands."""

    def __init__(self, memory: int) -> None:
        self._child = ChildProcess(__name__, str(memory))
        self._timed_out = False
        try:
            self._exchange(None, _START_SECONDS)
        except EOFError:
            raise OSError(f"its process did not start: it {self.close()}") from None

    @property
    def is_ours(self) -> bool:
        """See :class:`~vprtrain.data.child_process.ChildProcess`."""
        return self._child.is_ours

    def end(self) -> None:
        """See :class:`~vprtrain.data.child_process.ChildProcess`."""
        self._child.end()

    def call(self, request: bytes, seconds: float) -> tuple[np.ndarray, str | None]:
        """The samples, or an error's message.

        Raises:
            Exception: the process ended, or its reply is none; it cannot be used any more.
        """
        said, payload = self._exchange(request, seconds)
        for warning in said["warnings"]:
            log.warning("%s", warning)
        return np.frombuffer(payload, np.float32).copy(), said["error"]

    def _exchange(self, request: bytes | None, seconds: float) -> tuple[dict[str, Any], bytes]:
        watchdog = Timer(seconds, self._end_in_time)
        watchdog.start()
        try:
            if request is not None:
                self._child.pipe.send_bytes(request)
            said = json.loads(self._child.pipe.recv_bytes())
            return said, self._child.pipe.recv_bytes()
        finally:
            watchdog.cancel()

    def _end_in_time(self) -> None:
        self._timed_out = True
        self._child.kill()

    def close(self) -> str:
        """End the process, and say how it ended."""
        status = self._child.close()
        if self._timed_out:
            return "took too long"
        if status == -signal.SIGXCPU:
            return "took too much processor time"
        return f"ended the process ({named_status(status)})"


def _serve(pipe: Connection, memory: int) -> None:
    import av  # noqa: F401  # before the limit of memory
    import soundfile  # noqa: F401

    _limit(memory)
    collected = CollectedMessages()
    logging.getLogger().addHandler(collected)
    pipe.send_bytes(json.dumps({}).encode())
    pipe.send_bytes(b"")
    while True:
        try:
            (function, audio, options), seconds = pickle.loads(pipe.recv_bytes())
        except EOFError:  # the caller has ended or does not need this process
            return
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, resource.RLIM_INFINITY))
        samples, error = np.zeros(0, np.float32), None
        try:
            samples = np.ascontiguousarray(function(audio, **options), np.float32)
        except AudioError as refusal:
            error = str(refusal)
        except MemoryError:
            error = f"{audio}: reading it takes more than {memory >> 20} MB"
        except Exception as unexpected:
            error = f"{audio}: cannot be read ({cause(unexpected)})"
        said = {"error": error, "warnings": collected.take()}
        pipe.send_bytes(json.dumps(said).encode())
        pipe.send_bytes(samples.data)


def _limit(memory: int) -> None:
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + memory, own + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
