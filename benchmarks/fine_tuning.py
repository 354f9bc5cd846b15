"""What a published model gains from speakers of a new domain, and what it forgets.

    python benchmarks/fine_tuning.py SPEECH CHECKPOINT OUT [--seeds 3]

``SPEECH`` is a folder with ``dev_pack`` (``metadata.csv``: path, speaker, dataset, split;
``trials/<set>.txt``: label, path, path). Every recording is embedded once by the checkpoint. Then a
linear layer after the embedding, which starts as the identity, is trained on the embeddings of the
training speakers as ``--recipe own --config fine_tune`` trains the last layer: first a head for
these speakers alone, then both, with AAM and a large margin. For a network that ends in a linear
layer (and a normalisation without weights, as CAM++ does), the product of both layers is a last
layer; so this is the fine-tuning of the last layer on whole recordings, in seconds.

The output is a table in Markdown: the EER on unseen speakers of each set before, after training on
speakers of all sets, of one set only (what is forgotten of the others), and of all other sets (what
helps a domain of which no speaker is known), mean and standard deviation over the seeds, for
cosines and for AS-norm with the training speakers as the cohort.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from real_speech import SETS, call, trials

from vprtrain import runtime
from vprtrain.data.manifest import write_manifest
from vprtrain.scoring import (
    build_cohort,
    compute_eer,
    dot_products,
    normalize_scores,
    read_trials,
    score_trials,
    unit_sides,
)

DOMAIN = "ravdess"
BATCH, HEAD_EPOCHS, EPOCHS = 32, 2, 6
RATE, SHARE_OF_LAYER = 0.01, 0.2
MARGIN, SCALE, TOP = 0.5, 32.0, 100

Embeddings = Mapping[str, np.ndarray]


def embed(speech: Path, checkpoint: Path, out: Path) -> tuple[Embeddings, Mapping[str, str]]:
    """The embedding of every recording, and the speaker of every one of the training split."""
    pack, file = speech / "dev_pack", out / "embeddings.npz"
    with open(pack / "metadata.csv", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        recordings = out / "recordings.tsv"
        write_manifest(
            recordings,
            [(row["path"], str(pack / row["path"]), float(row["duration"])) for row in rows],
        )
        call(
            "-m",
            "vprtrain",
            "embed",
            f"--list={recordings}",
            f"--out={file}",
            f"--checkpoint={checkpoint}",
            "--min_speech=0",
        )
    with np.load(file) as arrays:
        embeddings = dict(zip(arrays["keys"].tolist(), arrays["embeddings"], strict=True))
    return embeddings, {row["path"]: row["speaker"] for row in rows if row["split"] == "train"}


def tuned(embeddings: Embeddings, speakers: Mapping[str, str], seed: int) -> Embeddings:
    """All embeddings after the layer that was trained on those with a speaker."""
    import paddle

    from vprtrain.losses import AAMLoss, CosineHead

    paddle.seed(seed)
    rng = np.random.default_rng(seed)
    inputs = np.stack([embeddings[path] for path in speakers]).astype(np.float32)
    names, labels = np.unique(list(speakers.values()), return_inverse=True)
    size = inputs.shape[1]
    layer = paddle.nn.Linear(size, size)
    layer.weight.set_value(np.eye(size, dtype=np.float32))
    layer.bias.set_value(np.zeros(size, np.float32))
    head = CosineHead(embedding_dim=size, num_classes=len(names))
    loss_function = AAMLoss(margin=MARGIN, scale=SCALE)
    of_head = paddle.optimizer.Adam(RATE, parameters=head.parameters())
    of_layer = paddle.optimizer.Adam(RATE, parameters=layer.parameters())
    batches = len(inputs) // BATCH
    for epoch in range(EPOCHS):
        order = np.array_split(rng.permutation(len(inputs)), batches)
        for number, chosen in enumerate(order, epoch * batches):
            warm_up = min(1.0, 2 * (number + 1) / batches)
            rate = RATE * warm_up * (1 + math.cos(math.pi * number / (EPOCHS * batches))) / 2
            of_head.set_lr(rate)
            of_layer.set_lr(SHARE_OF_LAYER * rate)
            cosines = head(layer(paddle.to_tensor(inputs[chosen])))
            loss_function(cosines, paddle.to_tensor(labels[chosen])).backward()
            of_head.step()
            if epoch >= HEAD_EPOCHS:
                of_layer.step()
            of_head.clear_grad()
            of_layer.clear_grad()
    with paddle.no_grad():
        outputs = layer(paddle.to_tensor(np.stack(list(embeddings.values())).astype(np.float32)))
    return dict(zip(embeddings, outputs.numpy(), strict=True))


def eers(
    embeddings: Embeddings, cohort_speakers: Mapping[str, str], speech: Path
) -> dict[str, list[float]]:
    """In percent, on every set, by kind of score."""
    cohort = build_cohort(
        np.stack([embeddings[path] for path in cohort_speakers]), list(cohort_speakers.values())
    )
    found: dict[str, list[float]] = {"cosine": [], "AS-norm": []}
    for name in SETS:
        pairs = read_trials(trials(speech, name))
        sides = unit_sides(pairs, embeddings, None, mean=cohort.mean)
        normalised = normalize_scores(dot_products(pairs, sides), pairs, sides, cohort, top=TOP)
        for kind, scores in (("cosine", score_trials(pairs, embeddings)), ("AS-norm", normalised)):
            found[kind].append(100 * compute_eer(scores, pairs.targets)[0])
    return found


def rows(title: str, runs: Sequence[Mapping[str, Sequence[float]]]) -> list[str]:
    """The lines of the table of some runs that differ in the seed."""
    lines = []
    for kind in runs[0]:
        cells = []
        for values in zip(*(run[kind] for run in runs), strict=True):
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}")
        lines.append(f"| {title} | {kind} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("speech", metavar="SPEECH", type=Path)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    speech, out = options.speech.resolve(), options.out.resolve()
    runtime.prepare(threads=1)
    embeddings, speakers = embed(speech, options.checkpoint.resolve(), out)
    domains = {
        "tuned on all sets": speakers,
        f"tuned on {DOMAIN} only": {p: s for p, s in speakers.items() if p.startswith(DOMAIN)},
        f"tuned on all but {DOMAIN}": {
            p: s for p, s in speakers.items() if not p.startswith(DOMAIN)
        },
    }
    lines = rows("published", [eers(embeddings, speakers, speech)])
    for title, chosen in domains.items():
        print(title, file=sys.stderr)
        runs = [
            eers(tuned(embeddings, chosen, seed), speakers, speech) for seed in range(options.seeds)
        ]
        lines += rows(title, runs)
    print(f"| | scores | {' | '.join(SETS)} |")
    print("|---" * (len(SETS) + 2) + "|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
