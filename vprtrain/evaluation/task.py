"""What a checkpoint is evaluated on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.audio import Channel
from vprtrain.data.manifest import Recording
from vprtrain.data.rank_share import RankShare
from vprtrain.data.reading import Reading
from vprtrain.data.whole_utterances import WholeUtterances
from vprtrain.errors import UsageError
from vprtrain.ranks.ranks import Ranks
from vprtrain.scoring.conditions import DURATION_EDGES
from vprtrain.scoring.normalize import DEFAULT_TOP, Norm
from vprtrain.speaker.trials import lists_by_name


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What a checkpoint is evaluated on, and how.

    Args:
        data_set: its name for people; ``None`` for that of the trial lists.
        trials: a trial list, or ppvector's list of test utterances if ``enroll_list`` is given; or
            several lists by name.
        eval_manifest: lines of ``id<TAB>path[<TAB>seconds]``; ``None`` for ppvector's lists, whose
            ids are paths.
        enroll: lines of ``enrol-id id id ...``. With it the headline is the averaged enrolment; if
            the manifest also has recordings of the enrol ids, the concatenated enrolment is scored
            too. Without it every enrol id is a recording.
        enroll_list: ppvector's list of enrolment utterances.
        sample_rate, channel, workers: as in :class:`vprtrain.data.Reading`.
        max_seconds: only the beginning of longer recordings is used; ``None`` uses all of them.
        cohort: a training manifest. The scores are also normalised by its speakers. ``None`` for
            cosines only.
        norm, top: as in :func:`vprtrain.scoring.normalize.normalize_scores`.
        bootstrap: the number of draws of speakers for confidence intervals; 0 for no intervals.
        by: also give the metrics of each condition: ``genre``, ``duration``, or a column of
            ``by_table``; as in :func:`vprtrain.scoring.conditions.trial_conditions`.
        by_table: a table of utterances, with the names of its columns in the first line.
        by_seconds: what divides durations.
        write_scores: write the score of every trial to ``scores_<name>.txt`` beside the report.

    Raises:
        UsageError: an option is out of its range.
    """

    data_set: str | None = None
    trials: str | Mapping[str, str]
    eval_manifest: str | None = None
    enroll: str | None = None
    enroll_list: str | None = None
    sample_rate: int = 16000
    channel: Channel = 0
    max_seconds: float | None = None
    workers: int = 2
    cohort: str | None = None
    norm: Norm = "as-norm"
    top: int = DEFAULT_TOP
    bootstrap: int = 0
    by: str | None = None
    by_table: str | None = None
    by_seconds: Sequence[float] = DURATION_EDGES
    write_scores: bool = False

    def __post_init__(self) -> None:
        seconds = 1.0 if self.max_seconds is None else self.max_seconds
        for name, value, least in (
            ("top", self.top, 2),
            ("bootstrap", self.bootstrap, 0),
            ("workers", self.workers, 0),
        ):
            if value < least:
                raise UsageError(f"{name} is {value}: expected {least} or more")
        if not seconds > 0:
            raise UsageError(f"max_seconds is {seconds}: expected more than 0")
        if self.by is None and self.by_table is not None:
            raise UsageError("--by_table goes with --by, which names one of its columns")

    @property
    def data_name(self) -> str:
        """What the checkpoint is evaluated on, for people."""
        lists = lists_by_name(self.trials)
        return self.data_set or ", ".join(name or str(path) for name, path in lists.items())

    def utterances(self, recordings: Mapping[str, Recording], ranks: Ranks) -> WholeUtterances:
        """The recordings with this task's reading options, shared among the ranks."""
        return WholeUtterances(
            recordings,
            reading=Reading(
                sample_rate=self.sample_rate, channel=self.channel, workers=self.workers
            ),
            share=RankShare(ranks.rank, ranks.size),
            max_seconds=self.max_seconds,
            lenient=True,
        )


def report_folder(saved: SavedCheckpoint, trials: str | Mapping[str, str]) -> Path:
    """The folder for the report on a trial list, or on several by name.

    It lies beside the checkpoint's folder, into which nothing is ever written.
    """
    name = Path(trials).stem if isinstance(trials, str) else "+".join(trials)
    return saved.folder.parent / "validation" / saved.folder.name / name
