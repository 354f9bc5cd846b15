"""The detectors that an option names."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vprtrain.data.vad.detector import VoiceActivityDetector
from vprtrain.data.vad.energy import EnergyDetector
from vprtrain.data.vad.silero import SileroDetector, is_installed
from vprtrain.errors import UsageError, shown

log = logging.getLogger(__name__)

BEST = "auto"
"""Silero VAD if the extra ``[vad]`` is installed, else the detector of energy"""
DETECTORS: dict[str, Callable[[], VoiceActivityDetector]] = {
    "silero": SileroDetector,
    "energy": EnergyDetector,
}


def open_detector(name: str) -> VoiceActivityDetector:
    """A detector by its name in :data:`DETECTORS`, or :data:`BEST`.

    Raises:
        UsageError: there is no such detector, or it is not installed.
    """
    if name == BEST:
        if is_installed():
            return SileroDetector()
        log.warning(
            "speech is found by its energy, which other sounds have too: "
            "pip install 'vprtrain[vad]' for Silero VAD"
        )
        return EnergyDetector()
    if name not in DETECTORS:
        raise UsageError(f"vad is {shown(name)}: expected {', '.join([BEST, *DETECTORS])}")
    return DETECTORS[name]()


def detector_name(detector: VoiceActivityDetector) -> str:
    """The name of a detector in :data:`DETECTORS`, or ``own`` for any other."""
    return next((name for name, known in DETECTORS.items() if type(detector) is known), "own")
