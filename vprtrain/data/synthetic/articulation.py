"""Synthetic speakers, and the movements of their articulators; voices.py makes them audible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FRAME_MILLISECONDS = 5
"""The grid on which articulation is planned"""

# The first three formants in Hz of an adult man (Peterson & Barney 1952, rounded).
_VOWELS = (
    (730, 1090, 2440),  # a
    (280, 2250, 2950),  # i
    (310, 870, 2250),  # u
    (500, 1900, 2550),  # e
    (480, 850, 2500),  # o
    (500, 1450, 2500),  # schwa
    (660, 1720, 2410),  # ae
    (440, 1020, 2240),  # U
    (490, 1350, 1690),  # er
    (390, 1990, 2550),  # I
)


class _Consonant(NamedTuple):
    """A consonant: its noise and voicing, and the formants that it moves to."""

    locus: tuple[float, float, float] | None  # formants in Hz; None: those of the next vowel
    noise_centre: float  # Hz
    noise_width: float  # Hz
    noise: float
    voicing: float
    milliseconds: float
    closure: float = 0.0  # the fraction of it before the noise begins
    nasality: float = 0.0


_CONSONANTS = (
    _Consonant((320, 1700, 2600), 6000, 1500, 0.30, 0, 95),  # s
    _Consonant((320, 1900, 2500), 3300, 1000, 0.32, 0, 95),  # sh
    _Consonant((320, 1100, 2300), 5000, 4000, 0.10, 0, 80),  # f
    _Consonant(None, 1800, 2500, 0.10, 0, 55),  # h
    _Consonant((300, 1700, 2600), 6000, 1500, 0.18, 0.25, 75),  # z
    _Consonant((300, 1100, 2300), 5000, 4000, 0.06, 0.35, 60),  # v
    _Consonant((260, 1100, 2200), 3000, 2000, 0, 0.45, 65, nasality=0.8),  # m
    _Consonant((260, 1650, 2600), 3000, 2000, 0, 0.45, 60, nasality=0.8),  # n
    _Consonant((360, 1200, 2700), 3000, 2000, 0, 0.6, 55),  # l
    _Consonant((340, 1150, 1550), 3000, 2000, 0, 0.6, 60),  # r
    _Consonant((300, 700, 2200), 3000, 2000, 0, 0.6, 60),  # w
    _Consonant((280, 2200, 2900), 3000, 2000, 0, 0.6, 60),  # j
    _Consonant((300, 900, 2200), 1000, 1500, 0.4, 0, 70, closure=0.65),  # p
    _Consonant((300, 1750, 2600), 4500, 2000, 0.5, 0, 70, closure=0.65),  # t
    _Consonant((300, 1900, 2400), 2200, 900, 0.5, 0, 75, closure=0.65),  # k
    _Consonant((280, 900, 2200), 900, 1200, 0.25, 0.15, 60, closure=0.65),  # b
    _Consonant((280, 1750, 2600), 3800, 2000, 0.3, 0.15, 60, closure=0.65),  # d
    _Consonant((280, 1900, 2400), 2000, 900, 0.3, 0.15, 60, closure=0.65),  # g
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """The properties of a speaker that all utterances share."""

    pitch: float
    """Hz"""
    pitch_range: float
    """Semitones"""
    tract_scale: float
    """The frequencies of the vocal tract relative to an adult man's; above 1 for a shorter tract"""
    vowels: np.ndarray
    """``[vowels, 3]`` formants in Hz"""
    upper_formants: tuple[float, float]
    """The fourth and fifth formant in Hz"""
    bandwidth_scale: float
    open_quotient: float
    """The fraction of a period in which the glottis is open"""
    jitter: float
    """Relative standard deviation of the period"""
    shimmer: float
    """Relative standard deviation of the pulse height"""
    breath: float
    tilt: float
    """Spectral tilt above 500 Hz, dB per octave downwards"""
    colour: np.ndarray
    """``[12]`` a fixed equalisation in dB, at equal distances from 0 to 8 kHz"""
    nasality: float
    nasal_zero: float
    """Hz"""
    noise_scale: float
    """The noise centres of consonants relative to the usual ones"""
    noise_level: float
    tempo: float
    vowel_habits: np.ndarray
    """``[vowels]`` the probability of each vowel"""


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """A new speaker, female or male with equal probability."""
    female = rng.random() < 0.5
    scale = rng.uniform(1.02, 1.24) if female else rng.uniform(0.84, 1.06)
    standard = np.array(_VOWELS, dtype=np.float64)
    return Speaker(
        pitch=rng.uniform(165, 245) if female else rng.uniform(85, 150),
        pitch_range=rng.uniform(1.5, 4.5),
        tilt=rng.uniform(-3, 5),
        breath=10 ** (rng.uniform(-34, -14) / 20),
        bandwidth_scale=rng.uniform(0.7, 1.5),
        open_quotient=rng.uniform(0.45, 0.75),
        upper_formants=(3500 * scale * rng.normal(1, 0.04), 4500 * scale * rng.normal(1, 0.04)),
        tempo=rng.uniform(0.8, 1.25),
        jitter=rng.uniform(0.003, 0.02),
        shimmer=rng.uniform(0.02, 0.12),
        nasality=rng.uniform(0, 0.6),
        tract_scale=scale,
        vowels=standard * scale * rng.normal(1, 0.045, standard.shape),
        noise_scale=rng.normal(1, 0.06),
        noise_level=rng.uniform(0.6, 1.5),
        vowel_habits=rng.dirichlet(np.full(len(standard), 3.0)),
        colour=np.cumsum(rng.normal(0, 1.2, 12)),
        nasal_zero=rng.uniform(900, 1500) * scale,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Articulation:
    """The movements of the articulators on a grid of 5 ms: arrays ``[frames]``; formants are
    ``[frames, 3]``."""

    formants: np.ndarray
    voicing: np.ndarray
    nasality: np.ndarray
    noise: np.ndarray
    noise_centre: np.ndarray
    noise_width: np.ndarray
    phrase: np.ndarray
    """The number of each frame's phrase"""

    def __len__(self) -> int:
        return len(self.voicing)


def plan_articulation(speaker: Speaker, rng: np.random.Generator, frames: int) -> Articulation:
    """Random consonant-vowel syllables at the speaker's tempo, in phrases of five to ten syllables
    with pauses between them."""
    plan = Articulation(
        formants=np.zeros((frames, 3)),
        voicing=np.zeros(frames),
        nasality=np.zeros(frames),
        noise=np.zeros(frames),
        noise_centre=np.full(frames, 3000.0),
        noise_width=np.full(frames, 2000.0),
        phrase=np.zeros(frames, dtype=np.int64),
    )
    tempo = speaker.tempo * rng.normal(1, 0.05)
    syllables_left = int(rng.integers(5, 11))
    at = 0
    while at < frames:
        consonant = _CONSONANTS[rng.integers(len(_CONSONANTS))]
        vowel = rng.choice(len(speaker.vowels), p=speaker.vowel_habits)
        onset = at + max(
            3, int(consonant.milliseconds / FRAME_MILLISECONDS / tempo * rng.uniform(0.8, 1.2))
        )
        end = onset + max(6, int(rng.uniform(70, 170) / FRAME_MILLISECONDS / tempo))
        target = speaker.vowels[vowel] * rng.normal(1, 0.025, 3)
        _place_consonant(plan, slice(at, onset), consonant, speaker, target)
        plan.formants[onset:end] = target
        plan.voicing[onset:end] = 1.0
        plan.nasality[onset:end] = speaker.nasality * 0.3
        at, syllables_left = end, syllables_left - 1
        if syllables_left == 0:
            end = at + int(rng.uniform(80, 260) / FRAME_MILLISECONDS)
            plan.formants[at:end] = target
            plan.phrase[end:] += 1
            at, syllables_left = end, int(rng.integers(5, 11))
    slow, fast = smoother(11), smoother(5)
    return Articulation(
        formants=np.stack([slow(formant) for formant in plan.formants.T], axis=1),
        voicing=fast(plan.voicing),
        nasality=slow(plan.nasality),
        noise=fast(plan.noise),
        noise_centre=plan.noise_centre,
        noise_width=plan.noise_width,
        phrase=plan.phrase,
    )


def _place_consonant(
    plan: Articulation, where: slice, consonant: _Consonant, speaker: Speaker, target: np.ndarray
) -> None:
    locus = consonant.locus
    plan.formants[where] = target if locus is None else np.array(locus) * speaker.tract_scale
    plan.voicing[where] = consonant.voicing
    plan.nasality[where] = consonant.nasality
    plan.noise_centre[where] = consonant.noise_centre * speaker.noise_scale
    plan.noise_width[where] = consonant.noise_width
    release = where.start + int((where.stop - where.start) * consonant.closure)
    plan.noise[release : where.stop] = consonant.noise * speaker.noise_level


def smoother(length: int) -> Callable[[np.ndarray], np.ndarray]:
    """A Hann-weighted moving average over an odd number of frames."""
    weights = np.hanning(length) / np.hanning(length).sum()
    return lambda track: np.convolve(np.pad(track, length // 2, mode="edge"), weights, "valid")
