"""librosa, which several tests of features compare with."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def librosa() -> Any:
    """librosa with plain Python functions instead of those that numba compiles.

    Compiling takes 15 s at the first import, and these tests call none of the compiled functions.
    """
    numba = pytest.importorskip("numba")

    def plain(*given: Any, **options: Any) -> Any:
        """Stands for a decorator, with or without arguments; returns the function unchanged."""
        return given[0] if len(given) == 1 and callable(given[0]) else lambda function: function

    with pytest.MonkeyPatch.context() as patch:
        for name in ("guvectorize", "jit", "njit", "stencil", "vectorize"):
            patch.setattr(numba, name, plain)
        librosa = pytest.importorskip("librosa")
        # librosa imports its modules at the first use of a name.
        assert librosa.power_to_db and librosa.feature.melspectrogram and librosa.feature.mfcc
    return librosa
