"""CN-Celeb: speaker verification from the archives, or from a synthetic corpus, to a validated model.

``python recipes/cnceleb/run.py --help`` lists the commands.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from pathlib import Path

from vprtrain import runtime
from vprtrain.cli import choose, run
from vprtrain.config import CommandParser

FOLDER = Path(__file__).parent
DEFAULT_CONFIG = FOLDER / "campplus.yaml"

log = logging.getLogger("vprtrain.recipes.cnceleb")


def demo(parser: CommandParser, arguments: list[str]) -> int:
    """Quick start: make a corpus of synthetic voices, prepare, train and validate on it."""
    parser.add_argument("--folder", default="demo", help="where the corpus and the run go; used again next time")
    parser.add_argument("--processes", type=int, default=2, help="processes that synthesise")
    options = parser.parse_args(arguments)
    folder = Path(options.folder)

    from demo import make_corpus

    print("The voices are synthetic: they show that everything works, not what a model reaches on real speech.")
    root = make_corpus(folder / "corpus", processes=options.processes)
    prepare(CommandParser(), [f"--cnceleb1={root}", f"--out_dir={folder / 'manifests'}"])

    from vprtrain import recipe

    fit_parser = CommandParser(prog="fit")
    recipe.add_fit_options(fit_parser)
    config = fit_parser.parse_args(_demo_arguments(folder))
    run = recipe.build(fit_parser, config)
    log.info("validating the untrained network")
    before = run.engine.validate(run.module, run.data)
    result = recipe.fit(run, config)
    status = recipe.exit_status(result)
    if status == 0:
        print(
            "\nEER on 20 synthetic speakers the network has not heard: "
            f"{before['eer']:.2%} before training, {result.metrics['eer']:.2%} after"
        )
        _say_what_next(folder, recipe.run_directory(config))
    return status


def prepare(parser: CommandParser, arguments: list[str]) -> int:
    """Make the manifests that fit and validate read from the unpacked archives; no audio is copied."""
    parser.add_argument("--cnceleb1", required=True, help="CN-Celeb_flac, or the folder it is in")
    parser.add_argument("--cnceleb2", type=str | None, default=None, help="CN-Celeb2_flac, for training speakers")
    parser.add_argument(
        "--out_dir", default="data/cnceleb", help="where train.tsv, eval.tsv, trials.txt, enroll.map go"
    )
    parser.add_argument("--min_seconds", type=float, default=0.5, help="shorter training utterances are left out")
    parser.add_argument("--workers", type=int, default=8, help="threads that read headers")
    options = parser.parse_args(arguments)

    from prepare import prepare as prepare_files

    summary = prepare_files(
        options.cnceleb1,
        options.out_dir,
        data_root2=options.cnceleb2,
        min_seconds=options.min_seconds,
        workers=options.workers,
    )
    print(summary)
    return 0


def fit(parser: CommandParser, arguments: list[str]) -> int:
    """Train. Run again, the same command goes on from last_model.

    Without --config, recipes/cnceleb/campplus.yaml is used.
    """
    from vprtrain import recipe

    recipe.add_fit_options(parser)
    config = parser.parse_args(_with_default_config(arguments))
    return recipe.exit_status(recipe.fit(recipe.build(parser, config), config))


def validate(parser: CommandParser, arguments: list[str]) -> int:
    """Validate a checkpoint on the trials: EER, minDCF and the threshold at the EER."""
    from vprtrain import recipe

    recipe.add_validate_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)
    metrics = recipe.validate(options)
    print(json.dumps(metrics) if options.json else recipe.describe(metrics))
    return 0


def _with_default_config(arguments: list[str]) -> list[str]:
    given = any(argument.partition("=")[0] in ("--config", "--help", "-h") for argument in arguments)
    return arguments if given else [f"--config={DEFAULT_CONFIG}", *arguments]


def _demo_arguments(folder: Path) -> list[str]:
    manifests = folder / "manifests"
    return [
        f"--config={FOLDER / 'demo.yaml'}",
        f"--save_dir={folder / 'models'}",
        f"--data.train_manifest={manifests / 'train.tsv'}",
        f"--data.eval_manifest={manifests / 'eval.tsv'}",
        f"--data.trials={manifests / 'trials.txt'}",
        f"--data.enroll={manifests / 'enroll.map'}",
    ]


def _say_what_next(folder: Path, run_dir: Path) -> None:
    program = f"python {sys.argv[0]}"
    longer = ["--engine.max_epochs=30", f"--save_dir={folder / 'longer'}"]
    print(
        f"The model: {run_dir / 'best_model'}\n"
        "Next, try:\n"
        f"  {program} validate --checkpoint {run_dir}\n"
        f"  {program} fit {shlex.join([*_demo_arguments(folder), *longer])}\n"
        f"  {program} prepare --cnceleb1 /path/to/CN-Celeb_flac"
    )


def main(arguments: list[str]) -> int | None:
    runtime.prepare()
    runtime.log_to_stderr()
    return choose(demo, prepare, fit, validate, description="Speaker verification on CN-Celeb.")(arguments)


if __name__ == "__main__":
    run(main)
