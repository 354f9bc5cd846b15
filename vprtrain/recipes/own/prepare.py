"""The manifests of a data set that has no recipe of its own; no audio is copied."""

from __future__ import annotations

from pathlib import Path

from vprtrain.data.preparation import Preparation
from vprtrain.data.preparation.corpora import READERS
from vprtrain.data.preparation.holding_out import TRIALS, hold_out, refuse_former_trials
from vprtrain.data.preparation.preparation import TRAINING_UTTERANCES
from vprtrain.recipes.own.settings import fit_command, write_settings

NOTHING_HELD_OUT = (
    "no speaker is held out, so there are no trials to validate on, and the model will have no "
    "threshold: with --held_out 20, twenty speakers are kept for that"
)


def prepare(
    preparation: Preparation,
    source: Path,
    *,
    origin: str,
    root: Path,
    held_out: int = 0,
    shards: bool = False,
) -> None:
    """Write ``train.tsv`` and ``fit.yaml``, and with held-out speakers ``eval.tsv`` and
    ``trials.txt``.

    Args:
        preparation: measures the recordings and writes the files.
        source: the folder or the list.
        origin: what ``source`` is, a key of ``READERS``.
        root: the folder that relative paths in lists start from.
        held_out: number of speakers to validate on.
        shards: whether ``preparation`` packs shards.

    Raises:
        UsageError: the source is not what ``origin`` says, too few speakers would remain, or
            ``out_dir`` holds trials of speakers who would now be trained on.
    """
    if not held_out:
        refuse_former_trials(preparation.out)
    recordings = READERS[origin](source, root.resolve(), preparation.summary)
    rows = preparation.measure(recordings)
    if held_out:
        rows = hold_out(preparation, rows, held_out)
    else:
        preparation.summary.remark(NOTHING_HELD_OUT)
    preparation.write_training(rows)
    write_settings(
        preparation.out,
        base=Path(__file__).parent / "campplus.yaml",
        utterances=preparation.summary.counts[TRAINING_UTTERANCES],
        trials=TRIALS if held_out else None,
        shards=shards,
    )
    preparation.summary.next_commands = {
        "Next, on a GPU": fit_command(preparation.out, "campplus", report=held_out > 0),
        "or on a CPU, with a compact network": fit_command(
            preparation.out, "compact", report=held_out > 0
        ),
    }
