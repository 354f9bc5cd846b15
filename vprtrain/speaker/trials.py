"""The evaluation data: the whole utterances that a trial list and its enrolment name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vprtrain.data.manifest import Recording, read_recordings
from vprtrain.data.rank_share import RankShare
from vprtrain.data.reading import Reading
from vprtrain.data.whole_utterances import EvaluationBatch, WholeUtterances
from vprtrain.engine.module import ValidationData
from vprtrain.errors import UsageError
from vprtrain.files import StrPath, file_sha256
from vprtrain.scoring.trials import Enrollment, Trials, read_enrollment, read_trials


class TrialData(ValidationData):
    """Every utterance that trials or enrolment name, once and whole; one shorter than half a second
    is repeated.

    Args:
        trials: a trial list in any format of :func:`vprtrain.scoring.trials.read_trials`; or
            several lists by name, of which the first one chooses the best model.
        enroll_list: ppvector's enrol list; ``trials`` is then ppvector's trials list, and all
            pairs are trials.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``: the recordings that trials and
            enrolment name. Optional with ``enroll_list``, because ppvector's lists name paths.
        enroll: lines of ``enrol-id id id ...``: an enrolment is the mean of several utterances'
            embeddings. Without it every enrol id of the trials is a recording.
        reading: how the recordings are read.
        share: the part of the recordings that this rank reads.

    Raises:
        UsageError: a file cannot be used, or a recording is missing.
    """

    unit = "utterances"

    def __init__(
        self,
        *,
        trials: StrPath | Mapping[str, StrPath],
        eval_manifest: StrPath | None = None,
        enroll: StrPath | None = None,
        enroll_list: StrPath | None = None,
        reading: Reading = Reading(),
        share: RankShare = RankShare(),
    ) -> None:
        paths = lists_by_name(trials)
        self.lists: dict[str, Trials] = {
            name: read_trials(path, enroll_list=enroll_list) for name, path in paths.items()
        }
        """The trials of each list by name; a single list may have an empty name."""
        self.trials: Trials = next(iter(self.lists.values()))
        """Those of the first list."""
        self.enrollment: Enrollment | None = None if enroll is None else read_enrollment(enroll)
        ids = TrialIds.of(self.lists.values())
        first = next(iter(paths.values()))
        needed = _needed_recordings(
            ids,
            self.enrollment,
            enroll or first,
            listed_recordings(ids, eval_manifest, enroll_list),
            eval_manifest or first,
        )
        self.utterances = WholeUtterances(needed, reading=reading, share=share)
        files = {"enroll_list": enroll_list, "eval_manifest": eval_manifest, "enroll": enroll}
        digests = {name: file_sha256(path) for name, path in paths.items()}
        self._fingerprint = {
            "trials": digests.get("", digests),
            **{name: None if path is None else file_sha256(path) for name, path in files.items()},
        }

    def validation_batches(self) -> Iterator[EvaluationBatch]:
        return self.utterances.batches()

    def fingerprint(self) -> dict[str, Any]:
        """The SHA-256 of every file, ``None`` for one that was not given; of several trial lists by
        name."""
        return dict(self._fingerprint)


def lists_by_name(trials: StrPath | Mapping[str, StrPath]) -> dict[str, StrPath]:
    """One or several trial lists by name; a single path has an empty name.

    Raises:
        UsageError: there is no list, or a name cannot be part of a metric's name.
    """
    if isinstance(trials, str | os.PathLike):
        return {"": trials}
    if not trials:
        raise UsageError("trials names no list: expected a path, or paths by name")
    for name in trials:
        if not re.fullmatch(r"\w[\w.-]*", name) or name == "step":
            raise UsageError(
                f"a trial list is called {name!r}: expected letters, digits, '_', '-' or '.', "
                "and not 'step'"
            )
    return dict(trials)


class TrialIds(NamedTuple):
    """The ids in one or several trial lists, each once."""

    enroll: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def of(cls, lists: Iterable[Trials]) -> TrialIds:
        """Those of these lists, in their order."""
        lists = list(lists)
        enroll = dict.fromkeys(key for trials in lists for key in trials.enroll_ids)
        test = dict.fromkeys(key for trials in lists for key in trials.test_ids)
        return cls(tuple(enroll), tuple(test))


def listed_recordings(
    ids: TrialIds, eval_manifest: StrPath | None, enroll_list: StrPath | None
) -> dict[str, Recording]:
    """The recording of every id: from the manifest, or with ppvector's lists the path that the id
    is.

    Raises:
        UsageError: neither is given.
    """
    if eval_manifest is not None:
        return read_recordings(eval_manifest)
    if enroll_list is None:
        raise UsageError(
            "the trials have no eval_manifest: give one, with lines of id<TAB>path for the ids in "
            "the trials"
        )
    return {key: Recording(key, None) for key in (*ids.enroll, *ids.test)}


def refuse_missing(missing: list[str], what: str) -> None:
    """Raise :class:`UsageError` if anything is missing; the message names the first five."""
    if missing:
        others = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(f"{what}: {', '.join(missing[:5])}{others}; prepare the data set again")


def _needed_recordings(
    ids: TrialIds,
    enrollment: Enrollment | None,
    enrolled_in: StrPath,
    recordings: Mapping[str, Recording],
    listed_in: StrPath,
) -> dict[str, Recording]:
    """The recordings that an evaluation needs. Missing ones are reported now, not after days of
    training."""
    enrolled = set(ids.enroll)
    if enrollment is not None:
        unknown = [key for key in ids.enroll if key not in enrollment]
        refuse_missing(unknown, f"{enrolled_in}: no line for enrol ids of the trials")
        enrolled = {utterance for key in ids.enroll for utterance in enrollment[key]}
    needed = sorted(enrolled.union(ids.test))
    refuse_missing(
        [key for key in needed if key not in recordings],
        f"{listed_in}: no line for ids of the trials",
    )
    absent = [recordings[key].path for key in needed if not os.path.isfile(recordings[key].path)]
    refuse_missing(absent, f"{listed_in}: recordings that are not on disk")
    return {key: recordings[key] for key in needed}
