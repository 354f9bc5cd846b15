"""``vprtrain calibrate``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_json,
    add_model_options,
    name_detector,
    open_predictor,
    print_result,
)
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.inference import ThresholdEstimate
    from vprtrain.scoring.trials import Trials


def calibrate(parser: CommandParser, arguments: list[str]) -> int:
    """Estimate a model's threshold from recordings of one's own, and write a new checkpoint.

    --from takes a folder with a folder of recordings for each speaker, and compares all pairs of
    recordings; at least 5 speakers with 4 recordings each, better 20 speakers or more. --trials and
    --manifest take a trial list instead. The threshold is that of the EER, or the lowest that keeps
    to --fa_rate. The new checkpoint has the same weights, so voiceprints stay valid, and a map from
    scores to log-likelihood ratios (calibration in model.state). The old checkpoint is not changed.
    Use speakers that are recorded as in the application, but do not measure the errors on them.

    --backend changes what makes the scores: as-norm and plda know the speakers of --cohort, which
    are others than those of the threshold. --quality adds a calibration: with duration, a score is
    worth less in a short recording. The threshold is in the scale of these scores, and every
    command that takes the new checkpoint uses them.
    """
    add_model_options(parser)
    parser.add_argument(
        "--from",
        type=str | None,
        default=None,
        help="a folder with a folder of recordings for each speaker; at most 20 recordings of each "
        "of 100 speakers are used",
    )
    parser.add_argument(
        "--manifest",
        type=str | None,
        default=None,
        help="with --trials: the recordings, in lines of id<TAB>path",
    )
    parser.add_argument(
        "--trials",
        type=str | None,
        default=None,
        help="instead of --from: a trial list, as validate takes it",
    )
    parser.add_argument("--out", required=True, help="the new checkpoint; must not exist yet")
    parser.add_argument(
        "--fa_rate",
        type=float | None,
        default=None,
        help="the highest false accept rate, for example 0.001; default: the threshold of the EER",
    )
    _add_backend_options(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    if (options.backend in (None, "cosine")) != (options.cohort is None):
        raise UsageError("--backend as-norm and --backend plda need --cohort, and no other does")
    if options.top < 2:
        raise UsageError(f"--top is {options.top}: expected 2 or more")
    if (options["from"] is None) == (options.trials is None) or (
        (options.trials is None) != (options.manifest is None)
    ):
        raise UsageError("expected either --from, or --trials and --manifest (--help)")
    return _calibrate(options)


def _add_backend_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--backend",
        type=Literal["cosine", "as-norm", "plda"] | None,
        default=None,
        help="what makes the scores; default: that of the checkpoint, cosine unless it was "
        "calibrated with another",
    )
    parser.add_argument(
        "--cohort",
        type=str | None,
        default=None,
        help="a training manifest, path<TAB>speaker, for as-norm and plda: at most 20 recordings "
        "of each speaker are used",
    )
    parser.add_argument(
        "--top", type=int, default=300, help="number of nearest cohort speakers in as-norm"
    )
    parser.add_argument(
        "--lda_dim", type=int | None, default=None, help="directions that plda keeps; default: all"
    )
    parser.add_argument(
        "--quality",
        type=list[Literal["duration", "cohort"]],
        default=[],
        help="quality measures for a calibration of the scores: duration (of the shorter "
        "recording), cohort (how alike the cohort finds a voice, with as-norm)",
    )


def _calibrate(options: Namespace) -> int:
    runtime.prepare()

    from vprtrain.checkpoint.links import require_new_checkpoint
    from vprtrain.extractors.opening import resolve_model
    from vprtrain.inference.backends import calibrate_quality, estimate_backend
    from vprtrain.inference.calibration import (
        embed_recordings,
        estimate_threshold,
        write_calibrated,
    )
    from vprtrain.scoring.backend import COSINE
    from vprtrain.scoring.trials import usable_trials

    out = Path(options.out)
    require_new_checkpoint(out)
    saved = resolve_model(Path(options.checkpoint))
    trials, paths = _trials(options)
    with open_predictor(options, recordings=len(paths)) as predictor:
        voices, refused = embed_recordings(predictor, paths)
        trials = usable_trials(trials, voices).trials
        backend = predictor.matcher.backend
        if options.backend is not None:
            backend = COSINE
        if options.cohort is not None:
            backend, left_out = estimate_backend(
                predictor,
                options.backend,
                options.cohort,
                top=options.top,
                lda_dim=options.lda_dim,
                apart_from=paths.values(),
            )
            refused |= left_out
        if options.quality:
            backend = calibrate_quality(predictor, backend, options.quality, trials, voices, paths)
        speech, used = predictor.speech_options, predictor.runtime
    for key, reason in refused.items():
        print_warning(f"{key}: {reason}; left out")
    estimate = estimate_threshold(trials, voices, fa_rate=options.fa_rate, backend=backend)
    write_calibrated(saved, estimate, out, speech=speech, backend=backend)
    print_result(
        options,
        {"path": str(out), **asdict(estimate), "refused": refused, "runtime": used},
        *_lines(estimate, out),
    )
    return 0


def _trials(options: Namespace) -> tuple[Trials, Mapping[str, str]]:
    """The trials, and the path of each recording that they need."""
    from vprtrain.data.manifest import read_recordings
    from vprtrain.data.preparation.summary import Summary
    from vprtrain.inference.calibration import all_pairs, folder_recordings
    from vprtrain.scoring.trials import read_trials

    if options.trials is None:
        summary = Summary()
        speakers = folder_recordings(Path(options["from"]), summary)
        for line in summary.lines:
            print_warning(line)
        return all_pairs(speakers), {path: path for path in speakers}
    trials = read_trials(options.trials)
    recordings = read_recordings(options.manifest)
    needed = dict.fromkeys((*trials.enroll_ids, *trials.test_ids))
    missing = [key for key in needed if key not in recordings]
    if missing:
        raise UsageError(
            f"{options.manifest} has no line for {len(missing)} ids of {options.trials}: "
            f"{', '.join(missing[:5])}"
        )
    return trials, {key: recordings[key].path for key in needed}


def _lines(estimate: ThresholdEstimate, out: Path) -> list[str]:
    checkpoint = shlex.quote(str(out))
    return [
        f"{out}: threshold {estimate.threshold:.4f}, from {estimate.recordings:,} recordings of "
        f"{estimate.speakers:,} speakers ({estimate.target_trials:,} target and "
        f"{estimate.nontarget_trials:,} non-target trials)",
        f"scores: {estimate.backend}",
        f"EER {estimate.eer:.2%}; at the threshold {estimate.false_accept_rate:.2%} false accepts "
        f"and {estimate.miss_rate:.2%} false rejects",
        "Next:",
        f"  vprtrain contrast A.wav B.wav --checkpoint {checkpoint}",
        f"  vprtrain enroll NAME A.wav B.wav --checkpoint {checkpoint}",
        f"  vprtrain identify C.wav --checkpoint {checkpoint}",
    ]
