"""A source-filter speech synthesiser in NumPy, for the quick start and for tests.

A glottal source (Rosenberg-like pulses with jitter, shimmer and breath) and frication noise pass
through five formants that move from syllable to syllable. Speakers differ in vocal-tract length,
formants, pitch, voice quality and habits; the utterances of one speaker differ in text, prosody and
channel. The result is babble, not speech: it shows that a trainer learns speakers, and says nothing
about accuracy on real voices. All results depend only on the generator that is passed in.
"""

from __future__ import annotations

import numpy as np

from vprtrain.data.synthetic.articulation import (
    FRAME_MILLISECONDS,
    Articulation,
    Speaker,
    draw_speaker,
    plan_articulation,
    smoother,
)

__all__ = ["SAMPLE_RATE", "VERSION", "Speaker", "add_channel", "draw_speaker", "draw_utterance"]

SAMPLE_RATE = 16000
VERSION = 1
"""Increased with every audible change, so that a corpus of another version is made again"""

_FRAME = SAMPLE_RATE * FRAME_MILLISECONDS // 1000  # samples
_WINDOW = 512  # samples that are filtered at once
_HOP = 2 * _FRAME  # samples between windows, 10 ms
_FREQUENCIES = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE).astype(np.float32)
# The square root of a window, because it is applied before and after the filter.
_TAPER = np.sqrt(np.hanning(_WINDOW + 1)[:_WINDOW]).astype(np.float32)

_FORMANT_BANDWIDTHS = (70.0, 95.0, 140.0, 230.0, 300.0)  # Hz, at low frequency


def draw_utterance(
    speaker: Speaker, rng: np.random.Generator, *, seconds: float = 3.0
) -> np.ndarray:
    """A new utterance of a speaker without a channel: float32 ``[samples]`` at 16 kHz, peak 0.7."""
    frames = int(seconds * SAMPLE_RATE / _FRAME) + 8  # some more for the last window
    plan = plan_articulation(speaker, rng, frames)
    source = _glottal_source(speaker, rng, plan)
    noise = rng.standard_normal(len(source), dtype=np.float32) * _per_sample(plan.noise)
    speech = _filter_by_tract(speaker, plan, source, noise)[_WINDOW // 2 :][
        : int(seconds * SAMPLE_RATE)
    ]
    speech *= 0.7 / (np.abs(speech).max() + 1e-9)
    return speech


def add_channel(
    waveform: np.ndarray, rng: np.random.Generator, *, snr: tuple[float, float] = (15, 35)
) -> np.ndarray:
    """The waveform after a random channel: equaliser, noise and gain.

    Args:
        waveform: float32 ``[samples]`` at 16 kHz.
        rng: the source of randomness.
        snr: the lowest and the highest signal-to-noise ratio in dB.

    Returns:
        ``[samples]``, with a peak from 0.2 to 0.9. The equaliser's gains have a standard deviation
        of 3 dB at six frequencies.
    """
    samples = len(waveform)
    gains = rng.normal(0, 3, 6)
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    equaliser = _decibels(np.interp(frequencies, [0, 300, 1000, 2500, 5000, 8000], gains)).astype(
        np.float32
    )
    shaped = np.fft.irfft(np.fft.rfft(waveform) * equaliser, samples)
    white = rng.standard_normal(samples + 1, dtype=np.float32)
    noise = white[1:] + np.float32(rng.uniform(0, 0.9)) * white[:-1]
    power = (np.mean(shaped**2) + 1e-12) / np.mean(noise**2) / 10 ** (rng.uniform(*snr) / 10)
    noisy: np.ndarray = shaped + noise * np.float32(np.sqrt(power))
    noisy *= rng.uniform(0.2, 0.9) / np.abs(noisy).max()
    return noisy


def _glottal_source(speaker: Speaker, rng: np.random.Generator, plan: Articulation) -> np.ndarray:
    """The derivative of the glottal flow, with breath: float32 ``[frames * 80]``."""
    pitch = np.repeat(_pitch_contour(speaker, rng, plan), _FRAME)
    phase = np.cumsum(pitch / SAMPLE_RATE)
    period = phase.astype(np.int32)
    periods = int(period[-1]) + 1
    stretch = (1 + rng.normal(0, speaker.jitter, periods)).astype(np.float32)
    height = (1 + rng.normal(0, speaker.shimmer, periods)).astype(np.float32)
    within = (phase - period).astype(np.float32) * stretch[period]

    # Rosenberg's pulse: the glottis opens along a raised cosine and closes along a quarter of
    # another.
    opened = speaker.open_quotient
    peak = 0.66 * opened
    opening = within < peak
    wave = np.cos(
        np.where(opening, np.pi / peak * within, np.pi / 2 / (opened - peak) * (within - peak))
    )
    flow = np.where(opening, 0.5 - 0.5 * wave, wave) * (within < opened) * height[period]

    pulses = np.diff(flow, prepend=np.float32(0))
    breath = rng.standard_normal(len(flow), dtype=np.float32) * (speaker.breath * (0.3 + flow))
    source: np.ndarray = (pulses / (np.abs(pulses).max() + 1e-9) + breath) * _per_sample(
        plan.voicing
    )
    return source


def _pitch_contour(speaker: Speaker, rng: np.random.Generator, plan: Articulation) -> np.ndarray:
    """The pitch in Hz, ``[frames]``: it falls over every phrase, with a slow wave and noise."""
    frames = len(plan)
    lengths = np.bincount(plan.phrase)
    decline = np.concatenate([np.linspace(0.5, -0.5, length) for length in lengths])
    seconds = np.arange(frames) * FRAME_MILLISECONDS / 1000
    wave = np.sin(2 * np.pi * (rng.uniform(1.5, 3) * seconds + rng.random()))
    wander = smoother(11)(rng.standard_normal(frames))
    semitones = speaker.pitch_range * (0.8 * decline + 0.5 * wave + 0.3 * wander)
    return speaker.pitch * rng.normal(1, 0.03) * 2 ** (semitones / 12)


def _filter_by_tract(
    speaker: Speaker, plan: Articulation, source: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Both sources through their time-varying filters, by overlap-add of windows; float32."""
    windows = (len(source) - _WINDOW) // _HOP
    centre = (np.arange(windows) * _HOP + _WINDOW // 2) // _FRAME
    voiced = _spectra(source, windows) * _tract_response(speaker, plan, centre)
    spread = (_FREQUENCIES - _column(plan.noise_centre[centre])) / _column(plan.noise_width[centre])
    hissing = _spectra(noise, windows) * (3 * np.exp(-(spread**2)))
    colour = _decibels(np.interp(_FREQUENCIES, np.linspace(0, 8000, 12), speaker.colour))
    mixed = (voiced + hissing) * colour.astype(np.float32)
    return _overlap_add(np.fft.irfft(mixed, axis=1) * _TAPER)


def _tract_response(speaker: Speaker, plan: Articulation, frames: np.ndarray) -> np.ndarray:
    """The transfer function of the vocal tract at some frames, complex
    ``[len(frames), frequencies]``.

    Each formant is a second-order resonator, ``1 / (1 - (f/F)^2 + i b f/F^2)``, whose bandwidth
    ``b`` grows with F. The zero of the coupled nose and the voice's spectral tilt follow.
    """
    resonances: list[np.ndarray] = [
        *plan.formants[frames].T,
        *np.array(speaker.upper_formants)[:, None],
    ]
    denominator = np.ones((1, len(_FREQUENCIES)), dtype=np.complex64)
    for formant, bandwidth in zip(map(_column, resonances), _FORMANT_BANDWIDTHS, strict=True):
        ratio = _FREQUENCIES / formant
        # The bandwidth relative to the formant.
        width = bandwidth * speaker.bandwidth_scale * (1 / formant + 1 / 6000)
        denominator = denominator * (1 - ratio**2 + 1j * (width * ratio))
    zero = np.exp(-(((_FREQUENCIES - speaker.nasal_zero) / 200) ** 2))
    tilt = _decibels(-speaker.tilt * np.log2(np.maximum(_FREQUENCIES, 100) / 500))
    response: np.ndarray = (1 - _column(plan.nasality[frames]) * zero) * tilt / denominator
    return response


def _spectra(signal: np.ndarray, windows: int) -> np.ndarray:
    """The spectra of overlapping windows, complex ``[windows, frequencies]``."""
    framed = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW)[::_HOP][:windows]
    return np.fft.rfft(framed * _TAPER, axis=1)


def _overlap_add(windows: np.ndarray) -> np.ndarray:
    """``[windows, _WINDOW]`` -> ``[samples]``"""
    hops = -(-_WINDOW // _HOP)
    parts = np.pad(windows, ((0, 0), (0, hops * _HOP - _WINDOW))).reshape(len(windows), hops, _HOP)
    total = np.zeros((len(windows) + hops - 1, _HOP), dtype=np.float32)
    for hop in range(hops):
        total[hop : hop + len(windows)] += parts[:, hop]
    return total.reshape(-1)


def _per_sample(track: np.ndarray) -> np.ndarray:
    """``[frames]`` -> float32 ``[frames * 80]``"""
    return np.repeat(track.astype(np.float32), _FRAME)


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None]


def _decibels(level: np.ndarray) -> np.ndarray:
    """The amplitude ratio of a level in dB."""
    return 10 ** (level / 20)
