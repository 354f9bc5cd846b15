"""A process that is forked while our signal handlers are installed has Python's own."""

import multiprocessing
import os
import signal
import time

import pytest

from vprtrain.runtime import handling_stop_signals

FORK = multiprocessing.get_context("fork")


def _sleep(started) -> None:
    started.set()
    time.sleep(60)


def test_a_forked_process_ends_at_sigterm() -> None:
    noted = []
    started = FORK.Event()
    with handling_stop_signals(lambda number, frame: noted.append(number)):
        process = FORK.Process(target=_sleep, args=(started,))
        process.start()
        assert started.wait(60)
        process.terminate()
        process.join(60)
        os.kill(os.getpid(), signal.SIGTERM)
    assert process.exitcode == -signal.SIGTERM
    assert noted == [signal.SIGTERM]


@pytest.mark.parametrize("own", [True, False])
def test_handlers_of_others_are_left_alone(own: bool) -> None:
    def ours(number, frame) -> None:
        raise AssertionError

    def theirs(number, frame) -> None:
        os._exit(7)

    def child() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with handling_stop_signals(ours):
        try:
            if not own:
                signal.signal(signal.SIGTERM, theirs)
            process = FORK.Process(target=child)
            process.start()
            process.join(60)
        finally:
            signal.signal(signal.SIGTERM, ours)
    assert process.exitcode == (-signal.SIGTERM if own else 7)
    assert signal.getsignal(signal.SIGTERM) is before
