"""The steps of preparing a data set that all data sets share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.bad_audio import BAD_AUDIO_FILE
from vprtrain.data.manifest import write_manifest
from vprtrain.data.preparation.flac import converted_to_flac
from vprtrain.data.preparation.folders import without_suffix
from vprtrain.data.preparation.joining import join_short
from vprtrain.data.preparation.measuring import MeasuredUtterance, Measurer
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import UsageError
from vprtrain.files import StrPath, replacing

TRAIN_MANIFEST = "train.tsv"
EVAL_MANIFEST = "eval.tsv"
SHARDS = "shards"
TRAINING_UTTERANCES = "utterances in train.tsv"

_MEMORY = "durations.cache"
_ESCAPED = str.maketrans({"\t": r"\t", "\n": r"\n", "\r": r"\r"})


class Preparation:
    """Measures, converts and joins recordings, writes the manifests, and counts.

    Every file appears complete or not at all. The next run into the same folder reuses what was
    measured, converted, joined and packed, even if this run is killed.

    Args:
        out_dir: the folder for all output. Manifests name audio in it by relative paths, so the
            folder can be moved.
        min_seconds: shorter training utterances are dropped.
        workers: threads.
        check: decode every recording completely, instead of reading its header only.
        shards: also pack the training utterances into tar files.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(
        self,
        *,
        out_dir: StrPath,
        min_seconds: float = 0.5,
        workers: int = 8,
        check: bool = False,
        shards: bool = False,
    ) -> None:
        if workers < 1 or not min_seconds >= 0:
            raise UsageError(
                "expected workers 1 or more and min_seconds 0 or more, "
                f"not {workers} and {min_seconds}"
            )
        self.out = Path(out_dir).resolve()
        self.summary = Summary()
        self._min_seconds = min_seconds
        self._workers = workers
        self._check = check
        self._shards = shards
        self._bad: dict[str, str] = {}

    def measure(
        self, utterances: Sequence[tuple[str, str]], what: str = "training files"
    ) -> list[MeasuredUtterance]:
        """The utterances whose recordings can be used, measured; the others are counted as bad.

        Args:
            utterances: ``(path, speaker)``.
            what: the title of the progress bar.
        """
        durations = self._measurer.measure(
            [path for path, _ in utterances], what, decode=self._check
        )
        rows = []
        for (path, speaker), seconds in zip(utterances, durations, strict=True):
            if isinstance(seconds, AudioError):
                self._refuse(path, seconds)
            else:
                rows.append(MeasuredUtterance(path, speaker, seconds))
        return rows

    def convert(
        self, utterances: Sequence[tuple[str, str]], source: Path, name: str
    ) -> list[tuple[str, str]]:
        """The same ``(path, speaker)`` as FLAC at 16 kHz in ``out_dir/name``, with the subfolders
        of ``source``."""
        jobs = [
            (path, self.out / name / f"{without_suffix(os.path.relpath(path, source))}.flac")
            for path, _ in utterances
        ]
        converted = []
        for (path, speaker), done in zip(
            utterances, converted_to_flac(jobs, workers=self._workers), strict=True
        ):
            if isinstance(done, AudioError):
                self._refuse(path, done)
            else:
                converted.append((str(done), speaker))
        return converted

    def join(
        self, rows: Sequence[MeasuredUtterance], *, seconds: float, group: Callable[[str], str]
    ) -> list[MeasuredUtterance]:
        """The utterances, short ones joined to at least ``seconds`` as FLAC in ``out_dir/joined``.

        Only consecutive utterances of one speaker and one ``group(path)`` are joined; see
        :func:`vprtrain.data.preparation.joining.choose`.
        """
        joined = []
        for utterance, bad in join_short(rows, seconds, group, self.out / "joined", self._workers):
            joined += [] if utterance is None else [utterance]
            for path, error in bad:
                self._refuse(path, error)
        self.summary.count("utterances and joined utterances", len(joined))
        return joined

    def write_training(self, rows: Sequence[MeasuredUtterance]) -> None:
        """Write ``train.tsv``, and the shards if they were asked for.

        Raises:
            UsageError: no utterance is left.
        """
        kept = [row for row in rows if row.seconds >= self._min_seconds]
        short = [row for row in rows if row.seconds < self._min_seconds]
        self._bad |= {
            row.path: f"{row.seconds:.2f} s; expected at least {self._min_seconds} s"
            for row in short
        }
        if not kept:
            reasons = "".join(f"; {path}: {reason}" for path, reason in list(self._bad.items())[:3])
            raise UsageError(f"no training utterance is left, {len(self._bad)} were bad{reasons}")
        self.summary.count("speakers in train.tsv", len({row.speaker for row in kept}))
        self.summary.count(TRAINING_UTTERANCES, len(kept))
        self.summary.measure("hours in train.tsv", sum(row.seconds for row in kept) / 3600)
        self._write_rows(TRAIN_MANIFEST, kept)
        if self._shards:
            from vprtrain.data.packing import pack

            self.summary.count(
                "shards", pack(self.out / TRAIN_MANIFEST, self.out / SHARDS, workers=self._workers)
            )

    def write_evaluation(self, recordings: Sequence[tuple[str, str]]) -> None:
        """Write ``eval.tsv`` from ``(id, path)``.

        Raises:
            UsageError: a recording cannot be read.
        """
        paths = [path for _, path in recordings]
        rows, unreadable = [], []
        for (key, path), seconds in zip(
            recordings, self._measurer.measure(paths, "evaluation files"), strict=True
        ):
            if isinstance(seconds, AudioError):
                unreadable.append(str(seconds))
            else:
                rows.append((key, self._written(path), seconds))
        if unreadable:
            raise UsageError(
                f"{len(unreadable)} recordings of the evaluation cannot be read: "
                f"{'; '.join(unreadable[:5])}"
            )
        if self._check:
            decoded = zip(
                paths, self._measurer.measure(paths, "checking", decode=True), strict=True
            )
            bad = [(path, found) for path, found in decoded if isinstance(found, AudioError)]
            for path, error in bad:
                self._refuse(path, error)
            self.summary.remark_names("bad recordings stay in eval.tsv", [path for path, _ in bad])
        self.summary.count("recordings in eval.tsv", len(rows))
        write_manifest(self.out / EVAL_MANIFEST, rows)

    def write_classes(self, name: str, recordings: Sequence[tuple[str, str]]) -> None:
        """Write a manifest of ``(path, class)`` for augmentation, without unreadable recordings."""
        rows = self.measure(recordings, name)
        for kind in sorted({row.speaker for row in rows}):
            self.summary.count(
                f"{kind} recordings in {name}", sum(row.speaker == kind for row in rows)
            )
        self._write_rows(name, rows)

    def copy(self, source: Path, name: str) -> Path:
        """Copy a list to ``out_dir/name``, and return the new path."""
        with replacing(self.out / name) as temporary:
            shutil.copyfile(source, temporary)
        return self.out / name

    def finish(self) -> Summary:
        """Write ``bad_audio.tsv``, the path of every bad recording and the reason; return the
        counts."""
        if self._bad:
            self.summary.count(f"bad recordings, named in {BAD_AUDIO_FILE}", len(self._bad))
            self.summary.remarks += [
                f"{path}: {reason}" for path, reason in list(self._bad.items())[:5]
            ]
        with replacing(self.out / BAD_AUDIO_FILE) as temporary:
            lines = (
                f"{path.translate(_ESCAPED)}\t{reason}\n"
                for path, reason in sorted(self._bad.items())
            )
            temporary.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        return self.summary

    @cached_property
    def _measurer(self) -> Measurer:
        self.out.mkdir(parents=True, exist_ok=True)
        return Measurer(memory=self.out / _MEMORY, workers=self._workers)

    def _refuse(self, path: str, error: AudioError) -> None:
        self._bad[path] = " ".join(str(error).removeprefix(f"{path}: ").split())

    def _write_rows(self, name: str, rows: Sequence[MeasuredUtterance]) -> None:
        write_manifest(
            self.out / name, [row._replace(path=self._written(row.path)) for row in rows]
        )

    def _written(self, path: str) -> str:
        """The path as a manifest has it: relative for audio in ``out_dir``, so that both can be
        moved together."""
        return path.removeprefix(os.path.join(self.out, ""))
