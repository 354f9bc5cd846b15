"""Processes that use mutants of files; a hung or killed one is noticed and replaced."""

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

MOST_SECONDS = 10
_START_SECONDS = 120
"""For the imports of a process on a busy machine."""


def outcomes(
    script: str, kind: str, first: int, last: int, sample: Path, folder: Path
) -> Iterator[dict]:
    """What became of each mutant. A process that dies or takes too long is replaced."""
    while first < last:
        arguments = [kind, str(first), str(last), str(sample), str(folder)]
        with subprocess.Popen(
            [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True
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


def assert_all_end_well(
    kind: str,
    first: int,
    last: int,
    sample: Path,
    folder: Path,
    script: str = mutants.__file__,
) -> None:
    """Use the mutants ``first`` to ``last`` of a kind in processes of a script.

    Each must end in a right result or in an error of the project in one line, within 10 seconds
    and 1 GB.
    """
    found = list(outcomes(script, kind, first, last, sample, folder))
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
