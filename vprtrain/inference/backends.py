"""Back ends from recordings: a cohort or PLDA of other speakers, a calibration by duration."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vprtrain.data.manifest import read_manifest
from vprtrain.errors import UsageError
from vprtrain.files import StrPath
from vprtrain.inference.calibration import MAX_RECORDINGS, embed_recordings, gathered
from vprtrain.inference.matching import Voice
from vprtrain.inference.predictor import Predictor
from vprtrain.scoring.backend import Backend, BackendKind, IndexPairs, QualityName, Voices
from vprtrain.scoring.trials import Trials

CUT_SECONDS = (1.0, 2.0, 4.0)
"""The test recordings of a calibration are also cut to these, so that it sees short ones."""


def estimate_backend(
    predictor: Predictor,
    kind: BackendKind,
    manifest: StrPath,
    *,
    top: int,
    lda_dim: int | None = None,
    apart_from: Iterable[str] = (),
) -> tuple[Backend, dict[str, str]]:
    """A back end from the recordings of a training manifest, read as the predictor reads.

    Of each speaker at most :data:`vprtrain.inference.calibration.MAX_RECORDINGS` are used.

    Args:
        manifest: lines of ``path<TAB>speaker[<TAB>seconds]``.
        top, lda_dim: as of :meth:`vprtrain.scoring.Backend.fit`.
        apart_from: paths of recordings that the manifest must not have: those of the threshold,
            whose scores the back end would otherwise know.

    Returns:
        The back end, and the reason of each recording that cannot be used.

    Raises:
        UsageError: the manifest cannot be used, or has one of those recordings.
        ScoringError: there are too few speakers or recordings.
    """
    rows = read_manifest(manifest)
    rows.require_speakers(2)
    taken = Counter[str]()
    speakers: dict[str, str] = {}
    for place in range(len(rows)):
        row = rows[place]
        taken[row.speaker] += 1
        if taken[row.speaker] <= MAX_RECORDINGS:
            speakers[row.path] = row.speaker
    others = {os.path.realpath(path) for path in apart_from}
    if shared := [path for path in speakers if os.path.realpath(path) in others]:
        raise UsageError(
            f"{manifest} has {len(shared)} of the recordings that the threshold is estimated from, "
            f"for example {shared[0]}: expected a cohort of other speakers"
        )
    voices, refused = embed_recordings(predictor, {path: path for path in speakers})
    if not voices:
        raise UsageError(f"{manifest}: none of the {len(speakers)} recordings can be used")
    embeddings = np.stack([voice.embedding for voice in voices.values()])
    names = [speakers[path] for path in voices]
    return Backend.fit(kind, embeddings, names, top=top, lda_dim=lda_dim), refused


def calibrate_quality(
    predictor: Predictor,
    backend: Backend,
    measures: Sequence[QualityName],
    trials: Trials,
    voices: Mapping[str, Voice],
    paths: Mapping[str, str],
) -> Backend:
    """A back end with a calibration by quality measures.

    For the measure "duration", each test recording counts again for each of :data:`CUT_SECONDS`
    that is shorter: recordings of one length would not say what length does.

    Args:
        trials: of which both recordings have a voice.
        voices, paths: of the recordings, by id.

    Raises:
        ScoringError: as :meth:`vprtrain.scoring.Backend.with_quality`.
        UsageError: the back end has no cohort for the measure "cohort".
    """
    if "cohort" in measures and backend.cohort is None:
        raise UsageError(
            f"--quality cohort needs a cohort, which the back end {backend.kind} has not: give "
            "--backend as-norm and --cohort"
        )
    tested = [gathered(voices, trials.test_ids)]
    enroll, test, targets = [trials.enroll], [trials.test], [trials.targets]
    for most in CUT_SECONDS if "duration" in measures else ():
        longer = {key: paths[key] for key in trials.test_ids if voices[key].seconds > most}
        cut, _ = embed_recordings(predictor, longer, most=most)  # a cut may have too little speech
        if not cut:
            continue
        place = {key: index for index, key in enumerate(cut)}
        places = np.array([place.get(key, -1) for key in trials.test_ids])[trials.test]
        chosen = places >= 0
        test.append(places[chosen] + sum(len(each.units) for each in tested))
        enroll.append(trials.enroll[chosen])
        targets.append(trials.targets[chosen])
        tested.append(gathered(cut, list(cut)))
    return backend.with_quality(
        measures,
        IndexPairs(np.concatenate(enroll), np.concatenate(test)),
        gathered(voices, trials.enroll_ids),
        Voices(*(np.concatenate(column) for column in zip(*tested, strict=True))),
        np.concatenate(targets),
    )
