"""``vprtrain score`` of trials."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_conditions, print_result
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vprtrain.scoring.by_condition import ByCondition
    from vprtrain.scoring.rating import Rating
    from vprtrain.scoring.score_file import ScoredTrials


def add_trial_options(parser: CommandParser) -> None:
    """Declare the options that go with trials."""
    parser.add_argument(
        "--enroll_list", type=str | None, default=None, help="ppvector's enrol list"
    )
    parser.add_argument(
        "--p_target", type=float, default=0.01, help="prior of a target trial, for minDCF"
    )
    parser.add_argument("--c_miss", type=float, default=1.0, help="cost of a miss")
    parser.add_argument("--c_fa", type=float, default=1.0, help="cost of a false accept")
    parser.add_argument(
        "--fa_rate",
        type=float,
        default=0.01,
        help="a false accept rate whose threshold is also reported",
    )
    parser.add_argument(
        "--llr", action="store_true", help="the scores are natural log-likelihood ratios"
    )
    parser.add_argument(
        "--calibrate_on",
        type=tuple[str, str] | None,
        default=None,
        help="[TRIALS,SCORES] of other speakers: convert scores to log-likelihood ratios by "
        "logistic regression on these",
    )
    parser.add_argument(
        "--durations",
        type=str | None,
        default=None,
        help="with --calibrate_on: a table with the columns id and duration (seconds) of all "
        "utterances; the log seconds of the shorter side are then calibrated with",
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        help="number of draws of the speakers for 95 % confidence intervals; 0: no intervals",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of these draws")
    add_conditions(parser)


def score_trials(options: Namespace) -> int:
    """Score the trial list and the score file that the options name."""
    _check(options)

    from vprtrain.scoring.score_file import read_scores
    from vprtrain.scoring.trials import read_trials

    trials = read_trials(options.trials, enroll_list=options.enroll_list)
    scored = read_scores(options.scores, trials)
    if options.calibrate_on is not None:
        scored = _calibrate(scored, *options.calibrate_on, durations=options.durations)
    if scored.dropped:
        print_warning(
            f"{scored.dropped} trials have no score and were dropped: {'; '.join(scored.unscored)}"
        )
    if scored.surplus:
        print_warning(
            f"{scored.surplus} lines of {options.scores} belong to no trial and were ignored"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = _rate(scored, options)
        by_condition = _by_condition(scored, options, results["threshold"])
    for warning in caught:
        print_warning(str(warning.message))
    lines = _describe(results)
    if by_condition is not None:
        results |= {"by": by_condition.as_json()}
        lines += by_condition.lines()
    print_result(options, results, *lines)
    return 0


def _check(options: Namespace) -> None:
    if not 0 < options.p_target < 1 or options.c_miss <= 0 or options.c_fa <= 0:
        raise UsageError(
            "expected 0 < --p_target < 1 and --c_miss and --c_fa above 0, "
            f"not {options.p_target}, {options.c_miss} and {options.c_fa}"
        )
    if options.calibrate_on is None and options.durations is not None:
        raise UsageError("--durations goes with --calibrate_on, which fits a calibration with them")
    if options.by is None and options.by_table is not None:
        raise UsageError("--by_table goes with --by, which names one of its columns")
    if not 0 <= options.fa_rate <= 1 or options.bootstrap < 0 or options.seed < 0:
        raise UsageError(
            "expected --fa_rate from 0 to 1, and --bootstrap and --seed of 0 or more, "
            f"not {options.fa_rate}, {options.bootstrap} and {options.seed}"
        )


def _calibrate(
    scored: ScoredTrials, trials: str, scores: str, *, durations: str | None
) -> ScoredTrials:
    """Natural log-likelihood ratios, by a calibration that is fitted on another list."""
    from vprtrain.scoring.calibrate import fit_calibration
    from vprtrain.scoring.score_file import read_scores
    from vprtrain.scoring.trials import read_trials

    known = read_scores(scores, read_trials(trials))
    calibration = fit_calibration(_features(known, durations), known.trials.targets)
    return scored._replace(scores=calibration.apply(_features(scored, durations)))


def _features(scored: ScoredTrials, durations: str | None) -> dict[str, np.ndarray]:
    """What a calibration sees: the score, and the log seconds of the shorter side if known."""
    if durations is None:
        return {"score": scored.scores}
    from vprtrain.scoring.calibrate import build_features, duration_quality
    from vprtrain.scoring.conditions import read_durations, side_seconds

    seconds = side_seconds(scored.trials, read_durations(durations))
    found = build_features(scored.scores, scored.trials, {"duration": duration_quality(*seconds)})
    return {name: found[name] for name in ("score", "duration_min")}


def _rate(scored: ScoredTrials, options: Namespace) -> dict[str, Any]:
    from vprtrain.scoring.metrics import min_cost
    from vprtrain.scoring.rating import rate

    labels = scored.trials.targets
    rating = rate(scored.scores, labels, p_targets=(), false_accept_rates=(options.fa_rate,))
    costs = {"p_target": options.p_target, "c_miss": options.c_miss, "c_fa": options.c_fa}
    lowest = min_cost(rating.points, **costs)
    at_rate = rating.at_false_accept_rate[options.fa_rate]
    results: dict[str, Any] = {
        "eer": rating.eer,
        "min_dcf": lowest.cost,
        "threshold": rating.threshold,
        "target_trials": rating.points.targets,
        "nontarget_trials": rating.points.nontargets,
        "dropped_trials": scored.dropped,
        "convex_hull_eer": rating.convex_hull_eer,
        "min_dcf_threshold": lowest.at.threshold,
        **costs,
        "fa_rate": at_rate.false_accept_rate,
        "fa_rate_threshold": at_rate.threshold,
        "fa_rate_miss_rate": at_rate.miss_rate,
    }
    if options.llr or options.calibrate_on is not None:
        results |= _likelihood_ratio_costs(scored, rating, costs)
    if options.bootstrap:
        results |= _intervals(scored, options, costs)
    return results


def _likelihood_ratio_costs(
    scored: ScoredTrials, rating: Rating, costs: dict[str, float]
) -> dict[str, Any]:
    from vprtrain.scoring.likelihood import actual_dcf, cllr, min_cllr

    labels = scored.trials.targets
    return {
        "actual_dcf": actual_dcf(scored.scores, labels, **costs),
        "cllr": cllr(scored.scores, labels),
        "min_cllr": min_cllr(rating.points),
    }


def _intervals(scored: ScoredTrials, options: Namespace, costs: dict[str, float]) -> dict[str, Any]:
    from vprtrain.scoring.bootstrap import bootstrap_intervals, trial_speakers
    from vprtrain.scoring.metrics import effective_prior

    prior = effective_prior(**costs)
    intervals = bootstrap_intervals(
        scored.scores,
        scored.trials.targets,
        *trial_speakers(scored.trials),
        seed=options.seed,
        replicates=options.bootstrap,
        p_targets=(prior,),
    )
    return {
        "eer_interval": list(intervals.eer),
        "min_dcf_interval": list(intervals.min_dcf[prior]),
        "speakers": intervals.speakers,
    }


def _by_condition(scored: ScoredTrials, options: Namespace, threshold: float) -> ByCondition | None:
    """The metrics of each condition; ``None`` without ``--by``."""
    if options.by is None:
        return None
    from vprtrain.scoring.by_condition import rate_by_condition
    from vprtrain.scoring.conditions import trial_conditions
    from vprtrain.scoring.metrics import effective_prior

    conditions = trial_conditions(
        options.by, scored.trials, table=options.by_table, edges=options.by_seconds
    )
    return rate_by_condition(
        scored.scores,
        scored.trials,
        conditions,
        threshold=threshold,
        p_target=effective_prior(options.p_target, options.c_miss, options.c_fa),
        bootstrap=options.bootstrap,
        seed=options.seed,
    )


def _describe(results: dict[str, Any]) -> list[str]:
    eer_interval = _interval(results, "eer_interval", ".4%")
    dcf_interval = _interval(results, "min_dcf_interval", ".5f")
    lines = [
        f"{results['target_trials']:,} target and {results['nontarget_trials']:,} non-target "
        f"trials, {results['dropped_trials']:,} dropped because they have no score",
        f"EER {results['eer']:.4%}{eer_interval} at threshold {results['threshold']:.6g}, "
        f"of the convex hull {results['convex_hull_eer']:.4%}",
        f"minDCF {results['min_dcf']:.5f}{dcf_interval} at threshold "
        f"{results['min_dcf_threshold']:.6g} (p_target {results['p_target']:g}, "
        f"costs {results['c_miss']:g} and {results['c_fa']:g})",
        f"false accepts {results['fa_rate']:.4%}, misses {results['fa_rate_miss_rate']:.4%} "
        f"at threshold {results['fa_rate_threshold']:.6g}",
    ]
    if "cllr" in results:
        lines.append(
            f"actual DCF {results['actual_dcf']:.5f}, Cllr {results['cllr']:.5f}, "
            f"minimum Cllr {results['min_cllr']:.5f}"
        )
    if "speakers" in results:
        lines.append(
            f"in brackets: 95 % confidence intervals over {results['speakers']:,} speakers"
        )
    return lines


def _interval(results: dict[str, Any], name: str, form: str) -> str:
    if name not in results:
        return ""
    low, high = results[name]
    return f" [{low:{form}}, {high:{form}}]"
