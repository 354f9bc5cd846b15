"""The commands ``fit`` and ``validate`` of every recipe."""

from __future__ import annotations

import json
from pathlib import Path

from vprtrain.commands.config import CommandParser


def fit(parser: CommandParser, arguments: list[str], *, default_config: Path) -> int:
    """Train by the options of :func:`vprtrain.commands.recipe.add_fit_options`; without --config,
    by the default one."""
    from vprtrain.commands import recipe
    from vprtrain.ranks import connect_ranks

    recipe.add_fit_options(parser)
    chosen = any(
        argument.partition("=")[0] in ("--config", "--help", "-h") for argument in arguments
    )
    config = parser.parse_args(arguments if chosen else [f"--config={default_config}", *arguments])
    with connect_ranks(cpu=config.device == "cpu").reporting():
        return recipe.exit_status(recipe.fit(recipe.build(parser, config), config))


def validate(parser: CommandParser, arguments: list[str]) -> int:
    """Validate a checkpoint on the trials: EER, minDCF and the threshold at the EER.

    Every utterance is embedded once, and the embeddings are kept: a validation that was ended goes
    on. Averaged and concatenated enrolments are both scored where the data have them. The report
    (report.html, report.json, pictures) says more.
    """
    from vprtrain.commands import recipe
    from vprtrain.ranks import connect_ranks

    recipe.add_validate_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    options = parser.parse_args(arguments)
    with connect_ranks(cpu=options.device == "cpu").reporting():
        results = recipe.validate(options)
    if not results:
        return 0
    lines = (f"{result.name}: {result.summary}" for result in results)
    print(json.dumps(results[0].metrics) if options.json else "\n".join(lines))
    return 0
