"""Real runs that a test kills: a small speaker network trained with every option on, each run in
its own process.

``runs.py CORPUS RUN_DIR`` trains once. ``runs.py CORPUS`` forks a process for each line of JSON on
standard input, ``{"run_dir": .., "kill_at": .., "stop_at": .., "asynchronous": ..}``, and answers
with the exit status of that process: Paddle is imported once for all of them. ``kill_at`` is a kill
point. ``stop_at`` is a step: in the validation after it, the process gets SIGTERM.
``asynchronous`` is Checkpoint's option.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from quick_disk import do_not_wait_for_the_disk
from small_encoders import DropoutTDNN

from vprtrain import files, runtime
from vprtrain.callbacks import (
    EMA,
    Checkpoint,
    CosineWarmup,
    EarlyStopping,
    MarginSchedule,
    default_callbacks,
)
from vprtrain.commands.training import exit_status
from vprtrain.data.augmentation import (
    AdditiveNoise,
    Reverberation,
    SilenceTrimming,
    SpeedPerturbation,
    Volume,
)
from vprtrain.data.manifest import write_manifest
from vprtrain.data.sampler import keyed_rng
from vprtrain.data.synthetic import voices
from vprtrain.engine import AdamW, Callback, Engine, ValidationRun, killpoints
from vprtrain.engine.seeding import seed_all
from vprtrain.features import Fbank, SpecAugment
from vprtrain.losses import AAMLoss
from vprtrain.speaker.data import SpeakerData
from vprtrain.speaker.module import SpeakerModule

TRAINED, UNSEEN = range(4), range(4, 8)
TRAINING_UTTERANCES = 6  # 8 batches an epoch, 3 of them a step: an epoch's last step has only 2
BAD_UTTERANCE = "2-3.wav"
TESTED_SECONDS = (0.5, 0.6, 0.7)  # three lengths give three validation batches


class RankedByMargin(SpeakerModule):
    """Reports an EER that grows with the margin, and so with the step.

    The real EER, of 66 trials of a hardly trained network, hangs on the processor's last bits. It
    is the smaller part here, so that the first validation is the best on every machine.
    """

    def on_validation_end(self) -> dict[str, float]:
        metrics = super().on_validation_end()
        return {**metrics, "eer": self.margin + metrics["eer"] / 1000}


class StopInValidation(Callback):
    """Sends SIGTERM to this process at the first batch of the validation after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_validation_batch_end(self, run: ValidationRun) -> None:
        if run.progress.step == self.step:
            signal.raise_signal(signal.SIGTERM)


def make_corpus(folder: Path) -> None:
    """Write recordings of four training speakers, one of them not audio, and of four unseen
    speakers."""

    def record(speaker: int, number: int, seconds: float) -> tuple[str, str, float]:
        voice = voices.draw_speaker(keyed_rng(0, 0, speaker))
        name = f"{speaker}-{number}"
        waveform = voices.draw_utterance(voice, keyed_rng(0, 0, speaker, number), seconds=seconds)
        soundfile.write(folder / f"{name}.wav", waveform, voices.SAMPLE_RATE)
        return name, f"{name}.wav", seconds

    folder.mkdir()
    trained = [
        (speaker, record(speaker, number, 0.6))
        for speaker in TRAINED
        for number in range(TRAINING_UTTERANCES)
    ]
    write_manifest(
        folder / "train.tsv", [(path, f"speaker{speaker}", s) for speaker, (_, path, s) in trained]
    )
    (folder / BAD_UTTERANCE).write_text("not audio")
    noises = [("3-0.wav", "noise", 0.6), ("3-1.wav", "speech", 0.6), ("no-such.wav", "music", 0.6)]
    write_manifest(folder / "musan.tsv", noises)
    decay = keyed_rng(0, 0, 0).normal(size=4000) * np.exp(-np.arange(4000) / 800)
    soundfile.write(folder / "room.wav", 0.1 * decay, voices.SAMPLE_RATE)
    write_manifest(folder / "rirs.tsv", [("room.wav", "smallroom", None)])
    tested = [
        record(speaker, n, seconds)
        for speaker in UNSEEN
        for n, seconds in enumerate(TESTED_SECONDS)
    ]
    write_manifest(folder / "eval.tsv", tested)
    names = [name for name, *_ in tested]
    pairs = [(a, b) for a in names for b in names if a < b]
    trials = "".join(f"{a} {b} {int(a.split('-')[0] == b.split('-')[0])}\n" for a, b in pairs)
    (folder / "trials.txt").write_text(trials)


def fit(corpus: Path, run_dir: Path, *observers: Callback, asynchronous: bool = False) -> int:
    """Start or resume the run, and return its exit status.

    It has 12 steps, 3 an epoch, with validations and commits in the middle of epochs.
    """
    data = SpeakerData.from_files(
        train_manifest=corpus / "train.tsv",
        trials=corpus / "trials.txt",
        eval_manifest=corpus / "eval.tsv",
        batch_size=3,
        crop_seconds=(0.5, 0.7),
        min_seconds=0.4,
        speed_perturbation=SpeedPerturbation(),
        augmentations=[
            SilenceTrimming(min_seconds=0.3, probability=0.3),
            Reverberation(manifest=str(corpus / "rirs.tsv"), probability=0.5),
            AdditiveNoise(manifest=str(corpus / "musan.tsv"), probability=0.7),
            Volume(probability=0.5),
        ],
        workers=3,
        max_bad_share=0.05,
    )
    seed_all(9)
    module = RankedByMargin(
        model=DropoutTDNN(),
        feature=Fbank(mean_norm=True, dither=1e-5),
        loss=AAMLoss(),
        num_classes=data.num_classes,
        evaluation=data.evaluation,
        spec_augment=SpecAugment(num_time_masks=2, prob=0.7),
    )
    engine = Engine(
        run_dir=run_dir,
        optimizer=AdamW(learning_rate=0.02),
        callbacks=[
            *(one for one in default_callbacks() if not isinstance(one, Checkpoint)),
            Checkpoint(asynchronous=asynchronous),
            CosineWarmup(warmup_epochs=0.5),
            MarginSchedule(start_epoch=0.5, fix_epoch=2.5),
            EMA(decay=0.8),
            EarlyStopping(patience=100),
            *observers,
        ],
        max_epochs=4,
        validate_every="4 steps",
        commit_every="2 steps",
        accumulate=3,
        clip_norm=1.0,
        log_every=3,
        seed=3,
    )
    return exit_status(engine.fit(module, data))


def fit_and_count(
    corpus: Path, run_dir: Path, *observers: Callback, asynchronous: bool = False
) -> int:
    """Train without kill points, and write to ``RUN_DIR.passed`` how often each was passed."""
    passed: list[str] = []
    killpoints.reach = files.watch = passed.append
    status = fit(corpus, run_dir, *observers, asynchronous=asynchronous)
    run_dir.with_suffix(".passed").write_text(json.dumps(Counter(passed)))
    return status


def run_forked(
    corpus: Path, run_dir: Path, kill_at: str | None, stop_at: int | None, asynchronous: bool
) -> int:
    """Train in a forked process, and return its exit status (negative if a signal killed it).

    Its output goes to ``RUN_DIR.log``.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        runtime.prepare()  # a forked process has no handlers of the one before
        log = os.open(run_dir.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        observers = [] if stop_at is None else [StopInValidation(stop_at)]
        if kill_at is None:
            status = fit_and_count(corpus, run_dir, *observers, asynchronous=asynchronous)
        else:
            os.environ[killpoints.VARIABLE] = kill_at
            status = fit(corpus, run_dir, *observers, asynchronous=asynchronous)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def serve(corpus: Path) -> None:
    """Do one run for each request on standard input."""
    for line in sys.stdin:
        request = json.loads(line)
        status = run_forked(
            corpus,
            Path(request["run_dir"]),
            request["kill_at"],
            request["stop_at"],
            request["asynchronous"],
        )
        print(status, flush=True)


def main() -> int:
    do_not_wait_for_the_disk()
    runtime.prepare()
    runtime.log_to_stderr()
    corpus, *run_dir = map(Path, sys.argv[1:])
    if not corpus.exists():
        make_corpus(corpus)
    if run_dir:
        return fit(corpus, *run_dir)
    serve(corpus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
