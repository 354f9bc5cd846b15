"""The evaluation's side of the data: the whole utterances that a trial list and its enrolment speak
of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from vprtrain.data.loader import WORKER_TIMEOUT
from vprtrain.data.manifest import Recording, file_sha256, read_recordings
from vprtrain.data.whole_utterances import EvaluationBatch, WholeUtterances
from vprtrain.engine.module import ValidationData
from vprtrain.errors import UsageError
from vprtrain.scoring.trials import Enrollment, Trials, read_enrollment, read_trials

StrPath = str | os.PathLike[str]


class TrialData(ValidationData):
    """Every utterance that trials or enrolment name, once and whole (repeated if below half a
    second).

    Args:
        trials: a trial list in any of the forms of :func:`vprtrain.scoring.trials.read_trials`.
        enroll_list: ppvector's enrol list, ``trials`` then being its trials list; all pairs are
            trials.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``, the recordings that trials and
            enrolment speak of. May be left out with ``enroll_list``: what ppvector's lists name are
            paths.
        enroll: lines of ``enrol-id id id ...``: an enrolment is the mean of several utterances'
            embeddings. Without it, every enrol id of the trials is a recording itself.
        sample_rate: in Hz, to which all recordings are resampled.
        channel: which is read of a recording with several, counted from 0.
        workers: threads that read; 0 reads in the calling thread.
        worker_timeout: the longest that a recording may take to load, in seconds (not with 0
            workers).
        rank: which of the processes this is: its batches are a part of all.
        world_size: how many processes there are.

    Raises :class:`UsageError` for files that cannot be evaluated on, recordings that are missing
    included.
    """

    unit = "utterances"

    def __init__(
        self,
        *,
        trials: StrPath,
        eval_manifest: StrPath | None = None,
        enroll: StrPath | None = None,
        enroll_list: StrPath | None = None,
        sample_rate: int = 16000,
        channel: int = 0,
        workers: int = 2,
        worker_timeout: float = WORKER_TIMEOUT,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.trials: Trials = read_trials(trials, enroll_list=enroll_list)
        self.enrollment: Enrollment | None = None if enroll is None else read_enrollment(enroll)
        self.utterances = WholeUtterances(
            _evaluated(
                self.trials,
                self.enrollment,
                enroll or trials,
                listed_recordings(self.trials, eval_manifest, enroll_list),
                eval_manifest or trials,
            ),
            sample_rate=sample_rate,
            channel=channel,
            workers=workers,
            worker_timeout=worker_timeout,
            rank=rank,
            world_size=world_size,
        )
        files = {
            "trials": trials,
            "enroll_list": enroll_list,
            "eval_manifest": eval_manifest,
            "enroll": enroll,
        }
        self._fingerprint = {
            name: None if path is None else file_sha256(path) for name, path in files.items()
        }

    def validation_batches(self) -> Iterator[EvaluationBatch]:
        return self.utterances.batches()

    def fingerprint(self) -> dict[str, Any]:
        """Digests of the files' texts."""
        return dict(self._fingerprint)


def listed_recordings(
    trials: Trials, eval_manifest: StrPath | None, enroll_list: StrPath | None
) -> dict[str, Recording]:
    """The recordings that ids stand for: those of the manifest, or with ppvector's lists the paths
    that they are.

    Raises :class:`UsageError` where neither says.
    """
    if eval_manifest is not None:
        return read_recordings(eval_manifest)
    if enroll_list is None:
        raise UsageError(
            "the trials have no eval_manifest: give one, lines of id<TAB>path for what they speak of"
        )
    return {key: Recording(key, None) for key in (*trials.enroll_ids, *trials.test_ids)}


def refuse_missing(missing: list[str], what: str) -> None:
    """Raise :class:`UsageError` that names the first few of them, where there are any."""
    if missing:
        others = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(f"{what}: {', '.join(missing[:5])}{others}; prepare the data set again")


def _evaluated(
    trials: Trials,
    enrollment: Enrollment | None,
    enrolled_in: StrPath,
    recordings: dict[str, Recording],
    listed_in: StrPath,
) -> dict[str, Recording]:
    """The recordings that an evaluation needs; a missing one is found now, not after days of
    training."""
    enrolled = set(trials.enroll_ids)
    if enrollment is not None:
        unknown = [key for key in trials.enroll_ids if key not in enrollment]
        refuse_missing(unknown, f"{enrolled_in}: no line for enrol ids of the trials")
        enrolled = {utterance for key in trials.enroll_ids for utterance in enrollment[key]}
    needed = sorted(enrolled.union(trials.test_ids))
    refuse_missing(
        [key for key in needed if key not in recordings],
        f"{listed_in}: no line for ids of the trials",
    )
    absent = [recordings[key].path for key in needed if not os.path.isfile(recordings[key].path)]
    refuse_missing(absent, f"{listed_in}: recordings that are not on disk")
    return {key: recordings[key] for key in needed}
