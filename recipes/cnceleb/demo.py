"""A corpus out of nothing for the quick start: synthetic speakers, laid out as CN-Celeb lies on
disk.

Run as a script it makes a share of the corpus and nothing else; :func:`make_corpus` starts it that
way.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.data.synthetic import voices
from vprtrain.errors import RunError, UsageError
from vprtrain.files import replacing

ROOT = "CN-Celeb_flac"
_DONE = "corpus.json"  # what the corpus was made from; its name says whether it is complete
_BEGUN = "corpus.partial.json"
_FIRST_UNSEEN = 800  # as in CN-Celeb, whose evaluation speakers begin at id00800
_ENROLLED = 3  # utterances an enrolment is made of
# glibc would give every array of an utterance back to the system and fault it in again: a third of
# the time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 26), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """Everything that the corpus is a function of."""

    speakers: int
    unseen: int
    utterances: int
    seconds: float
    seed: int
    generator: int = voices.VERSION

    def validate(self) -> None:
        """Raise :class:`UsageError` for sizes that CN-Celeb's layout or an evaluation cannot
        have."""
        if not (2 <= self.speakers <= _FIRST_UNSEEN and 2 <= self.unseen <= 200):
            raise UsageError(
                f"expected 2 to 800 speakers and 2 to 200 unseen, not {self.speakers} and {self.unseen}"
            )
        if self.utterances < 2 or self.seconds < 0.5 or self.seed < 0:
            raise UsageError(
                f"expected at least 2 utterances of 0.5 s and a seed of 0 or more, not {self.utterances} of "
                f"{self.seconds} s and {self.seed}"
            )

    @property
    def training_ids(self) -> list[str]:
        return [f"id{number:05d}" for number in range(self.speakers)]

    @property
    def unseen_ids(self) -> list[str]:
        return [f"id{_FIRST_UNSEEN + number:05d}" for number in range(self.unseen)]

    @property
    def names(self) -> list[str]:
        """The utterances' names, the same for every speaker."""
        return [f"speech-01-{number + 1:03d}" for number in range(self.utterances)]

    @property
    def enrolled(self) -> int:
        """How many of an unseen speaker's utterances are enrolled; the others are tested."""
        return min(_ENROLLED, self.utterances - 1)


def make_corpus(
    folder: str | os.PathLike[str],
    *,
    speakers: int = 60,
    unseen: int = 20,
    utterances: int = 20,
    seconds: float = 3.0,
    seed: int = 0,
    processes: int = 2,
) -> Path:
    """Make ``folder/CN-Celeb_flac``, FLAC at 16 kHz with a channel for every utterance, and return
    its path.

    A complete corpus of the same sizes and seed is used as it is; a broken-off one is completed.
    Interrupted or killed in any way, the processes end with it. Raises :class:`UsageError` where
    the folder holds something else, :class:`RunError` where a process fails.
    """
    plan = CorpusPlan(
        speakers=speakers, unseen=unseen, utterances=utterances, seconds=seconds, seed=seed
    )
    plan.validate()
    if processes < 1:
        raise UsageError(f"processes is {processes}; expected 1 or more")
    folder = Path(folder)
    if not _begin(folder, plan):
        _synthesise(folder, plan, processes)
        _write_enrollments(folder / ROOT, plan)
        _write_lists(folder / ROOT, plan)
        os.replace(folder / _BEGUN, folder / _DONE)
    return folder / ROOT


def _begin(folder: Path, plan: CorpusPlan) -> bool:
    """Claim the folder for this plan. True where the corpus is complete already."""
    for marker in (folder / _DONE, folder / _BEGUN):
        if marker.is_file():
            found = json.loads(marker.read_text(encoding="utf-8"))
            if found != asdict(plan):
                raise UsageError(
                    f"{folder} holds another synthetic corpus: {found}, not {asdict(plan)}; "
                    "delete it or choose another folder"
                )
            return marker.name == _DONE
    if (folder / ROOT).exists():
        raise UsageError(
            f"{folder / ROOT} exists and is not a synthetic corpus; choose another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / _BEGUN) as temporary:
        temporary.write_text(json.dumps(asdict(plan), indent=2) + "\n", encoding="utf-8")
    return False


def _synthesise(folder: Path, plan: CorpusPlan, processes: int) -> None:
    """Run this file ``processes`` times; every line through their pipe is an utterance, its end is
    theirs."""
    reading, writing = os.pipe()
    # Plain commands, not multiprocessing: that would import the caller's main script, and Paddle
    # with it.
    environment = {
        **os.environ,
        **_KEEP_MEMORY,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    }
    workers = []
    try:
        with os.fdopen(reading, "rb") as progress:
            try:
                for part in range(processes):
                    command = [sys.executable, __file__, str(folder), str(part), str(processes)]
                    workers.append(subprocess.Popen(command, stdout=writing, env=environment))
            finally:
                os.close(writing)
            total = (plan.speakers + plan.unseen) * plan.utterances
            for _ in tqdm(progress, total=total, desc="synthesising", unit="utt"):
                pass
        failed = [worker.returncode for worker in workers if worker.wait() != 0]
        if failed:
            raise RunError(
                f"{folder}: making the corpus failed (exit status {failed[0]}, its message is above)"
            )
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()


def _make_share(folder: Path, part: int, parts: int) -> None:
    """Write every ``parts``-th utterance, from ``part`` on, that is not there yet."""
    plan = CorpusPlan(**json.loads((folder / _BEGUN).read_text(encoding="utf-8")))
    jobs = [
        (speaker, name) for speaker in plan.training_ids + plan.unseen_ids for name in plan.names
    ]
    for speaker, name in jobs[part::parts]:
        _make_utterance(folder / ROOT, plan, speaker, name)
        os.write(sys.stdout.fileno(), b"\n")


def _make_utterance(root: Path, plan: CorpusPlan, speaker_id: str, name: str) -> None:
    path = root / "data" / speaker_id / f"{name}.flac"
    number = plan.names.index(name)
    copies = [path]
    if speaker_id in plan.unseen_ids and number >= plan.enrolled:
        copies.append(root / "eval" / "test" / f"{speaker_id}-{name}.flac")
    if all(copy.exists() for copy in copies):
        return
    voice_number = int(speaker_id.removeprefix("id"))
    speaker = voices.draw_speaker(keyed_rng(plan.seed, Purpose.SYNTHESIS, voice_number))
    rng = keyed_rng(plan.seed, Purpose.SYNTHESIS, voice_number, number + 1)
    clean = voices.draw_utterance(speaker, rng, seconds=plan.seconds)
    waveform = voices.add_channel(clean, rng)
    for copy in copies:
        _write_flac(copy, waveform)


def _write_flac(path: Path, waveform: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        soundfile.write(temporary, waveform, voices.SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def _write_enrollments(root: Path, plan: CorpusPlan) -> None:
    """``eval/enroll``: an unseen speaker's enrolled utterances, one after the other."""
    for speaker in plan.unseen_ids:
        parts = [
            soundfile.read(root / "data" / speaker / f"{name}.flac")[0]
            for name in plan.names[: plan.enrolled]
        ]
        _write_flac(root / "eval" / "enroll" / f"{speaker}-enroll.flac", np.concatenate(parts))


def _write_lists(root: Path, plan: CorpusPlan) -> None:
    """The official lists, which say ``.wav``; every enrolment is tried against every test
    utterance."""
    tested = [
        (speaker, f"test/{speaker}-{name}.wav")
        for speaker in plan.unseen_ids
        for name in plan.names[plan.enrolled :]
    ]
    enrolled = {
        speaker: " ".join(f"{speaker}/{name}.wav" for name in plan.names[: plan.enrolled])
        for speaker in plan.unseen_ids
    }
    lists = {
        "dev/dev.lst": plan.training_ids,
        "eval/lists/enroll.lst": [
            f"{speaker}-enroll enroll/{speaker}-enroll.wav" for speaker in enrolled
        ],
        "eval/lists/enroll.map": [
            f"{speaker}-enroll {utterances}" for speaker, utterances in enrolled.items()
        ],
        "eval/lists/test.lst": [key for _, key in tested],
        "eval/lists/trials.lst": [
            f"{speaker}-enroll {key} {int(speaker == spoken)}"
            for speaker in enrolled
            for spoken, key in tested
        ],
    }
    for name, lines in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(root / name) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    # Dies without a word of the terminal's Ctrl-C, and soon after its parent: of writing to the
    # broken pipe.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _make_share(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
