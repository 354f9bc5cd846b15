"""``vprtrain score``."""

from __future__ import annotations

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json
from vprtrain.commands.score_rttm import add_rttm_options, refuse_rttm_options, score_rttm
from vprtrain.commands.score_trials import add_trial_options, score_trials


def score(parser: CommandParser, arguments: list[str]) -> int:
    """Compute EER, minDCF and thresholds from a trial list and a score file.

    TRIALS has lines of "enrol test 1|0", "1|0 enrol test" or "enrol test target|nontarget". With
    --enroll_list, both lists are ppvector's ("utterance<TAB>label"), and all pairs of their
    utterances are trials. SCORES has lines of "enrol test score" in any order. Trials without a
    score are dropped, counted and named. For log-likelihood ratios (--llr, --calibrate_on), the
    actual DCF and Cllr are computed too.

    With --rttm, DER and JER are computed from who speaks when: TRIALS is the reference and SCORES
    the hypothesis, each an RTTM file or a folder of them.
    """
    parser.add_argument("trials", help="the trial list; with --rttm the reference")
    parser.add_argument(
        "scores",
        help="the score file, where a higher score means more alike; with --rttm the hypothesis",
    )
    add_trial_options(parser)
    add_rttm_options(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    if options.rttm:
        return score_rttm(parser, options)
    refuse_rttm_options(parser, options)
    return score_trials(options)
