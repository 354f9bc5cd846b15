"""Diarization of many recordings, as RTTM files give it, against their references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists import Segment, Span, read_rttm, read_uem
from vprtrain.scoring.diarization import DiarizationErrors, score_diarization

Timelines = Mapping[str, Sequence[Segment]]
"""The segments of each recording"""

TOTAL = "all recordings"

_Part = TypeVar("_Part", Segment, Span)


@dataclass(frozen=True, kw_only=True)
class DiarizationEvaluation:
    """The result of :func:`evaluate_diarization`."""

    recordings: Mapping[str, DiarizationErrors]
    """By name, sorted"""
    collar: float
    skip_overlap: bool
    missing: Sequence[str]
    """Recordings that the hypothesis lacks, and which count as if no speech was found in them"""
    surplus: Sequence[str]
    """Recordings of the hypothesis that the reference lacks; they do not count."""
    unlisted: Sequence[str]
    """Recordings of the reference that the UEM lacks; they do not count."""

    @cached_property
    def total(self) -> DiarizationErrors:
        """The errors of all recordings together."""
        return sum(self.recordings.values(), DiarizationErrors())

    def as_json(self) -> dict[str, Any]:
        """The total and the recordings as JSON values; rates are fractions, times seconds."""
        return {
            **_as_json(self.total),
            "collar": self.collar,
            "skip_overlap": self.skip_overlap,
            "recordings": {
                name: {**_as_json(errors), "mapping": dict(errors.mapping)}
                for name, errors in self.recordings.items()
            },
            "missing": list(self.missing),
            "surplus": list(self.surplus),
            "unlisted": list(self.unlisted),
        }

    def table(self) -> list[list[str]]:
        """The header, a row for each recording, and the total; the first cell is the name."""
        header = ["recording", "speech", "DER", "missed", "false alarm", "confusion", "JER"]
        rows = [*self.recordings.items(), (TOTAL, self.total)]
        return [[*header, "speakers", "found"], *(_row(*row) for row in rows)]


def evaluate_diarization(
    reference: Timelines,
    hypothesis: Timelines,
    *,
    scored: Mapping[str, Sequence[Span]] | None = None,
    collar: float = 0.0,
    skip_overlap: bool = False,
) -> DiarizationEvaluation:
    """Score the recordings of a reference; arguments as of :func:`score_diarization`.

    A recording of the hypothesis that the reference lacks is taken for the one that is called like
    the part before its first dot: AMI's ``ES2002a.Mix-Headset`` for ``ES2002a``.

    Args:
        scored: the scored parts of each recording, from a UEM file. Recordings without any are not
            scored. By default all recordings are scored as a whole.

    Raises:
        UsageError: no recording can be scored, two of the hypothesis are taken for the same one, or
            as :func:`score_diarization`.
    """
    hypothesis = _as_in(reference, hypothesis)
    names = sorted(set(reference) if scored is None else set(reference) & set(scored))
    if not names and scored is not None:
        raise UsageError(_nothing_in_common(reference, "the UEM", scored))
    if not set(names) & set(hypothesis):
        raise UsageError(_nothing_in_common(names, "the hypothesis", hypothesis))
    return DiarizationEvaluation(
        recordings={
            name: score_diarization(
                reference[name],
                hypothesis.get(name, ()),
                scored=None if scored is None else scored[name],
                collar=collar,
                skip_overlap=skip_overlap,
            )
            for name in names
        },
        collar=collar,
        skip_overlap=skip_overlap,
        missing=[name for name in names if name not in hypothesis],
        surplus=sorted(set(hypothesis) - set(reference)),
        unlisted=sorted(set(reference) - set(names)),
    )


def read_timelines(path: StrPath) -> dict[str, list[Segment]]:
    """Who speaks when in each recording, from an RTTM file or all of a folder.

    A file without a segment is one recording without speech, which has the file's name.

    Raises:
        UsageError: there is no file, one is malformed, or two have the same recording.
    """

    def read(file: Path) -> dict[str, list[Segment]]:
        return read_rttm(file) or {file.stem: []}

    return _read(path, ".rttm", read)


def read_scored_parts(path: StrPath) -> dict[str, list[Span]]:
    """The scored parts of each recording, from a UEM file or all of a folder.

    Raises:
        UsageError: there is no file, one is malformed, or two have the same recording.
    """
    return _read(path, ".uem", read_uem)


def _read(
    path: StrPath, suffix: str, read: Callable[[Path], dict[str, list[_Part]]]
) -> dict[str, list[_Part]]:
    given = Path(path)
    files = sorted(given.rglob(f"*{suffix}")) if given.is_dir() else [given]
    if not files:
        raise UsageError(f"{path}: expected {suffix} files in this folder, found none")
    found: dict[str, list[_Part]] = {}
    owners: dict[str, Path] = {}
    for file in files:
        for name, parts in read(file).items():
            if name in owners:
                raise UsageError(
                    f"{owners[name]} and {file}: both have the recording {shown(name)}; keep one"
                )
            owners[name], found[name] = file, parts
    return found


def _as_in(reference: Timelines, hypothesis: Timelines) -> dict[str, Sequence[Segment]]:
    """The hypothesis with the reference's names."""
    found: dict[str, Sequence[Segment]] = {}
    owners: dict[str, str] = {}
    for given, segments in hypothesis.items():
        short = given.partition(".")[0]
        name = short if given not in reference and short in reference else given
        if name in owners:
            raise UsageError(
                f"{shown(owners[name])} and {shown(given)} of the hypothesis are both taken for "
                f"the recording {shown(name)}: keep one"
            )
        owners[name], found[name] = given, segments
    return found


def _nothing_in_common(names: Iterable[str], what: str, others: Iterable[str]) -> str:
    return (
        f"{what} has none of the recordings of the reference: expected such as "
        f"{shown(min(names, default=''))}, found such as {shown(min(others, default=''))}"
    )


def _as_json(errors: DiarizationErrors) -> dict[str, Any]:
    return {
        "der": errors.der,
        "missed": errors.rate(errors.missed),
        "false_alarm": errors.rate(errors.false_alarm),
        "confusion": errors.rate(errors.confusion),
        "jer": errors.jer,
        "speech": errors.speech,
        "speakers": errors.speakers,
        "found_speakers": errors.found_speakers,
    }


def _row(name: str, errors: DiarizationErrors) -> list[str]:
    rates = (errors.missed, errors.false_alarm, errors.confusion)
    return [
        name,
        f"{errors.speech:,.1f} s",
        f"{errors.der:.2%}",
        *(f"{errors.rate(seconds):.2%}" for seconds in rates),
        f"{errors.jer:.2%}",
        f"{errors.speakers:,}",
        f"{errors.found_speakers:,}",
    ]
