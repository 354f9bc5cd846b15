"""Recordings that training could not use: each is logged once and listed in a file, and too many of
them end the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vprtrain.data.manifest import Manifest
from vprtrain.errors import RunError, UsageError
from vprtrain.files import read_file

log = logging.getLogger(__name__)

BAD_AUDIO_FILE = "bad_audio.tsv"

_MOST_BYTES = 1 << 30  # of this file


class BadRecording(NamedTuple):
    """A recording that could not be used, and why."""

    path: str
    reason: str
    is_utterance: bool
    """True for a training utterance, which the next one replaces; false for a noise file or a room
    response, whose augmentation is skipped."""


class BadUtterancesError(RunError):
    """More utterances in a row are bad than the whole manifest may contain."""

    def __init__(self, bad: Sequence[BadRecording]) -> None:
        super().__init__(
            f"{len(bad)} utterances in a row are bad; the first is {bad[0].path}: {bad[0].reason}"
        )
        self.bad = bad


class BadAudio:
    """The bad recordings of a run, and the limit on their number.

    Only the training thread adds recordings, when it takes a batch, so the recordings known at a
    step depend on the seed only. A killed run may have listed some after its last commit; the
    resumed run finds them again and does not list them twice.

    With several ranks, each other rank collects its recordings for rank 0, which counts and lists
    all of them.

    Args:
        manifest: the training utterances.
        max_share: the share of the training utterances that may be bad, 0 to 1. The number of other
            recordings is not limited.
        collects: true on every rank but rank 0.

    Raises:
        UsageError: ``max_share`` is out of range.
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
        """The number of utterances that may be bad."""
        return int(self._max_share * len(self._manifest) + 1e-9)

    def begin(self, folder: Path | None, *, resumed: bool) -> None:
        """Start a run, which lists bad recordings in ``folder/bad_audio.tsv`` as
        ``path<TAB>reason``.

        Args:
            folder: the run directory; ``None`` writes no file.
            resumed: the recordings listed in the file count; otherwise the file is deleted.

        Raises:
            RunError: the file lists too many recordings already, or cannot be written.
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
                content = read_file(self._file, _MOST_BYTES)
                complete = content[: content.rfind(b"\n") + 1]
                # The last line may be incomplete after a crash of the machine.
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
        """Log and list the recordings that are not known yet.

        Raises:
            RunError: too many utterances are bad, or the file cannot be written.
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
            consequence = (
                "the next utterance replaces it" if is_utterance else "an augmentation was skipped"
            )
            log.warning("%s: %s; %s", path, reason, consequence)
            self._append(f"{path}\t{' '.join(reason.split())}\n")
        self._require_few()

    def take_collected(self) -> list[BadRecording]:
        """What was added since the last call, where this process collects."""
        collected, self._collected = self._collected, []
        return collected

    def _require_few(self) -> None:
        if self._utterances > self.allowed:
            place = (
                "the log"
                if self._file is None
                else f"{self._file} (delete it after repairing them)"
            )
            raise RunError(
                f"{self._manifest.path}: {self._utterances} of {len(self._manifest)} utterances "
                f"are bad so far, more than max_bad_share ({self._max_share:g}) allows; they are "
                f"listed in {place}. Repair them, remove them (prepare --check finds all of them "
                "before training), or allow more with --max_bad_share"
            )

    def _append(self, line: str) -> None:
        """Append a line in a single write, so that a kill leaves the whole line or nothing."""
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
            f"{self._file} cannot be written ({error.strerror or error}); "
            "free space or repair the disk"
        )
