"""GracefulStop: signals to a real process in every phase, and flags set by another thread."""

import signal
import threading
from pathlib import Path

import paddle
import pytest
from gate import close_gate, open_gate
from json_process import JsonProcess
from probes import StopAfter, Watch, assert_equal_arrays, last, train
from toy import ToyData, ToyModule

from vprtrain.callbacks import GracefulStop
from vprtrain.engine import Callback
from vprtrain.ranks.ranks import Ranks


class Stoppable(JsonProcess):
    """A process that runs stoppable.py."""

    def __init__(self):
        super().__init__(Path(__file__).with_name("stoppable.py"))
        assert self.answer()[0] == {"ready": self.pid}

    def stop(self, run_dir, *signals, block, woken=False, deaf=False, **options):
        """Fit, and send the signals when it blocks. Returns the outcome of the fit.

        Args:
            woken: a signal must end the blocking; otherwise the gate opens after the signals.
            deaf: the line that GracefulStop writes about the first signal has no reader.
        """
        close_gate(run_dir)
        self.ask(run_dir=str(run_dir), block=block, **options)
        assert self.answer()[0] == {"blocks": block}
        self.heard = self.send(self.pid, signals, heard=not deaf)
        if not woken:
            open_gate(run_dir)
        return self.answer()[0]


@pytest.fixture(scope="module")
def stoppable():
    process = Stoppable()
    yield process
    process.close()


def position(run_dir):
    state = last(run_dir).state.to_json()
    return state["last_epoch"], state["batch_in_epoch"], state["step"], state["validation_pending"]


def assert_goes_on_as_if_never_stopped(run_dir):
    resumed = train(run_dir=run_dir, commit_every="2 steps")
    whole = train()
    assert_equal_arrays(resumed.weights, whole.weights)
    assert resumed.result.metrics == whole.result.metrics


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("block", "woken", "expected"),
    [
        ("step", False, (0, 4, 4, False)),
        ("fetch", True, (0, 3, 3, False)),
        ("validation", False, (0, 6, 6, True)),
        ("validation fetch", True, (0, 6, 6, True)),
    ],
)
def test_a_signal_commits_the_position_and_ends_the_run(
    stoppable, tmp_path, number, block, woken, expected
):
    outcome = stoppable.stop(tmp_path, number, block=block, woken=woken)
    assert outcome == {"stopped_by": number.name, "step": expected[2], "restored": True}
    assert position(tmp_path) == expected
    assert_goes_on_as_if_never_stopped(tmp_path)


def test_before_the_first_step_nothing_is_left_behind(stoppable, tmp_path):
    outcome = stoppable.stop(tmp_path, signal.SIGTERM, block="first fetch", woken=True)
    assert outcome == {"stopped_by": "SIGTERM", "step": 0, "restored": True}
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []


@pytest.mark.parametrize("block", ["step", "validation"])
@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM] * 3,
        [signal.SIGTERM, signal.SIGINT],
        [signal.SIGINT, signal.SIGTERM, signal.SIGTERM],
    ],
    ids=lambda signals: "-".join(number.name for number in signals),
)
def test_further_signals_are_harmless(stoppable, tmp_path, block, signals):
    outcome = stoppable.stop(tmp_path, *signals, block=block)
    assert outcome == {
        "stopped_by": signals[0].name,
        "step": 4 if block == "step" else 6,
        "restored": True,
    }
    assert position(tmp_path) == ((0, 4, 4, False) if block == "step" else (0, 6, 6, True))


@pytest.mark.parametrize(("block", "committed"), [("step", 2), ("validation", 4)])
def test_a_second_interrupt_aborts_and_saves_nothing(stoppable, tmp_path, block, committed):
    outcome = stoppable.stop(tmp_path, signal.SIGINT, signal.SIGINT, block=block, woken=True)
    assert stoppable.heard == (
        "SIGINT: stopping after the current step, then saving "
        "(a second SIGINT aborts without saving)\n"
    )
    assert outcome == {"stopped_by": "KeyboardInterrupt", "restored": True}
    assert position(tmp_path) == (0, committed, committed, False)
    assert_goes_on_as_if_never_stopped(tmp_path)


def test_interrupts_are_counted_anew_in_each_fit(stoppable, tmp_path):
    for name in ("one", "two"):
        outcome = stoppable.stop(tmp_path / name, signal.SIGINT, block="fetch", woken=True)
        assert outcome["stopped_by"] == "SIGINT"


def test_saves_although_nobody_reads_standard_error(stoppable, tmp_path):
    """Ctrl-C also ends the `tee` in `... 2>&1 | tee log`."""
    outcome = stoppable.stop(tmp_path, signal.SIGINT, block="step", deaf=True, broken_stderr=True)
    assert outcome == {"stopped_by": "SIGINT", "step": 4, "restored": True}
    assert position(tmp_path) == (0, 4, 4, False)


def test_the_process_can_leave_after_it(stoppable, tmp_path):
    """No thread of a stopped run keeps the process alive, and no lock keeps the directory."""
    process = Stoppable()
    process.stop(tmp_path, signal.SIGTERM, block="fetch", woken=True)
    assert process.close() == 0
    assert stoppable.stop(tmp_path, signal.SIGTERM, block="step")["step"] == 7


def handlers():
    return {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}


def test_handlers_are_taken_for_the_time_of_fit_only():
    before = handlers()
    during = Watch("on_train_batch_end", lambda run: handlers())
    train(GracefulStop(), during, StopAfter(1))
    assert all(during.seen[0][number] != handler for number, handler in before.items())
    assert handlers() == before


def test_handlers_are_restored_after_a_failure():
    class Fails(ToyModule):
        def training_step(self, batch):
            raise ValueError("this batch cannot be read")

    before = handlers()
    with pytest.raises(ValueError, match="this batch cannot be read"):
        train(GracefulStop(), module=Fails)
    assert handlers() == before


def test_works_in_a_thread_where_signals_cannot_be_taken(tmp_path):
    before, runs = handlers(), []
    stop = GracefulStop()
    flag = Watch(
        "on_train_batch_end",
        lambda run: run.progress.step == 4 and setattr(stop, "stop_train", True),
    )
    during = Watch("on_train_batch_end", lambda run: handlers())
    thread = threading.Thread(
        target=lambda: runs.append(train(stop, flag, during, run_dir=tmp_path))
    )
    thread.start()
    thread.join()
    assert (runs[0].result.stopped_by, runs[0].result.step) == ("stop_train", 4)
    assert during.seen[0] == handlers() == before
    assert position(tmp_path) == (0, 4, 4, False)


def in_another_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_stop_train_from_another_thread_ends_after_the_step(tmp_path):
    stop = GracefulStop()

    class Module(ToyModule):
        steps = 0

        def training_step(self, batch):
            self.steps += 1
            if self.steps == 4:
                in_another_thread(lambda: setattr(stop, "stop_train", True))
            return super().training_step(batch)

    run = train(stop, module=Module, run_dir=tmp_path)
    assert (run.result.stopped_by, run.result.step) == ("stop_train", 4)
    assert position(tmp_path) == (0, 4, 4, False)
    assert not stop.stop_train
    assert train(stop, run_dir=tmp_path).result.stopped_by == "max_epochs"


def test_stop_train_set_before_fit_takes_no_step():
    stop = GracefulStop()
    stop.stop_train = True
    first, second = train(stop).result, train(stop).result
    assert (first.stopped_by, first.step) == ("stop_train", 0)
    assert second.stopped_by == "max_epochs"


def test_stop_train_in_a_validation_marks_it_as_pending(tmp_path):
    stop = GracefulStop()

    class Module(ToyModule):
        def validation_step(self, batch):
            in_another_thread(lambda: setattr(stop, "stop_train", True))
            super().validation_step(batch)

    run = train(stop, module=Module, run_dir=tmp_path, sanity_batches=0)
    assert run.result.stopped_by == "stop_train"
    assert position(tmp_path) == (0, 6, 6, True)
    assert_goes_on_as_if_never_stopped(tmp_path)


def test_stop_eval_from_another_thread_ends_one_validation_and_training_goes_on(tmp_path):
    stop, validated = GracefulStop(), []

    class Module(ToyModule):
        def validation_step(self, batch):
            validated.append(stop.stop_eval)
            if len(validated) == 1:
                in_another_thread(lambda: setattr(stop, "stop_eval", True))
                assert stop.stop_eval
            super().validation_step(batch)

    steps = Watch("on_validation_end", lambda run: run.metrics_step)
    run = train(stop, steps, module=Module, run_dir=tmp_path, sanity_batches=0)
    assert validated == [False] * 3  # one batch of the first validation, both of the second
    assert steps.seen == [None, 12]
    assert run.result.stopped_by == "max_epochs"
    assert not last(tmp_path).state.validation_pending
    assert_equal_arrays(run.weights, train().weights)
    assert run.result.metrics == train().result.metrics


def test_flags_outside_fit():
    stop = GracefulStop()
    stop.stop_eval = True  # no effect: no validation is running
    assert (stop.stop_train, stop.stop_eval) == (False, False)
    assert train(stop).result.metrics


class TwoRanks(Ranks):
    """Rank 0 of two ranks, of which the other always answers the same."""

    size = 2

    def exchange(self, value, *, hurry=None):
        return [value, value]

    @paddle.no_grad()
    def combine(self, summed, first=()):
        for tensor in summed:
            tensor.scale_(2.0)


@pytest.mark.parametrize(("agree_every", "warned"), [(10, 0), (20, 1)])
def test_ranks_that_agree_too_seldom_for_the_launcher_are_warned_once(caplog, agree_every, warned):
    """Each step takes a second of the engine's clock."""
    now = 0.0

    class Second(Callback):
        def on_train_batch_start(self, run):
            nonlocal now
            now += 1.0

    data = ToyData()
    data.world_size = 2
    train(
        GracefulStop(),
        Second(),
        data=data,
        ranks=TwoRanks(),
        agree_every=agree_every,
        clock=lambda: now,
    )
    assert (
        caplog.text.count(f"agree on a stop every {agree_every} steps, which take {agree_every} s")
        == warned
    )
