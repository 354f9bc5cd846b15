"""The threshold of a model for the recordings of its user."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.preparation.folders import audio_files, subfolders
from vprtrain.data.preparation.summary import Summary
from vprtrain.data.vad.options import SpeechOptions
from vprtrain.errors import RunError, UsageError
from vprtrain.files import write_folder
from vprtrain.inference.matching import Voice
from vprtrain.inference.predictor import Predictor
from vprtrain.scoring.backend import COSINE, Backend, Voices
from vprtrain.scoring.bootstrap import trial_speakers
from vprtrain.scoring.calibrate import Calibration, fit_calibration
from vprtrain.scoring.metrics import equal_error_rate, min_cost
from vprtrain.scoring.thresholds import (
    OperatingPoints,
    at_false_accept_rate,
    at_threshold,
    operating_points,
)
from vprtrain.scoring.trials import Trials

if TYPE_CHECKING:
    from vprtrain.checkpoint.state_file import SavedCheckpoint

log = logging.getLogger(__name__)

MIN_SPEAKERS, MIN_TARGETS, MIN_NONTARGETS = 5, 20, 100
"""A threshold is not estimated from less: speakers with target trials, and trials of each kind."""
MIN_FALSE_ACCEPTS = 10
"""A false accept rate is not asked for of fewer non-target trials than give this many errors."""
MAX_SPEAKERS, MAX_RECORDINGS = 100, 20
"""Of a folder, at most this number of speakers, and of recordings of each, are used."""


@dataclass(frozen=True, kw_only=True)
class ThresholdEstimate:
    """A threshold, and the errors at it on the trials that it is estimated from. All rates are
    fractions."""

    threshold: float
    eer: float
    min_dcf: float
    """At a target prior of 0.01."""
    false_accept_rate: float
    """Non-target trials at or above the threshold."""
    miss_rate: float
    """Target trials below the threshold (false rejects)."""
    target_trials: int
    nontarget_trials: int
    speakers: int
    recordings: int
    backend: str
    """What makes the scores"""
    calibration: Calibration
    """From the feature ``score`` to natural log-likelihood ratios."""


def folder_recordings(folder: Path, summary: Summary) -> dict[str, str]:
    """The speaker of each recording in ``folder/<speaker>/``, by path.

    Of more than :data:`MAX_SPEAKERS` or :data:`MAX_RECORDINGS`, evenly spaced ones are taken.

    Args:
        summary: counts and names the files that are left out.

    Raises:
        UsageError: the folder does not exist, or has no folders in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: expected one with a folder for each speaker")
    speakers = subfolders(folder, summary)
    if not speakers:
        raise UsageError(f"{folder} has no folders in it: expected one for each speaker")
    return {
        path: speaker
        for speaker in _spread(speakers, MAX_SPEAKERS)
        for path in _spread(audio_files(folder / speaker, summary), MAX_RECORDINGS)
    }


def embed_recordings(
    predictor: Predictor, paths: Mapping[str, str], *, most: float = math.inf
) -> tuple[dict[str, Voice], dict[str, str]]:
    """The voices in recordings, and the reasons of those that cannot be used, by id.

    Args:
        most: as of :meth:`vprtrain.Predictor.voice_each`.
    """
    voices, refused = {}, {}
    found = predictor.voice_each(paths, most=most)
    bar = tqdm(found, total=len(paths), unit="recording", dynamic_ncols=True, disable=None)
    for key, voice in bar:
        if isinstance(voice, AudioError):
            refused[key] = str(voice).removeprefix(f"{paths[key]}: ")
        else:
            voices[key] = voice
    return voices, refused


def all_pairs(speakers: Mapping[str, str]) -> Trials:
    """A trial of each pair of recordings.

    Args:
        speakers: the speaker of each recording, by id.
    """
    ids = tuple(speakers)
    first, second = (side.astype(np.int32) for side in np.triu_indices(len(ids), k=1))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(speakers.values()))}
    labels = np.array([numbers[speaker] for speaker in speakers.values()], dtype=np.int32)
    return Trials(
        enroll_ids=ids,
        test_ids=ids,
        enroll=first,
        test=second,
        targets=labels[first] == labels[second],
    )


def gathered(voices: Mapping[str, Voice], ids: Sequence[str]) -> Voices:
    """The voices of some ids, in their order.

    Raises:
        ScoringError: an embedding is zero or not finite.
    """
    chosen = [voices[key] for key in ids]
    return Voices.of(
        np.stack([each.embedding for each in chosen]), ids, [each.seconds for each in chosen]
    )


def estimate_threshold(
    trials: Trials,
    voices: Mapping[str, Voice],
    *,
    fa_rate: float | None = None,
    backend: Backend = COSINE,
) -> ThresholdEstimate:
    """Estimate the threshold of scores, and their calibration.

    Args:
        trials: of which both recordings have a voice.
        voices: by id.
        fa_rate: the highest false accept rate; the threshold is the lowest that keeps to it.
            ``None``: the threshold is that of the EER, or the middle between the trials of both
            kinds if no error is made.
        backend: what makes the scores.

    Raises:
        UsageError: the trials are too few, or ``fa_rate`` is not between 0 and 1.
        ScoringError: the scores cannot be used.
    """
    speakers = _require_enough(trials, fa_rate)
    scores = backend.score(
        trials, gathered(voices, trials.enroll_ids), gathered(voices, trials.test_ids)
    )
    points = operating_points(scores, trials.targets)
    eer, threshold = equal_error_rate(points)
    if eer >= 0.5:
        raise UsageError(
            f"the EER is {eer:.1%}, as bad as chance or worse: are the speakers' recordings mixed "
            "up, or the labels swapped?"
        )
    if fa_rate is not None:
        threshold = at_false_accept_rate(points, fa_rate).threshold
    elif eer == 0:
        threshold = (scores[trials.targets].min() + scores[~trials.targets].max()) / 2
    return ThresholdEstimate(
        **_errors_at(points, float(threshold)),
        eer=eer,
        min_dcf=min_cost(points).cost,
        speakers=speakers,
        recordings=len({*trials.enroll_ids, *trials.test_ids}),
        backend=str(backend),
        calibration=fit_calibration({"score": scores}, trials.targets),
    )


def write_calibrated(
    saved: SavedCheckpoint,
    estimate: ThresholdEstimate,
    out_dir: Path,
    *,
    speech: SpeechOptions,
    backend: Backend = COSINE,
) -> None:
    """Write a new checkpoint with the model of another, or its exported graphs, and a threshold.

    Voiceprints of the old checkpoint stay valid, because the weights are the same. The optimizer
    state is left out: no run resumes from the new checkpoint. In ``model.state``, ``threshold``,
    ``eer`` and ``min_dcf`` are the estimate's; ``calibrated_on`` says what it rests on,
    ``calibration`` is the map from scores to log-likelihood ratios, and ``backend`` says what makes
    the scores, if it is not the plain cosine; its arrays have a file of their own.

    Args:
        speech: what of the recordings was used.
        backend: what made the scores of the estimate.

    Raises:
        UsageError: ``out_dir`` exists.
        RunError: ``out_dir`` cannot be written.
    """
    from vprtrain.callbacks.mixed_precision import SCALER_FILE  # imports Paddle, as the next line
    from vprtrain.checkpoint.file_names import OPTIMIZER_FILE
    from vprtrain.checkpoint.links import require_new_checkpoint
    from vprtrain.checkpoint.state import BestRecord
    from vprtrain.checkpoint.state_file import open_checkpoint, with_state
    from vprtrain.speaker.state import BACKEND_FILE, BACKEND_KEY

    require_new_checkpoint(out_dir)
    content: dict[str, Any] = {**asdict(estimate), **speech._asdict()}
    metrics = {name: content.pop(name) for name in ("eer", "min_dcf", "threshold")}
    extra = {"calibrated_on": content, "calibration": content.pop("calibration")}
    if not backend.is_cosine:
        extra[BACKEND_KEY] = backend.record
    before = {name: value for name, value in saved.state.extra.items() if name != BACKEND_KEY}
    state = replace(
        saved.state.derived(),
        metrics=metrics,
        metrics_step=saved.state.step,
        best=None if saved.state.best is None else BestRecord("eer"),
        extra={**before, **extra},
    )
    used = saved.state.files.keys() - {OPTIMIZER_FILE, SCALER_FILE, BACKEND_FILE}
    files = {name: saved.read(name) for name in saved.state.files if name in used}
    if (arrays := backend.content()) is not None:
        files[BACKEND_FILE] = arrays
    try:
        write_folder(out_dir, with_state(files, state))
    except OSError as error:
        raise RunError(
            f"{out_dir} cannot be written ({error}): make room, or give another folder"
        ) from error
    open_checkpoint(out_dir)


def _spread(items: Sequence[str], most: int) -> list[str]:
    """At most this number of items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]


def _require_enough(trials: Trials, fa_rate: float | None) -> int:
    """The number of speakers.

    Raises:
        UsageError: there are too few speakers or trials.
    """
    sides = trial_speakers(trials) if len(trials) else (np.empty(0), np.empty(0))
    paired = len(np.unique(sides[0][trials.targets]))
    targets = int(np.count_nonzero(trials.targets))
    nontargets = len(trials) - targets
    if paired < MIN_SPEAKERS or targets < MIN_TARGETS or nontargets < MIN_NONTARGETS:
        raise UsageError(
            f"too few recordings for a threshold: found {paired} speakers with two usable "
            f"recordings or more, {targets} target and {nontargets} non-target trials; expected at "
            f"least {MIN_SPEAKERS}, {MIN_TARGETS} and {MIN_NONTARGETS}, for example 5 speakers "
            "with 4 recordings each (better: 20 or more speakers)"
        )
    if fa_rate is not None:
        if not 0 < fa_rate < 1:
            raise UsageError(f"the false accept rate is {fa_rate}: expected more than 0, below 1")
        if nontargets * fa_rate < MIN_FALSE_ACCEPTS:
            raise UsageError(
                f"too few recordings for a false accept rate of {fa_rate:g}: found {nontargets} "
                f"non-target trials, expected at least {MIN_FALSE_ACCEPTS / fa_rate:.0f}; add "
                "speakers, or give a higher rate"
            )
    return len(np.unique(np.concatenate(sides)))


def _errors_at(points: OperatingPoints, threshold: float) -> dict[str, Any]:
    at = at_threshold(points, threshold)
    return {
        "threshold": threshold,
        "false_accept_rate": at.false_accept_rate,
        "miss_rate": at.miss_rate,
        "target_trials": points.targets,
        "nontarget_trials": points.nontargets,
    }
