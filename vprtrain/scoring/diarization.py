"""Diarization error rate (DER) and Jaccard error rate (JER) of who is said to speak when.

The time is cut at every boundary into pieces in which nothing changes. In each piece, with the
number of speakers of the reference ``r`` and of the hypothesis ``h``, ``max(0, r - h)`` is missed,
``max(0, h - r)`` is false alarm, and confusion is ``min(r, h)`` less the speakers that are right
under the one mapping of speakers that makes most of the recording right. DER is the sum of the
three over the speech of the reference (NIST, RT-09 evaluation plan, 2009). JER is the mean over the
speakers of the reference of one minus the Jaccard index with the mapped speaker (Ryant et al.,
The second DIHARD challenge, 2019).

The results are those of pyannote.metrics with twice the collar, because its collar is the width of
the whole zone, and those of md-eval and dscore with the same collar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from vprtrain.errors import UsageError, require_number
from vprtrain.lists import Segment, Span

_MOST_SPEAKERS = 2_000  # of a recording; the mapping takes seconds and 32 MB
_MOST_ENTRIES = 20_000_000  # speakers in pieces, about 250 MB


@dataclass(frozen=True, kw_only=True)
class DiarizationErrors:
    """Errors of one recording, or of several by ``+``. Times are seconds of speech: a second in
    which two people speak counts twice."""

    speech: float = 0.0
    """Speech of the reference that is scored."""
    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    speakers: int = 0
    """Speakers of the reference with scored speech."""
    found_speakers: int = 0
    """Speakers of the hypothesis with scored speech."""
    jaccard_errors: float = 0.0
    """The sum over :attr:`speakers`."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Of one recording: from speakers of the hypothesis to those of the reference."""

    @property
    def der(self) -> float:
        """The errors as a fraction of the speech, which may be above 1."""
        return self.rate(self.missed + self.false_alarm + self.confusion)

    @property
    def jer(self) -> float:
        """The mean Jaccard error of the speakers, from 0 to 1."""
        if self.speakers:
            return self.jaccard_errors / self.speakers
        return float(self.found_speakers > 0)

    def rate(self, seconds: float) -> float:
        """Seconds as a fraction of the speech; without any speech, 1 for any seconds."""
        return seconds / self.speech if self.speech else float(seconds > 0)

    def __add__(self, other: DiarizationErrors) -> DiarizationErrors:
        return DiarizationErrors(
            speech=self.speech + other.speech,
            missed=self.missed + other.missed,
            false_alarm=self.false_alarm + other.false_alarm,
            confusion=self.confusion + other.confusion,
            speakers=self.speakers + other.speakers,
            found_speakers=self.found_speakers + other.found_speakers,
            jaccard_errors=self.jaccard_errors + other.jaccard_errors,
        )


def score_diarization(
    reference: Sequence[Segment],
    hypothesis: Sequence[Segment],
    *,
    scored: Iterable[Span] | None = None,
    collar: float = 0.0,
    skip_overlap: bool = False,
) -> DiarizationErrors:
    """The errors of a hypothesis on one recording.

    Segments of the same speaker may touch or overlap; a speaker speaks at most once at a time.

    Args:
        scored: the parts that are scored, as of a UEM file; the whole recording by default.
        collar: seconds before and after each boundary of a reference segment that are not scored.
            The field's usual 0.25 leaves out half a second around each boundary.
        skip_overlap: score only where at most one speaker of the reference speaks.

    Raises:
        UsageError: the collar is negative, or there are too many speakers or segments.
    """
    require_number("collar", collar, least=0)
    zones = [
        Span(time - collar, time + collar)
        for segment in reference
        for time in (segment.start, segment.end)
        if collar
    ]
    parts = None if scored is None else list(scored)
    edges = np.unique(
        [t for each in (*reference, *hypothesis, *zones, *(parts or ())) for t in _ends(each)]
    )
    weights = np.diff(edges) * ~_covered(zones, edges)
    if parts is not None:
        weights *= _covered(parts, edges)
    real, found = _Activity(reference, edges), _Activity(hypothesis, edges)
    if skip_overlap:
        weights *= real.count < 2
    return _errors(real, found, weights)


class _Activity:
    """Who speaks in which piece.

    Args:
        edges: the times between the pieces, float64 ``[pieces + 1]``.
    """

    def __init__(self, segments: Sequence[Segment], edges: np.ndarray) -> None:
        self.names = sorted({segment.speaker for segment in segments})
        if len(self.names) > _MOST_SPEAKERS:
            raise UsageError(
                f"{len(self.names):,} speakers in one recording; expected {_MOST_SPEAKERS:,} at "
                "most"
            )
        rows = {name: row for row, name in enumerate(self.names)}
        first, last = _places(segments, edges)
        lengths = last - first
        if lengths.sum() > _MOST_ENTRIES:
            raise UsageError(
                f"{len(segments):,} segments of one recording overlap too often to be scored"
            )
        speakers = np.repeat([rows[segment.speaker] for segment in segments], lengths)
        pieces = np.arange(lengths.sum()) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        shape = len(self.names), max(len(edges) - 1, 0)
        self.active = csr_array((np.ones(len(pieces)), (speakers, pieces)), shape=shape)
        """1 where a speaker speaks, float64 ``[speakers, pieces]``."""
        self.active.sum_duplicates()
        self.active.data[:] = 1
        self.count: np.ndarray = self.active.sum(axis=0)
        """The number of speakers, ``[pieces]``."""


def _errors(real: _Activity, found: _Activity, weights: np.ndarray) -> DiarizationErrors:
    """Args: weights: the scored seconds of each piece, ``[pieces]``."""
    together = ((real.active * weights) @ found.active.T).toarray()
    rows, columns = linear_sum_assignment(together, maximize=True)
    paired = together[rows, columns] > 0
    rows, columns = rows[paired], columns[paired]
    right = (real.active[rows] * found.active[columns]).sum(axis=0)
    real_time, found_time = real.active @ weights, found.active @ weights
    shared = together[rows, columns]
    jaccard = shared / (real_time[rows] + found_time[columns] - shared)
    speakers = int(np.count_nonzero(real_time))
    return DiarizationErrors(
        speech=float(real.count @ weights),
        missed=float(np.maximum(real.count - found.count, 0) @ weights),
        false_alarm=float(np.maximum(found.count - real.count, 0) @ weights),
        confusion=float((np.minimum(real.count, found.count) - right) @ weights),
        speakers=speakers,
        found_speakers=int(np.count_nonzero(found_time)),
        jaccard_errors=max(speakers - float(jaccard.sum()), 0.0),
        mapping={
            found.names[column]: real.names[row] for row, column in zip(rows, columns, strict=True)
        },
    )


def _covered(spans: Sequence[Span], edges: np.ndarray) -> np.ndarray:
    """Which pieces lie in a span, bool ``[pieces]``."""
    steps = np.zeros(len(edges), np.int64)
    for places, step in zip(_places(spans, edges), (1, -1), strict=True):
        np.add.at(steps, places, step)
    return np.cumsum(steps)[:-1] > 0


def _places(
    spans: Sequence[Segment] | Sequence[Span], edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first piece of each span, and the first after it, int64 ``[spans]``."""
    times = np.array([_ends(span) for span in spans], np.float64).reshape(-1, 2)
    first, last = np.searchsorted(edges, times.T)
    return first, last


def _ends(span: Segment | Span) -> tuple[float, float]:
    return span.start, span.end
