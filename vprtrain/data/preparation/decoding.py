"""One odd file must not end the preparation of a million others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import VprTrainError, cause
from vprtrain.files import StrPath


@contextmanager
def decoding(path: StrPath) -> Iterator[None]:
    """Turn any exception of a decoder into an :class:`AudioError`, which is counted and named."""
    try:
        yield
    except VprTrainError:
        raise
    except Exception as error:
        raise AudioError(f"{path}: the decoder failed ({cause(error)})") from error
