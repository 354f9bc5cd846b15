"""Requests to stop, during a wait for data and outside one."""

import threading

import pytest

from vprtrain.engine.stop import Interrupted, Requests


def test_the_first_reason_stands():
    requests = Requests()
    requests.stop("first")
    requests.stop("second")
    assert requests.stop_reason == "first"


def test_a_stop_in_the_waiting_thread_ends_the_wait():
    requests = Requests()
    with pytest.raises(Interrupted), requests.waiting_for_data:
        requests.stop("signal")
    requests.stop("signal")  # nothing waits now


def test_a_stop_before_the_wait_ends_it_at_once():
    requests = Requests()
    requests.stop("earlier")
    with pytest.raises(Interrupted), requests.waiting_for_data:
        pytest.fail("no batch may be fetched after a stop")


def test_a_stop_from_another_thread_leaves_the_wait_alone():
    requests = Requests()
    with requests.waiting_for_data:
        thread = threading.Thread(target=requests.stop, args=("elsewhere",))
        thread.start()
        thread.join()
    assert requests.stop_reason == "elsewhere"
