"""The corpus of the quick start: synthetic speakers in the folder layout of CN-Celeb.

:func:`make_corpus` runs this module in several processes, as ``-m MODULE FOLDER PART PARTS``;
each makes its share of the utterances and nothing else.
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
from vprtrain.errors import RunError, UsageError, cause, shown
from vprtrain.files import parse_json, read_file, replacing

ROOT = "CN-Celeb_flac"
_DONE = "corpus.json"  # the plan of a complete corpus
_BEGUN = "corpus.partial.json"  # the plan of an incomplete one
_MOST_PLAN_BYTES = 1 << 16
_FIRST_UNSEEN = 800  # the evaluation speakers of CN-Celeb begin at id00800
_ENROLLED = 3  # utterances in an enrolment
# Otherwise glibc returns the memory of every array to the system and asks for it again, which takes
# a third of the time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 26), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """Everything that determines the corpus."""

    speakers: int
    unseen: int
    utterances: int
    seconds: float
    seed: int
    generator: int = voices.VERSION

    def validate(self) -> None:
        """Check that the sizes fit CN-Celeb's layout and allow an evaluation.

        Raises:
            UsageError: a size is out of range.
        """
        if not (2 <= self.speakers <= _FIRST_UNSEEN and 2 <= self.unseen <= 200):
            raise UsageError(
                "expected 2 to 800 speakers and 2 to 200 unseen, "
                f"not {self.speakers} and {self.unseen}"
            )
        if self.utterances < 2 or self.seconds < 0.5 or self.seed < 0:
            raise UsageError(
                "expected at least 2 utterances of 0.5 s and a seed of 0 or more, "
                f"not {self.utterances} of {self.seconds} s and {self.seed}"
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
        """The number of utterances of an unseen speaker that are enrolled; the rest are tested."""
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
    """Make the corpus, or complete it, and return its folder ``folder/CN-Celeb_flac``.

    The recordings are FLAC at 16 kHz; each utterance has a recording channel of its own. A complete
    corpus of the same plan is used as it is. When this process is interrupted or killed, its worker
    processes end too.

    Args:
        folder: the place of the corpus and of its plan.
        speakers: number of training speakers.
        unseen: number of evaluation speakers.
        utterances: of each speaker.
        seconds: length of an utterance.
        seed: determines every voice and utterance.
        processes: number of worker processes.

    Raises:
        UsageError: a size is out of range, or the folder holds something else.
        RunError: a worker process failed.
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
        _write_enrolments(folder / ROOT, plan)
        _write_lists(folder / ROOT, plan)
        os.replace(folder / _BEGUN, folder / _DONE)
    return folder / ROOT


def _begin(folder: Path, plan: CorpusPlan) -> bool:
    """Write the plan into the folder. True when the corpus is complete already."""
    for marker in (folder / _DONE, folder / _BEGUN):
        if marker.exists():
            try:
                found = parse_json(read_file(marker, _MOST_PLAN_BYTES))
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"{marker} is not the plan of a synthetic corpus ({cause(error)}); delete "
                    f"{folder} or choose another folder"
                ) from error
            if found != asdict(plan):
                raise UsageError(
                    f"{folder} holds another synthetic corpus: {shown(found, 300)}, not "
                    f"{asdict(plan)}; delete it or choose another folder"
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
    """Make all utterances in worker processes.

    Each worker writes a line to a common pipe for every utterance; the pipe ends when all workers
    have ended.
    """
    reading, writing = os.pipe()
    # Not multiprocessing, which imports the caller's main script and with it Paddle.
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
                    command = [
                        sys.executable,
                        "-m",
                        __name__,
                        str(folder),
                        str(part),
                        str(processes),
                    ]
                    workers.append(subprocess.Popen(command, stdout=writing, env=environment))
            finally:
                os.close(writing)
            total = (plan.speakers + plan.unseen) * plan.utterances
            for _ in tqdm(progress, total=total, desc="synthesising", unit="utt", disable=None):
                pass
        failed = [worker.returncode for worker in workers if worker.wait() != 0]
        if failed:
            raise RunError(
                f"{folder}: making the corpus failed (exit status {failed[0]}, message above)"
            )
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()


def _make_share(folder: Path, part: int, parts: int) -> None:
    """Make every ``parts``-th missing utterance, starting with number ``part``."""
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


def _write_enrolments(root: Path, plan: CorpusPlan) -> None:
    """Write ``eval/enroll``: the enrolled utterances of each unseen speaker, concatenated."""
    for speaker in plan.unseen_ids:
        parts = [
            soundfile.read(root / "data" / speaker / f"{name}.flac")[0]
            for name in plan.names[: plan.enrolled]
        ]
        _write_flac(root / "eval" / "enroll" / f"{speaker}-enroll.flac", np.concatenate(parts))


def _write_lists(root: Path, plan: CorpusPlan) -> None:
    """Write lists like the official ones, which say ``.wav``.

    The trials pair every enrolment with every test utterance.
    """
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
    # Ctrl-C ends a worker silently; the broken pipe ends it soon after its parent.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _make_share(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
