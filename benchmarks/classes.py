"""Time and memory of a margin head over very many classes: all of them in a step, or a sample.

    python benchmarks/classes.py [--classes 600000] [--shares 1 0.1 0.01]

A step is forward, AAM loss, backward and Adam on random embeddings ``[batch, dim]``. Each share has
a process of its own with one thread. The table shows the seconds of the best step, the process's
peak memory minus that of importing Paddle, and both relative to the head over all classes in the
same run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

from tables import print_head, print_row

from vprtrain import runtime


def measure(*, classes: int, dim: int, batch: int, share: float, steps: int) -> dict[str, float]:
    """The seconds of the best step after the first, and the peak memory in megabytes."""
    import numpy as np
    import paddle

    from vprtrain.engine import Adam
    from vprtrain.layers.rows import RowTable, rows_updated
    from vprtrain.losses import AAMLoss

    before = peak_megabytes()
    loss = AAMLoss()
    head = loss.build_head(embedding_dim=dim, num_classes=classes, class_share=share)
    optimizer = Adam().build(head.parameters())
    tables = [layer for layer in head.sublayers() if isinstance(layer, RowTable)]
    rng, seconds = np.random.default_rng(0), []
    for step in range(1 + steps):
        embeddings = paddle.to_tensor(
            rng.standard_normal((batch, dim)).astype("float32"), stop_gradient=False
        )
        labels = rng.integers(0, classes, batch)
        started = time.perf_counter()
        head.sample(labels, step)
        loss(*head.training_scores(embeddings, paddle.to_tensor(labels))).backward()
        with rows_updated(optimizer, tables):
            optimizer.step()
        optimizer.clear_grad()
        seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds[1:]), "megabytes": peak_megabytes() - before}


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=600_000)
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.1, 0.01])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    runtime.set_environment()
    shape = {
        "classes": options.classes,
        "dim": options.dim,
        "batch": options.batch,
        "steps": options.steps,
    }
    if options.worker:
        print(json.dumps(measure(**shape, share=options.shares[0])))
        return
    print(
        f"{options.classes} classes, embeddings of {options.dim}, batch {options.batch}, one thread"
    )
    print()
    print_head("share", "s/step", "of all classes", "peak MB", "of all classes")
    baseline: dict[str, float] = {}
    for share in [1.0, *(share for share in options.shares if share < 1)]:
        arguments = [f"--{name}={value}" for name, value in shape.items()]
        command = [sys.executable, __file__, "--worker", *arguments, f"--shares={share}"]
        found = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]
        )
        baseline = baseline or found
        seconds, megabytes = found["seconds"], found["megabytes"]
        ratios = [seconds / baseline["seconds"], megabytes / baseline["megabytes"]]
        print_row(
            share, f"{seconds:.3f}", f"{ratios[0]:.3f}", f"{megabytes:.0f}", f"{ratios[1]:.3f}"
        )


if __name__ == "__main__":
    main()
