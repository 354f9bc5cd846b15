"""A stranger's file gives a right result or one of the project's own errors, within 10 seconds and
1 GB: mutants of checkpoints, PyTorch files, exported models and databases, made from seeds."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mutants
import numpy as np
import pytest
from small_checkpoint import write_checkpoint

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.extractors.exporting import export
from vprtrain.voiceprints.database import Voiceprints

MOST_SECONDS = 10
_START_SECONDS = 120
"""For the imports of a process on a busy machine."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good file of each kind, but exported models."""
    folder = tmp_path_factory.mktemp("sample")
    write_checkpoint(folder / "checkpoint")
    (folder / "torch").mkdir()
    for name in ("torch_zip.pt", "torch_legacy.pt"):
        data = (Path(__file__).parent.parent / "conversion" / name).read_bytes()
        (folder / "torch" / name).write_bytes(data)
    voiceprints = Voiceprints(folder / "voiceprints.db", model="ab" * 32)
    rng = np.random.default_rng(1)
    for user in ("ann", "bob", "eve"):
        voiceprints.add(user, rng.standard_normal((2, 8)).astype("float32"))
    voiceprints.close()
    return folder


@pytest.fixture(scope="module")
def exported(sample: Path) -> Path:
    """The same folder with an exported model."""
    export(open_checkpoint(sample / "checkpoint"), sample / "exported")
    return sample


def outcomes(kind: str, first: int, last: int, sample: Path, folder: Path) -> Iterator[dict]:
    """What became of each mutant. A process that dies or takes too long is replaced."""
    while first < last:
        arguments = [kind, str(first), str(last), str(sample), str(folder)]
        with subprocess.Popen(
            [sys.executable, mutants.__file__, *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            begun = None
            for line in _lines(process):
                if "begun" in line:
                    begun = line["begun"]
                else:
                    yield line
                    first = line["number"] + 1
            process.kill()
            status = process.wait()
        if first < last:
            assert begun == first, f"the process of {kind} did not start ({status})"
            yield {"number": first, "outcome": f"hung or died ({status})", "said": ""}
            first += 1


def _lines(process: subprocess.Popen) -> Iterator[dict]:
    """The lines of a process, until it ends or says nothing for too long."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    patience = _START_SECONDS
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            return
        if not line:
            return
        if line.startswith("{"):
            patience = 3 * MOST_SECONDS  # for a busy machine
            yield json.loads(line)


def assert_all_end_well(kind: str, first: int, last: int, sample: Path, folder: Path) -> None:
    found = list(outcomes(kind, first, last, sample, folder))
    assert [line["number"] for line in found] == list(range(first, last))
    wrong = [
        line
        for line in found
        if line["outcome"] not in ("right", "refused")
        or line["seconds"] > MOST_SECONDS
        or line["bytes"] > mutants.MOST_BYTES
        or "\n" in line["said"]
        or len(line["said"]) > 1000
    ]
    assert not wrong, wrong[:5]
    counts = Counter(line["outcome"] for line in found)
    assert counts["refused"] > len(found) / 10, counts


FAST = {"pickles": 60, "torch": 40, "specs": 40, "sqlite": 30}
SLOW = {
    "pickles": 900,
    "torch": 700,
    "checkpoint": 200,
    "specs": 300,
    "static": 250,
    "onnx": 250,
    "sqlite": 500,
}


@pytest.mark.parametrize("kind", FAST)
def test_mutants_end_well(kind: str, sample: Path, tmp_path: Path) -> None:
    assert_all_end_well(kind, 0, FAST[kind], sample, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW)
def test_many_mutants_end_well(kind: str, exported: Path, tmp_path: Path) -> None:
    begin = FAST.get(kind, 0)
    assert_all_end_well(kind, begin, begin + SLOW[kind], exported, tmp_path)
