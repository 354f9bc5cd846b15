"""Noise and room impulse responses for augmentation, from MUSAN and RIRS_NOISES."""

from __future__ import annotations

from pathlib import Path

from vprtrain.data.preparation.folders import audio_files, find_root
from vprtrain.data.preparation.preparation import Preparation
from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath
from vprtrain.lists import read_lines

MUSAN_MANIFEST = "musan.tsv"
RIRS_MANIFEST = "rirs.tsv"

_ROOMS = ("smallroom", "mediumroom", "largeroom")
_REAL = "real_rirs_isotropic_noises"


def prepare_musan(preparation: Preparation, given: StrPath) -> None:
    """Write ``musan.tsv``: the recordings of the classes ``music``, ``noise`` and ``speech``.

    Raises:
        UsageError: ``given`` is not an unpacked MUSAN.
    """
    root = find_root(given, "musan", ("music", "noise", "speech"))
    recordings = [
        (path, kind)
        for kind in ("music", "noise", "speech")
        for path in audio_files(root / kind, preparation.summary)
    ]
    preparation.write_classes(MUSAN_MANIFEST, recordings)


def prepare_rirs(preparation: Preparation, given: StrPath) -> None:
    """Write ``rirs.tsv``: impulse responses of simulated rooms by size, and of ``real`` rooms.

    The folder of real rooms also has noise; its ``rir_list`` names the impulse responses.

    Raises:
        UsageError: ``given`` is not an unpacked RIRS_NOISES, or ``rir_list`` is malformed.
    """
    needed = [*(f"simulated_rirs/{room}" for room in _ROOMS), f"{_REAL}/rir_list"]
    root = find_root(given, "RIRS_NOISES", needed)
    recordings = [
        (path, room)
        for room in _ROOMS
        for path in audio_files(root / "simulated_rirs" / room, preparation.summary)
    ]
    real = _listed(root, root / _REAL / "rir_list")
    missing = [str(path) for path in real if not path.exists()]
    preparation.summary.remark_names("files of rir_list are missing", missing)
    recordings += [(str(path), "real") for path in real if path.exists()]
    preparation.write_classes(RIRS_MANIFEST, recordings)


def _listed(root: Path, rir_list: Path) -> list[Path]:
    """The files of the lines ``--rir-id X --room-id Y RIRS_NOISES/..``; ``root`` replaces
    RIRS_NOISES."""
    form, files = "--rir-id X --room-id Y PATH", []
    for number, line in read_lines(rir_list, f"lines of {form!r}"):
        columns = line.split()
        if len(columns) != len(form.split()):
            raise UsageError(f"{rir_list}, line {number}: expected {form!r}, found {shown(line)}")
        files.append(root.joinpath(*Path(columns[4]).parts[1:]))
    return files
