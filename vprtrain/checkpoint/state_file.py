"""``model.state``: the JSON file that makes a folder a checkpoint, and the proof that the folder is
whole."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vprtrain.checkpoint.arrays import Arrays, decode_arrays
from vprtrain.errors import CheckpointError
from vprtrain.files import sha256

STATE_FILE = "model.state"
SCHEMA = 1


def encode_state(state: Mapping[str, Any]) -> bytes:
    """The bytes of ``model.state``; readable by a person, and by any JSON parser (no NaN, no
    infinity).

    The last key, ``sha256``, is the digest of the same text without it.
    """
    return _json({**state, "sha256": sha256(_json(state))})


def with_state(files: Mapping[str, bytes], state: Mapping[str, Any]) -> dict[str, bytes]:
    """All files of a checkpoint; ``model.state``, with the digests of the others, is the last."""
    digests = {name: sha256(data) for name, data in files.items()}
    return {**files, STATE_FILE: encode_state({"schema": SCHEMA, **state, "files": digests})}


def _json(state: Mapping[str, Any]) -> bytes:
    return (json.dumps(state, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


@dataclass(frozen=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint on disk; when it was opened, all files that its state names were there and
    verified."""

    folder: Path
    state: Mapping[str, Any]

    def read(self, name: str) -> bytes:
        """The bytes of one of its files, verified.

        Raises:
            CheckpointError: the file is missing or is not the one that was saved.
        """
        path = self.folder / name
        try:
            data = _read_file(path)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
        if sha256(data) != self.state["files"].get(name):
            raise CheckpointError(
                f"{path} is not what was saved ({len(data)} bytes with another SHA-256)"
            )
        return data

    def arrays(self, name: str) -> Arrays:
        """The named arrays of one of its files."""
        return decode_arrays(self.read(name), str(self.folder / name))

    def has(self, name: str) -> bool:
        """Whether a file belongs to this checkpoint."""
        return name in self.state["files"]


def open_checkpoint(folder: Path) -> SavedCheckpoint:
    """Open a checkpoint folder and verify every file of it.

    Links are resolved once, so that a run which commits meanwhile does not change what is read.

    Raises:
        CheckpointError: with what is wrong, the first thing found.
    """
    folder = Path(os.path.realpath(folder))
    path = folder / STATE_FILE
    state = read_state(path)
    if state.get("schema") != SCHEMA or not isinstance(state.get("files"), dict):
        raise CheckpointError(f"{path} is not a checkpoint's state of schema {SCHEMA}")
    saved = SavedCheckpoint(folder=folder, state=state)
    for name in state["files"]:
        saved.read(_plain_name(name, path))
    return saved


def read_state(path: Path) -> dict[str, Any]:
    """The content of a ``model.state`` file, verified, without its own digest.

    Raises:
        CheckpointError: it is not there, or not what :func:`encode_state` wrote.
    """
    try:
        data = _read_file(path)
        state = json.loads(data)
        whole = isinstance(state, dict) and "sha256" in state
        if whole:
            del state["sha256"]
            whole = encode_state(state) == data
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error})") from error
    if not whole:
        raise CheckpointError(
            f"{path} is not what was saved (it does not end with its own SHA-256)"
        )
    return state


def _read_file(path: Path) -> bytes:
    if not path.is_file() and not path.is_dir() and path.exists():
        # to open a pipe waits for ever, and a device may have no end
        raise OSError(errno.EINVAL, "not a file")
    return path.read_bytes()


def _plain_name(name: str, path: Path) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise CheckpointError(f"{path} names {name!r}, which is not a plain file name")
    return name
