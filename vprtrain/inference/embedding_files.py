"""Embeddings of many recordings as a file: NumPy's npz, Kaldi's ark, or lines of JSON."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import RunError, UsageError, shown
from vprtrain.files import replacing

Found = Iterable[tuple[str, np.ndarray | AudioError]]
"""By id, in order: embeddings ``[dimension]``, or why a recording cannot be used"""


def require_writable(path: Path, ids: Iterable[str]) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        UsageError: the suffix is none of :data:`WRITERS`, or Kaldi's format cannot hold an id.
    """
    if path.suffix not in WRITERS:
        raise UsageError(f"{path} has another suffix: expected {', '.join(WRITERS)}")
    if path.suffix == ".ark":
        for key in ids:
            if not key or len(key.split()) != 1 or key != key.strip():
                raise UsageError(
                    f"the id {shown(key)} has a blank, which Kaldi's files cannot hold: give ids "
                    "with --list (id<TAB>path) or --scp, or write .npz or .jsonl"
                )


def write_embeddings(path: Path, found: Found) -> None:
    """Write embeddings as they come; the file appears when it is complete.

    ``.npz`` holds ``keys`` (texts) and ``embeddings`` (float32 ``[keys, dimension]``). ``.ark`` is
    Kaldi's binary table of float vectors, and an ``.scp`` of the same name is written beside it.
    ``.jsonl`` has an object in each line: ``id`` and ``embedding``, or ``id`` and ``error``.

    Raises:
        UsageError: the suffix is not known.
        RunError: the file cannot be written.
    """
    require_writable(path, ())
    with _writing(path):
        WRITERS[path.suffix](path, found)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object in each line; the file appears when it is complete.

    Raises:
        RunError: the file cannot be written.
    """
    with (
        _writing(path),
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        for row in rows:
            file.write(json.dumps(row) + "\n")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error}): give another --out") from error


def _write_json(path: Path, found: Found) -> None:
    write_json_lines(
        path,
        (
            {"id": key, "error": str(embedding)}
            if isinstance(embedding, AudioError)
            else {"id": key, "embedding": embedding.tolist()}
            for key, embedding in found
        ),
    )


def _write_npz(path: Path, found: Found) -> None:
    usable = {key: each for key, each in found if not isinstance(each, AudioError)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, keys=np.array(list(usable)), embeddings=np.stack(list(usable.values())))


def _write_ark(path: Path, found: Found) -> None:
    scp = path.with_suffix(".scp")
    with (
        replacing(scp) as scp_part,
        replacing(path) as ark_part,  # it gets its name first
        open(ark_part, "wb") as ark,
        open(scp_part, "w", encoding="utf-8") as table,
    ):
        for key, embedding in found:
            if isinstance(embedding, AudioError):
                continue
            ark.write(f"{key} ".encode())
            table.write(f"{key} {path}:{ark.tell()}\n")
            # The mark of binary data, the type, the size of a number, the length, the values.
            ark.write(b"\0BFV " + struct.pack("<bi", 4, len(embedding)))
            ark.write(embedding.astype("<f4").tobytes())


WRITERS: Mapping[str, Callable[[Path, Found], None]] = {
    ".npz": _write_npz,
    ".ark": _write_ark,
    ".jsonl": _write_json,
}
"""By the suffix of the file."""
