"""From the unpacked CN-Celeb archives to the four text files that training and evaluation read.

Audio is neither moved nor converted. The official lists say ``.wav`` where the archives hold ``.flac``;
either is found.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vprtrain.checkpoint.files import replacing
from vprtrain.data.audio import AudioError, audio_duration
from vprtrain.data.loader import load_in_order
from vprtrain.data.manifest import write_manifest
from vprtrain.errors import UsageError
from vprtrain.scoring.trials import read_enrollment, read_trials

TRAIN_MANIFEST = "train.tsv"
EVAL_MANIFEST = "eval.tsv"
TRIALS = "trials.txt"
ENROLLMENT = "enroll.map"

_SUFFIXES = (".flac", ".wav")
# Of the complete archives, by the public recipes: shown beside what is found, never enforced.
_OFFICIAL = {"CN-Celeb1 training speakers": 797, "CN-Celeb2 training speakers": 1996, "trials": 3_484_292}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was found and left out, as counts and as a text for people."""

    train_speakers: int
    train_utterances: int
    train_hours: float
    too_short: int
    unreadable: tuple[str, ...]
    eval_recordings: int
    enrollments: int
    trials: int
    target_trials: int
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"training: {self.train_speakers} speakers, {self.train_utterances} utterances, {self.train_hours:.1f} h",
            f"left out: {self.too_short} too short, {len(self.unreadable)} unreadable",
            *(f"  {reason}" for reason in self.unreadable[:5]),
            f"evaluation: {self.enrollments} enrolments, {self.eval_recordings} recordings, "
            f"{self.trials} trials ({self.target_trials} target)",
            *(f"note: {remark}" for remark in self.remarks),
        ]
        return "\n".join(lines)


def prepare(
    data_root: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    data_root2: str | os.PathLike[str] | None = None,
    min_seconds: float = 0.5,
    workers: int = 8,
) -> Prepared:
    """Write ``train.tsv``, ``eval.tsv``, ``trials.txt`` and ``enroll.map`` into ``out_dir``.

    ``data_root`` is ``CN-Celeb_flac`` (or the folder that holds it), ``data_root2`` ``CN-Celeb2_flac``.
    Training speakers are those of ``dev/dev.lst`` and of CN-Celeb2's ``spk.lst``; utterances below
    ``min_seconds`` or without a readable header are left out and counted. ``eval.tsv`` knows the utterances
    of ``enroll.map`` and the concatenated ``enroll/*-enroll`` files alike, so either enrolment can be scored.
    Every file appears complete or not at all; a second run writes the same again.

    Raises :class:`UsageError` naming what was looked for where it is not, and evaluation files that are
    missing.
    """
    first = _find_root(Path(data_root), "CN-Celeb_flac", ("data", "dev/dev.lst", "eval/lists/trials.lst"))
    second = None if data_root2 is None else _find_root(Path(data_root2), "CN-Celeb2_flac", ("data", "spk.lst"))
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    remarks: list[str] = []

    evaluation = _evaluation_files(first)
    speakers = _read_speakers(first / "dev" / "dev.lst")
    _compare("CN-Celeb1 training speakers", len(speakers), remarks)
    utterances = _training_files(first, speakers, remarks)
    if second is not None:
        speakers = _read_speakers(second / "spk.lst")
        _compare("CN-Celeb2 training speakers", len(speakers), remarks)
        utterances += _training_files(second, speakers, remarks)
    rows, too_short, unreadable = _measure_training(utterances, min_seconds, workers, out)
    if not rows:
        raise UsageError(f"{first}: no training utterance is left (expected data/<speaker of dev/dev.lst>/*.flac)")
    eval_rows = _measure_evaluation(evaluation, workers, out)

    write_manifest(out / TRAIN_MANIFEST, rows)
    write_manifest(out / EVAL_MANIFEST, eval_rows)
    for name, source in ((TRIALS, "trials.lst"), (ENROLLMENT, "enroll.map")):
        with replacing(out / name) as temporary:
            shutil.copyfile(first / "eval" / "lists" / source, temporary)
    trials = read_trials(out / TRIALS)
    _compare("trials", len(trials), remarks)
    return Prepared(
        train_speakers=len({speaker for _, speaker, _ in rows}),
        train_utterances=len(rows),
        train_hours=sum(seconds for _, _, seconds in rows) / 3600,
        too_short=too_short,
        unreadable=tuple(unreadable),
        eval_recordings=len(eval_rows),
        enrollments=len(trials.enroll_ids),
        trials=len(trials),
        target_trials=int(trials.targets.sum()),
        remarks=tuple(remarks),
    )


def _find_root(given: Path, name: str, needed: tuple[str, ...]) -> Path:
    """The archive's folder: the one given, or ``name`` in it."""
    for root in (given, given / name):
        if all((root / part).exists() for part in needed):
            return root.resolve()
    missing = [part for part in needed if not (given / part).exists()]
    raise UsageError(
        f"{given}: not an unpacked {name}: {', '.join(missing)} not found in it, nor in {given / name}; "
        f"give the folder {name} that the archive unpacks to"
    )


def _read_speakers(path: Path) -> list[str]:
    speakers = sorted({line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()})
    if not speakers:
        raise UsageError(f"{path}: empty; expected one speaker id a line")
    return speakers


def _training_files(root: Path, speakers: list[str], remarks: list[str]) -> list[tuple[str, str]]:
    """(path, speaker) of the listed speakers' utterances, in order; the FLAC one where there is a WAV too."""
    found: list[tuple[str, str]] = []
    absent = []
    for speaker in speakers:
        folder = root / "data" / speaker
        if not folder.is_dir():
            absent.append(speaker)
            continue
        names = (name for name in os.listdir(folder) if not name.startswith("."))
        by_stem = {}
        for name in sorted(names, reverse=True):  # .wav before .flac, which stays
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in _SUFFIXES:
                by_stem[stem] = os.path.join(folder, name)
        found.extend((by_stem[stem], speaker) for stem in sorted(by_stem))
    if absent:
        remarks.append(f"{len(absent)} listed speakers have no folder in {root / 'data'}: {', '.join(absent[:5])}")
    return found


def _evaluation_files(root: Path) -> list[tuple[str, str]]:
    """(id, path) of every recording that trials and both enrolments speak of; a missing one is an error."""
    lists = root / "eval" / "lists"
    trials = read_trials(lists / "trials.lst")
    enrollment = read_enrollment(lists / "enroll.map")
    concatenated = {key: files[0] for key, files in read_enrollment(lists / "enroll.lst").items()}
    wanted = {key: root / "eval" / key for key in trials.test_ids}
    wanted |= {key: root / "data" / key for keys in enrollment.values() for key in keys}
    wanted |= {key: root / "eval" / file for key, file in concatenated.items()}
    for source, known in (("enroll.map", enrollment), ("enroll.lst", concatenated)):
        if unknown := [key for key in trials.enroll_ids if key not in known]:
            raise UsageError(
                f"{lists / source}: no line for {len(unknown)} enrol ids of trials.lst: {', '.join(unknown[:5])}"
            )
    files = {key: _with_any_suffix(path) for key, path in wanted.items()}
    if missing := [str(wanted[key]) for key, path in files.items() if path is None]:
        raise UsageError(
            f"{root}: {len(missing)} recordings of the evaluation are missing (looked for .wav and .flac): "
            f"{', '.join(missing[:5])}; unpack the archive again"
        )
    return [(key, str(path)) for key, path in sorted(files.items())]


def _with_any_suffix(path: Path) -> Path | None:
    """The file as listed, or as FLAC or WAV."""
    return next((found for found in (path, *map(path.with_suffix, _SUFFIXES)) if found.is_file()), None)


def _measure_training(
    utterances: list[tuple[str, str]], min_seconds: float, workers: int, out: Path
) -> tuple[list[tuple[str, str, float]], int, list[str]]:
    """The manifest's rows, how many utterances are too short, and why others cannot be read."""
    rows: list[tuple[str, str, float]] = []
    too_short, unreadable = 0, []
    durations = _durations([path for path, _ in utterances], workers, "training files")
    for (path, speaker), duration in zip(utterances, durations, strict=True):
        if isinstance(duration, AudioError):
            unreadable.append(str(duration))
        elif duration < min_seconds:
            too_short += 1
        else:
            rows.append((_written(path, out), speaker, duration))
    return rows, too_short, unreadable


def _measure_evaluation(recordings: list[tuple[str, str]], workers: int, out: Path) -> list[tuple[str, str, float]]:
    rows: list[tuple[str, str, float]] = []
    unreadable = []
    durations = _durations([path for _, path in recordings], workers, "evaluation files")
    for (key, path), duration in zip(recordings, durations, strict=True):
        if isinstance(duration, AudioError):
            unreadable.append(str(duration))
        else:
            rows.append((key, _written(path, out), duration))
    if unreadable:
        raise UsageError(f"{len(unreadable)} recordings of the evaluation cannot be read: {'; '.join(unreadable[:5])}")
    return rows


def _durations(paths: list[str], workers: int, what: str) -> Iterator[float | AudioError]:
    """Seconds by the header of every file, or why there are none; read by threads, in order."""

    def measure(path: str) -> float | AudioError:
        try:
            return audio_duration(path)
        except AudioError as error:
            return error

    measured = load_in_order(measure, paths, workers=workers, prefetch=64 * workers)
    yield from tqdm(measured, total=len(paths), desc=what, unit="file")


def _written(path: str, out: Path) -> str:
    """Relative where the audio lies under the manifests' folder, so that both can be moved together."""
    folder = os.path.realpath(out)
    return os.path.relpath(path, folder) if os.path.commonpath([path, folder]) == folder else path


def _compare(what: str, found: int, remarks: list[str]) -> None:
    if found != _OFFICIAL[what]:
        remarks.append(f"{found} {what}; the complete archive has {_OFFICIAL[what]}")
