"""EER and minDCF of a compact network on real speech of unseen speakers, with and without AS-norm.

    python benchmarks/real_speech.py SPEECH OUT [--epochs 30]

``SPEECH`` is a folder with ``dev_pack`` (``metadata.csv``: path, speaker, split;
``trials/<set>.txt``: label, path, path) and ``noise_pack`` (laid out as MUSAN and as RIRS_NOISES).
The commands of the recipe train on the speakers of the training split, with noise and
reverberation, and validate on the trials of each set, whose speakers are not in training. All files
are kept in ``OUT``, and a second call resumes. The output is a table in Markdown: EER and minDCF at
p = 0.01, each with its 95 % interval over speakers (bootstrap), for cosine scores and for AS-norm
with the training speakers as the cohort; above it the machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine import machine

from vprtrain.data.manifest import write_manifest

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "cnceleb" / "run.py"
SETS = ("librispeech", "arabic_commands", "audiomnist_az", "ravdess")


def call(*command: object) -> None:
    """Run a command as a user would. If it fails, exit with its status."""
    arguments = [sys.executable, *map(str, command)]
    print("$ python", shlex.join(arguments[1:]), file=sys.stderr, flush=True)
    if status := subprocess.run(arguments, stdout=sys.stderr).returncode:
        sys.exit(status)


def prepare(speech: Path, out: Path) -> None:
    """Write the manifests of training, evaluation and noise, unless an earlier call has."""
    evaluation = out / "eval.tsv"
    if evaluation.exists():
        return
    pack, noise = speech / "dev_pack", speech / "noise_pack"
    with open(pack / "metadata.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    out.mkdir(parents=True, exist_ok=True)
    training = "".join(
        f"{pack / row['path']}\t{row['speaker']}\n" for row in rows if row["split"] == "train"
    )
    (out / "training.txt").write_text(training, encoding="utf-8")
    source = ("--from=ppvector", out / "training.txt", f"--out_dir={out}")
    call("-m", "vprtrain", "prepare", *source, f"--musan={noise}", f"--rirs={noise}")
    evaluated = [
        (row["path"], str(pack / row["path"]), float(row["duration"]))
        for row in rows
        if row["split"] == "eval"
    ]
    write_manifest(evaluation, evaluated)


def fit(speech: Path, out: Path, epochs: int) -> Path:
    """Train, or resume training; the run directory."""
    augmentations = [
        {
            "class_path": f"vprtrain.data.augmentation.{name}",
            "init_args": {"manifest": str(out / manifest), "probability": 0.4},
        }
        for name, manifest in (("Reverberation", "rirs.tsv"), ("AdditiveNoise", "musan.tsv"))
    ]
    call(
        RECIPE,
        "fit",
        "--config=demo",
        f"--save_dir={out / 'models'}",
        f"--data.train_manifest={out / 'train.tsv'}",
        f"--data.eval_manifest={out / 'eval.tsv'}",
        f"--data.trials={trials(speech, 'all')}",
        f"--data.augmentations={json.dumps(augmentations)}",
        f"--engine.max_epochs={epochs}",
        "--engine.validate_every=5 epochs",
        "--engine.log_every=20",
    )
    return out / "models" / "TDNN_Fbank"


def validate(run_dir: Path, speech: Path, out: Path, name: str) -> dict[str, Any]:
    """The results on the trials of one set, from the report."""
    report = out / "reports" / name
    call(
        RECIPE,
        "validate",
        f"--checkpoint={run_dir / 'last_model'}",
        f"--out={report}",
        f"--data.trials={trials(speech, name)}",
        f"--data.eval_manifest={out / 'eval.tsv'}",
        f"--cohort={out / 'train.tsv'}",
        "--top=100",
        "--bootstrap=1000",
    )
    return json.loads((report / "report.json").read_text(encoding="utf-8"))["results"]


def trials(speech: Path, name: str) -> Path:
    return speech / "dev_pack" / "trials" / f"{name}.txt"


def row(name: str, results: Mapping[str, Any]) -> str:
    """A line of the table."""
    cells = [name, f"{next(iter(results.values()))['intervals_95']['speakers']}"]
    for result in results.values():
        low, high = result["intervals_95"]["eer"]
        cells.append(f"{100 * result['eer']:.2f} % ({100 * low:.1f} to {100 * high:.1f})")
        low, high = result["intervals_95"]["min_dcf_at"]["0.01"]
        cells.append(f"{result['min_dcf']:.3f} ({low:.2f} to {high:.2f})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("speech", metavar="SPEECH", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    speech, out = options.speech.resolve(), options.out.resolve()
    prepare(speech, out)
    run_dir = fit(speech, out, options.epochs)
    lines = [row(name, validate(run_dir, speech, out, name)) for name in SETS]
    print(f"{machine()}\n")
    print("| set | speakers | EER | minDCF | EER, AS-norm | minDCF, AS-norm |")
    print("|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
