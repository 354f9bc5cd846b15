"""Recordings that training could not use: each is told of once, kept in a file, and too many of
them end the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vprtrain.data.manifest import Manifest
from vprtrain.errors import RunError, UsageError

log = logging.getLogger(__name__)

BAD_AUDIO_FILE = "bad_audio.tsv"


class BadRecording(NamedTuple):
    """A recording that could not be used, as it is told of."""

    path: str
    reason: str
    is_utterance: bool
    """Of the training manifest; the next one takes its place. Of another, an augmentation is left
    out."""


class BadUtterancesError(RunError):
    """More utterances in a row cannot be used than may be bad in all."""

    def __init__(self, bad: Sequence[BadRecording]) -> None:
        super().__init__(
            f"{len(bad)} utterances in a row are bad; the first is {bad[0].path}: {bad[0].reason}"
        )
        self.bad = bad


class BadAudio:
    """The bad recordings of a run, and how many there may be.

    Only the training thread adds to them, when it is handed a batch: which are known at a step
    depends on the seed alone. A run that was killed may have noted some beyond its last commit;
    they are found again, and not noted twice.

    Of several processes, the first is told of those that the others collect, and counts and notes
    them all.

    Args:
        manifest: of the training utterances.
        max_share: how many of them may be bad. Of other recordings there is no limit.
        collects: whether this is one of those others.
    """

    def __init__(self, *, manifest: Manifest, max_share: float, collects: bool = False) -> None:
        if not 0 <= max_share <= 1:
            raise UsageError(f"max_bad_share is {max_share}; expected 0 to 1")
        self._manifest = manifest
        self._max_share = max_share
        self._collects = collects
        self._collected: list[BadRecording] = []
        self._known: set[str] = set()
        self._utterances = 0
        self._file: Path | None = None

    def __len__(self) -> int:
        return len(self._known)

    @property
    def allowed(self) -> int:
        """How many utterances may be bad."""
        return int(self._max_share * len(self._manifest) + 1e-9)

    def begin(self, folder: Path | None, *, resumed: bool) -> None:
        """Keep them from now on in ``bad_audio.tsv`` in that folder, lines of ``path<TAB>reason``.

        What a resumed run has noted there before counts; a new run starts a new file.

        Raises:
            RunError: these are too many already, or the file cannot be written.
        """
        self._known.clear()
        self._collected.clear()
        self._utterances = 0
        self._file = None if folder is None else folder / BAD_AUDIO_FILE
        if self._file is None:
            return
        try:
            if not resumed:
                self._file.unlink(missing_ok=True)
            elif self._file.exists():
                content = self._file.read_bytes()
                complete = content[: content.rfind(b"\n") + 1]
                # a line may be torn since the machine went down
                os.truncate(self._file, len(complete))
                lines = complete.decode(errors="replace").split("\n")[:-1]
                self._known.update(line.partition("\t")[0] for line in lines)
        except OSError as error:
            raise self._unwritable(error) from error
        if self._known:
            paths = (self._manifest[index].path for index in range(len(self._manifest)))
            self._utterances = len(self._known.intersection(paths))
        self._require_few()

    def add(self, recordings: Iterable[BadRecording]) -> None:
        """Note those that are not known yet.

        Raises:
            RunError: these are too many, or the file cannot be written.
        """
        for recording in recordings:
            path, reason, is_utterance = recording
            if path in self._known:
                continue
            self._known.add(path)
            self._utterances += is_utterance
            if self._collects:
                self._collected.append(recording)
                continue
            instead = (
                "the next utterance takes its place"
                if is_utterance
                else "an augmentation is left out"
            )
            log.warning("%s: %s; %s", path, reason, instead)
            self._note(f"{path}\t{' '.join(reason.split())}\n")
        self._require_few()

    def take_collected(self) -> list[BadRecording]:
        """What was added since the last call, where this process collects."""
        collected, self._collected = self._collected, []
        return collected

    def _require_few(self) -> None:
        if self._utterances > self.allowed:
            named = (
                "the log"
                if self._file is None
                else f"{self._file} (delete it once they are mended)"
            )
            raise RunError(
                f"{self._manifest.path}: {self._utterances} of {len(self._manifest)} utterances were found bad so "
                f"far, more than max_bad_share ({self._max_share:g}) allows; they are named in {named}. Mend them, or "
                "leave them out (prepare --check finds all beforehand), or allow more with --max_bad_share"
            )

    def _note(self, line: str) -> None:
        """Append a line in a single write, so that a kill leaves all of it or nothing."""
        if self._file is None:
            return
        try:
            with open(self._file, "ab") as file:
                file.write(line.encode(errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"{self._file} could not be written ({error.strerror or error}); make room or mend the disk"
        )
