"""The comparison of an exported graph with its checkpoint, before the export appears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vprtrain.data.synthetic import draw_speaker, draw_utterance
from vprtrain.data.synthetic.voices import SAMPLE_RATE
from vprtrain.errors import RunError
from vprtrain.extractors.exported import Precision
from vprtrain.extractors.extractor import Extractor

TOLERANCE = 1e-4
"""The largest allowed difference between the embeddings of an exported model and its checkpoint,
relative to the largest value of an embedding; for weights of float32."""
LEAST_COSINE: dict[Precision, float] = {"float16": 0.999, "int8": 0.9}
"""The least allowed cosine between the two embeddings of a recording; for weights of lower
precision."""
_CHECKED_SECONDS = (0.9, 2.0, 3.7)
_VOICES = 8


def require_same(exported: Extractor, checkpoint: Extractor, name: str) -> str:
    """Compare the embeddings of three waveforms of noise, one by one and in one batch.

    Returns:
        The result for a person.

    Raises:
        RunError: an embedding differs by more than :data:`TOLERANCE`.
    """
    waveforms = _noises(checkpoint)
    expected = [checkpoint.embed([waveform])[0] for waveform in waveforms]
    alone = [exported.embed([waveform])[0] for waveform in waveforms]
    for found in (alone, exported.embed(waveforms)):
        for waveform, ours, theirs in zip(waveforms, expected, found, strict=True):
            difference = np.abs(theirs - ours).max() / np.abs(ours).max()
            if not difference <= TOLERANCE:  # also refuses NaN
                raise RunError(
                    f"{name} gives other embeddings than the checkpoint: on {len(waveform)} "
                    f"samples of noise they differ by {difference:.1e} of the largest value, "
                    f"expected at most {TOLERANCE:.0e}; nothing was exported"
                )
    return "equal to it on noise of three lengths"


def require_near(exported: Extractor, checkpoint: Extractor, precision: Precision) -> str:
    """Compare the embeddings of synthetic voices, and the scores between them.

    Measured with a published model and int8: the embeddings of synthetic voices move further than
    those of real speech, the scores about half as far.

    Returns:
        How far they moved, for a person.

    Raises:
        RunError: a cosine is below :data:`LEAST_COSINE`.
    """
    voices = _voices(checkpoint)
    ours, theirs = (
        _normalised(np.concatenate([model.embed([voice]) for voice in voices]))
        for model in (checkpoint, exported)
    )
    cosine = float((ours * theirs).sum(axis=1).min())
    moved = float(np.abs(ours @ ours.T - theirs @ theirs.T).max())
    said = (
        f"with weights of {precision}, embeddings of {len(voices)} synthetic voices have a cosine "
        f"of {cosine:.5f} or more with the checkpoint's, and scores between them move by up to "
        f"{moved:.4f}"
    )
    if not cosine >= LEAST_COSINE[precision]:  # also refuses NaN
        raise RunError(
            f"{said}; expected a cosine of at least {LEAST_COSINE[precision]}: nothing was "
            "exported, use a higher --precision"
        )
    return said


def _noises(checkpoint: Extractor) -> Sequence[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [
        checkpoint.min_samples + int(seconds * checkpoint.sample_rate)
        for seconds in _CHECKED_SECONDS
    ]
    return [0.1 * rng.standard_normal(length, dtype=np.float32) for length in lengths]


def _voices(checkpoint: Extractor) -> Sequence[np.ndarray]:
    """Utterances of different speakers. At another sample rate they are played faster or slower,
    which makes other voices."""
    rng = np.random.default_rng(0)
    seconds = 2 + checkpoint.min_samples / SAMPLE_RATE
    return [
        draw_utterance(draw_speaker(rng), rng, seconds=seconds + place % 3)
        for place in range(_VOICES)
    ]


def _normalised(embeddings: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / lengths
