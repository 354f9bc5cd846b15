"""What vprtrain and ppvector 1.0.2 learn from the same recordings in the same number of steps.

    python benchmarks/equal_budget.py SPEECH OUT [--peer PYTHON] [--models TDNN] [--seeds 3]

``SPEECH`` is a folder with ``dev_pack`` (``metadata.csv``: path, speaker, split;
``trials/<set>.txt``: label, path, path). Both train the same network on its training speakers:
4 epochs of batches of 32 crops of 2 s, without augmentation, once per seed. The output is a table
in Markdown: EER of cosine scores of whole recordings of unseen speakers, mean and standard
deviation over the seeds, and the CPU seconds of a run.

ppvector trains by its own trainer with the settings of its configs/<model>.yml, in the interpreter
PYTHON (``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``). vprtrain's settings are
:data:`SETTINGS`. ``--change NAME=FILE``, which may be repeated, adds a line for vprtrain with a
YAML file of options of ``fit`` after them, so that one change can be measured at a time.

``OUT/results.json`` keeps each finished run; a second call does only what is missing.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from real_speech import SETS, trials

from vprtrain.callbacks.jsonl_log import METRICS_FILE
from vprtrain.callbacks.scalar_log import VALIDATION
from vprtrain.data.manifest import write_manifest
from vprtrain.files import replacing
from vprtrain.scoring import compute_eer, read_trials, score_trials

WORKER = Path(__file__).parent / "workers" / "equal_budget_ppvector.py"
OURS, PPVECTOR = "vprtrain", "ppvector"
BATCH, SECONDS = 32, 2.0

MODELS: dict[str, dict[str, Any]] = {
    "TDNN": {
        "embedding_dim": 192,
        "pooled_channels": 512,
        "pooling": "ASP",
        "affine": True,
        "norm_after_pooling": True,
    },
    "EcapaTdnn": {"embedding_dim": 192},
    "CAMPPlus": {"embedding_dim": 192},
    "ResNetSE": {"embedding_dim": 192},
}
"""vprtrain's arguments for the networks that ppvector has under the same name."""

SETTINGS: dict[str, Any] = {
    "feature": {"class_path": "Fbank", "init_args": {"mean_norm": True}},
    "loss": {"class_path": "AAMLoss", "init_args": {"margin": 0.2, "scale": 32.0}},
    "optimizer": {"class_path": "Adam", "init_args": {"learning_rate": 0.0005}},
    "initialisation": "paddle",
    "data": {"batch_size": BATCH, "crop_seconds": SECONDS},
    "engine": {"clip_norm": 5.0, "log_every": 20},
    "callbacks": [
        {"class_path": "FastConvolutions"},
        {"class_path": "EMA", "init_args": {"decay": 0.98}},
        {"class_path": "MarginSchedule", "init_args": {"start_epoch": 1.0, "fix_epoch": 3.0}},
        {"class_path": "JsonlLog"},
        {"class_path": "Checkpoint"},
    ],
}
"""vprtrain's options of ``fit`` beside the model, the data and the number of epochs. The rate and
the initial weights were chosen on held-out training speakers. ppvector has them too: its warm-up of
5 epochs ends after these 4, at 0.0008, and its layers start as Paddle's do."""


@dataclass(frozen=True)
class Budget:
    """What every run gets."""

    speech: Path
    out: Path
    epochs: int
    speakers: int

    @property
    def data(self) -> dict[str, Any]:
        """vprtrain's options for the same data."""
        return {
            "train_manifest": str(self.out / "train.tsv"),
            "eval_manifest": str(self.out / "eval.tsv"),
            "trials": {name: str(trials(self.speech, name)) for name in SETS},
        }


def prepare(speech: Path, out: Path, epochs: int) -> Budget:
    """Write the lists of both."""
    pack = speech / "dev_pack"
    with open(pack / "metadata.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    training = [row for row in rows if row["split"] == "train"]
    evaluated = [row for row in rows if row["split"] == "eval"]
    labels = {name: i for i, name in enumerate(sorted({row["speaker"] for row in training}))}
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(
        out / "train.tsv",
        [(str(pack / row["path"]), row["speaker"], float(row["duration"])) for row in training],
    )
    write_manifest(
        out / "eval.tsv",
        [(row["path"], str(pack / row["path"]), float(row["duration"])) for row in evaluated],
    )
    lists = {
        "ppvector_train.txt": [
            f"{pack / row['path']}\t{labels[row['speaker']]}" for row in training
        ],
        "ppvector_eval.txt": [f"{pack / row['path']}\t0" for row in evaluated],
    }
    for name, lines in lists.items():
        (out / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Budget(speech, out, epochs, len(labels))


def fit_ours(budget: Budget, model: str, seed: int, folder: Path, change: Path | None) -> None:
    """Train with ``vprtrain fit``, whose last validation is on all sets."""
    config = SETTINGS | {
        "model": {"class_path": model, "init_args": MODELS[model]},
        "data": SETTINGS["data"] | budget.data,
        "engine": SETTINGS["engine"]
        | {"max_epochs": budget.epochs, "validate_every": f"{budget.epochs} epochs"},
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    changes = [] if change is None else [f"--config={change}"]
    files = ["--config=fit.yaml", *changes, f"--save_dir={folder}", f"--seed={seed}"]
    call([sys.executable, "-m", "vprtrain", "fit", *files], folder)


def eers_of_ours(folder: Path) -> dict[str, float]:
    """The EER of each set in the last validation of a run."""
    (file,) = folder.glob(f"*/{METRICS_FILE}")
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    *_, last = (line for line in lines if line["kind"] == VALIDATION)
    return {name: last["eer" if name == SETS[0] else f"eer_{name}"] for name in SETS}


def fit_ppvector(budget: Budget, model: str, seed: int, folder: Path, python: str) -> None:
    """Train with ppvector's trainer, and write the embeddings."""
    config = {
        "model": model,
        "train_list": str(budget.out / "ppvector_train.txt"),
        "speakers": budget.speakers,
        "epochs": budget.epochs,
        "batch": BATCH,
        "seconds": SECONDS,
    }
    options = {
        "config": config,
        "seed": seed,
        "eval_list": str(budget.out / "ppvector_eval.txt"),
        "out": str(folder / "embeddings.npy"),
    }
    call([python, "-W", "ignore", str(WORKER), json.dumps(options)], folder)


def eers_of_ppvector(budget: Budget, folder: Path) -> dict[str, float]:
    """The EER of each set from the embeddings, by vprtrain's metric."""
    rows = (budget.out / "eval.tsv").read_text(encoding="utf-8").splitlines()
    ids = [row.partition("\t")[0] for row in rows]
    embeddings = dict(zip(ids, np.load(folder / "embeddings.npy"), strict=True))
    eers = {}
    for name in SETS:
        pairs = read_trials(trials(budget.speech, name))
        eers[name] = compute_eer(score_trials(pairs, embeddings), pairs.targets)[0]
    return eers


def call(command: Sequence[str], folder: Path) -> None:
    """Run a command; its output goes to ``folder/log``. If it fails, exit with its status."""
    with open(folder / "log", "a", encoding="utf-8") as log:
        status = subprocess.run(command, cwd=folder, stdout=log, stderr=log).returncode
    if status:
        sys.exit(f"{' '.join(command[:4])} ... failed with status {status}: see {folder / 'log'}")


def cpu_seconds() -> float:
    """Of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(who: str, model: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """A line of the table."""
    cells = [who, model, str(len(runs))]
    for name in SETS:
        eers = [100 * run["eer"][name] for run in runs]
        spread = f" ± {statistics.stdev(eers):.1f}" if len(eers) > 1 else ""
        cells.append(f"{statistics.mean(eers):.1f}{spread}")
    cells.append(f"{statistics.mean(run['cpu_seconds'] for run in runs):.0f}")
    return f"| {' | '.join(cells)} |"


class Results:
    """The finished runs, in a file that is replaced after each one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._runs: dict[str, Any] = (
            json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        )

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    def add(self, key: str, eers: Mapping[str, float], cpu: float) -> None:
        self._runs[key] = {"eer": eers, "cpu_seconds": cpu}
        with replacing(self._file) as temporary:
            temporary.write_text(json.dumps(self._runs, indent=1), encoding="utf-8")

    def of(self, keys: Iterable[str]) -> list[Mapping[str, Any]]:
        """The runs among these that are finished."""
        return [self._runs[key] for key in keys if key in self._runs]


def run_key(who: str, model: str, epochs: int, seed: int) -> str:
    return f"{who}, {model}, {epochs} epochs, seed {seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("speech", metavar="SPEECH", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["TDNN"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--change", metavar="NAME=FILE", action="append", default=[])
    options = parser.parse_args()
    budget = prepare(options.speech.resolve(), options.out.resolve(), options.epochs)
    changes = dict(change.split("=", 1) for change in options.change)
    contestants = [*([PPVECTOR] if options.peer else []), OURS, *changes]
    results = Results(budget.out / "results.json")
    for model, seed, who in product(options.models, range(options.seeds), contestants):
        key = run_key(who, model, budget.epochs, seed)
        if key in results:
            continue
        folder = budget.out / "runs" / key.replace(", ", "-").replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        before = cpu_seconds()
        if who == PPVECTOR:
            fit_ppvector(budget, model, seed, folder, options.peer)
            eers = eers_of_ppvector(budget, folder)
        else:
            change = Path(changes[who]).resolve() if who in changes else None
            fit_ours(budget, model, seed, folder, change)
            eers = eers_of_ours(folder)
        results.add(key, eers, cpu_seconds() - before)
        print(key, {name: f"{eer:.2%}" for name, eer in eers.items()}, file=sys.stderr)
    print(f"| | model | seeds | {' | '.join(SETS)} | CPU s |")
    print("|---" * (len(SETS) + 4) + "|")
    for model, who in product(options.models, contestants):
        keys = [run_key(who, model, budget.epochs, seed) for seed in range(options.seeds)]
        print(row(who, model, results.of(keys)))


if __name__ == "__main__":
    main()
