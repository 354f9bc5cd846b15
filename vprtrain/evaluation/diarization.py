"""Who speaks when in all recordings of a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from vprtrain.data.audio import AudioError
from vprtrain.data.preparation.folders import audio_files, without_suffix
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import RunError, UsageError
from vprtrain.files import StrPath
from vprtrain.lists import Segment, write_segments

log = logging.getLogger(__name__)


class DiarizedFolder(NamedTuple):
    """The result of :func:`diarize_folder`."""

    recordings: int
    """How many have an RTTM file"""
    refused: dict[str, str]
    """Why the others have none, by name"""


def diarize_folder(
    folder: StrPath, out: StrPath, diarize: Callable[[str], Sequence[Segment]]
) -> DiarizedFolder:
    """Write ``OUT/NAME.rttm`` for each recording in a folder and its subfolders.

    A recording that cannot be used is logged and left out. Files of an earlier run are replaced.

    Args:
        folder: of recordings in any format.
        out: made if it does not exist.
        diarize: from a path to segments, for example :meth:`vprtrain.Predictor.diarize`.

    Raises:
        UsageError: the folder has no recording, or two of the same name.
        AudioError: none of the recordings can be used.
        RunError: a file cannot be written.
    """
    paths: dict[str, str] = {}
    for path in audio_files(folder, Summary()):
        name = Path(without_suffix(path)).name
        if name in paths:
            raise UsageError(f"{paths[name]} and {path}: two recordings of the same name; keep one")
        paths[name] = path
    if not paths:
        raise UsageError(f"{folder}: found no recording in this folder")
    refused: dict[str, str] = {}
    for name, path in tqdm(paths.items(), unit="recording", dynamic_ncols=True, disable=None):
        try:
            segments = diarize(path)
        except (AudioError, UsageError) as error:
            log.warning("%s; left out", error)
            refused[name] = str(error)
            if len(refused) == len(paths):
                raise
        else:
            _write(Path(out), name, segments)
    return DiarizedFolder(len(paths) - len(refused), refused)


def _write(folder: Path, name: str, segments: Sequence[Segment]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_segments(folder / f"{name}.rttm", segments, recording=name)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({error}): make room, or give another --out"
        ) from error
