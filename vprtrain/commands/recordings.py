"""The recordings of a command that takes many: on the command line, in a list, or in a wav.scp."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from tqdm import tqdm

from vprtrain.commands.config import CommandParser
from vprtrain.errors import UsageError, shown

if TYPE_CHECKING:
    from vprtrain.data.audio import AudioError
    from vprtrain.inference import Predictor, Voice

log = logging.getLogger(__name__)


def add_recordings(parser: CommandParser, *, out: str) -> None:
    """Declare the recordings, ``--out`` and ``--workers``.

    Args:
        out: what the file of ``--out`` is.
    """
    parser.add_argument("files", nargs="*", help="recordings in any format")
    parser.add_argument(
        "--list",
        type=str | None,
        default=None,
        help="a text file with a recording in each line: path, or id<TAB>path[<TAB>seconds]; "
        "relative paths start from the list's folder",
    )
    parser.add_argument(
        "--scp",
        type=str | None,
        default=None,
        help="Kaldi's wav.scp, with lines of: id path; relative paths start from the working "
        "folder",
    )
    parser.add_argument("--out", type=str | None, default=None, help=out)
    parser.add_argument(
        "--workers", type=int, default=2, help="number of threads that read many recordings"
    )


def is_single(options: Namespace) -> bool:
    """Whether the command was given one recording, whose result is printed alone."""
    others = (options.list, options.scp, options.out)
    return len(options.files) == 1 and all(each is None for each in others)


def chosen_recordings(options: Namespace) -> dict[str, str]:
    """The path of each recording, by id; the id of a path without one is the path itself.

    Raises:
        UsageError: there is no recording, an id stands for two, a list cannot be read, or there is
            no folder for ``--out``.
    """
    if options.workers < 0:
        raise UsageError(f"--workers is {options.workers}: expected 0 or more")
    if options.out is not None and not os.path.isdir(os.path.dirname(options.out) or "."):
        raise UsageError(f"there is no folder for --out {options.out}: make it, or give another")
    recordings: dict[str, str] = {}
    named = chain(
        ((path, path) for path in options.files),
        () if options.list is None else _listed(options.list),
        () if options.scp is None else _in_scp(options.scp),
    )
    for key, path in named:
        if recordings.setdefault(key, path) != path:
            raise UsageError(
                f"the id {shown(key)} is that of {recordings[key]} and of {path}: expected one "
                "recording of each id"
            )
    if not recordings:
        raise UsageError("there is no recording: give FILES, --list or --scp (--help)")
    return recordings


def voice_all(
    predictor: Predictor,
    recordings: Mapping[str, str],
    options: Namespace,
    refused: dict[str, str],
) -> Iterator[tuple[str, Voice | AudioError]]:
    """The voice in each recording, or why it cannot be used, with a progress bar on a terminal.

    What cannot be used is logged. A single recording that cannot be used raises its error.

    Args:
        refused: gets the reason of each recording that cannot be used, by id.

    Raises:
        AudioError: none of the recordings can be used.
    """
    from vprtrain.data.audio import AudioError

    shows_lines = sys.stdout.isatty() and options.out is None and not options.json
    found = predictor.voice_each(recordings, workers=options.workers)
    for key, voice in tqdm(
        found,
        total=len(recordings),
        unit="recording",
        dynamic_ncols=True,
        disable=True if shows_lines else None,
    ):
        if isinstance(voice, Exception):
            if len(recordings) == 1:
                raise voice
            log.warning("%s; left out", voice)
            refused[key] = str(voice).removeprefix(f"{recordings[key]}: ")
        yield key, voice
    if len(refused) == len(recordings):
        raise AudioError(f"none of the {len(recordings)} recordings can be used")


def _listed(path: str) -> Iterator[tuple[str, str]]:
    from vprtrain.data.manifest import read_recordings
    from vprtrain.lists import read_lines

    lines = [line for _, line in read_lines(path, "a recording in each line")]
    if any("\t" in line for line in lines):
        for key, recording in read_recordings(path).items():
            yield key, recording.path
        return
    for line in lines:
        found = os.path.join(os.path.dirname(path), line.strip())
        yield found, found


def _in_scp(path: str) -> Iterator[tuple[str, str]]:
    from vprtrain.lists import read_wav_scp

    return ((key, written) for _, key, written in read_wav_scp(path, "."))
