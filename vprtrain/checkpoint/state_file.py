"""``model.state``: the JSON file that makes a folder a checkpoint, and the proof that every file of
the folder is intact."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vprtrain.checkpoint.arrays import MOST_BYTES, Arrays, decode_arrays
from vprtrain.checkpoint.file_names import AVERAGED_MODEL_FILE, MODEL_FILE
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_check import checked_state
from vprtrain.errors import CheckpointError, cause
from vprtrain.files import open_file, parse_json, read_file, sha256, stream_sha256

_Result = TypeVar("_Result")

STATE_FILE = "model.state"
"""The file that makes a folder a checkpoint."""
_MOST_STATE_BYTES = 16 * 2**20  # of model.state, which has a few kilobytes


def encode_state(content: Mapping[str, Any]) -> bytes:
    """The bytes of ``model.state``, for people and for any JSON parser (no NaN, no infinity).

    Args:
        content: the file's JSON object. The digest of its text is added as the last key,
            ``sha256``.

    Raises:
        ValueError: a number is not finite, or the file would be too large to be read again.
    """
    data = _json({**content, "sha256": sha256(_json(content))})
    if len(data) > _MOST_STATE_BYTES:
        raise ValueError(f"it would have {len(data)} bytes, expected at most {_MOST_STATE_BYTES}")
    return data


def with_state(files: Mapping[str, bytes], state: CheckpointState) -> dict[str, bytes]:
    """All files of a checkpoint. The last one is ``model.state``, with the digests of the others.

    Raises:
        ValueError: as :func:`encode_state`.
    """
    digests = {name: sha256(data) for name, data in files.items()}
    return {**files, STATE_FILE: state_bytes(state, digests)}


def state_bytes(state: CheckpointState, digests: Mapping[str, str]) -> bytes:
    """The bytes of ``model.state`` for files with these digests.

    Raises:
        ValueError: as :func:`encode_state`.
    """
    return encode_state(replace(state, files=dict(digests)).to_json())


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


@dataclass(frozen=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint on disk. All files that its state lists were verified when it was opened."""

    folder: Path
    state: CheckpointState

    def read(self, name: str) -> bytes:
        """The bytes of one of its files, verified.

        Raises:
            CheckpointError: the file is missing or is not the one that was saved.
        """
        data = self._using(name, lambda file: file.read())
        self._require_digest(name, sha256(data), len(data))
        return data

    def verify(self, name: str) -> None:
        """Check one of its files, which is read in blocks.

        Raises:
            CheckpointError: as :meth:`read`.
        """
        digest, size = self._using(name, lambda file: (stream_sha256(file), file.tell()))
        self._require_digest(name, digest, size)

    def arrays(self, name: str) -> Arrays:
        """The named arrays of one of its files.

        Raises:
            CheckpointError: as :meth:`read`, or the file does not hold named arrays.
        """
        return decode_arrays(self.read(name), str(self.folder / name))

    def has(self, name: str) -> bool:
        """Whether a file belongs to this checkpoint."""
        return name in self.state.files

    @property
    def weights_file(self) -> str:
        """The file of the weights for using the model: the averaged ones if there are some."""
        return AVERAGED_MODEL_FILE if self.has(AVERAGED_MODEL_FILE) else MODEL_FILE

    def _using(self, name: str, work: Callable[[BinaryIO], _Result]) -> _Result:
        path = self.folder / name
        try:
            with open_file(path, MOST_BYTES) as file:
                return work(file)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error

    def _require_digest(self, name: str, digest: str, size: int) -> None:
        if digest != self.state.files.get(name):
            raise CheckpointError(
                f"{self.folder / name} is not what was saved ({size} bytes with another SHA-256)"
            )


def open_checkpoint(folder: Path) -> SavedCheckpoint:
    """Open a checkpoint folder and verify every file of it.

    Links are resolved once, so that a commit by a running training does not change what is read.

    Raises:
        CheckpointError: the first damage that is found.
    """
    folder = Path(os.path.realpath(folder))
    saved = SavedCheckpoint(folder=folder, state=read_state(folder / STATE_FILE))
    for name in saved.state.files:
        saved.verify(name)
    return saved


def read_state(path: Path) -> CheckpointState:
    """The record of a ``model.state`` file; the files that it lists are not looked at.

    Raises:
        CheckpointError: the file is missing or damaged, or is not a checkpoint's state.
    """
    return checked_state(read_content(path), path)


def read_content(path: Path) -> dict[str, Any]:
    """The JSON object of a ``model.state`` file, without its own digest, which is verified.

    Raises:
        CheckpointError: the file is missing, or is not what :func:`encode_state` wrote.
    """
    try:
        data = read_file(path, _MOST_STATE_BYTES)
        content = parse_json(data)
        content = content if isinstance(content, dict) else {}
        intact = content.pop("sha256", None) is not None and encode_state(content) == data
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({cause(error)})") from error
    if not intact:
        raise CheckpointError(
            f"{path} is not what was saved (it does not end with its own SHA-256)"
        )
    return content
