"""G9 through a recipe's commands: distributed evaluation gives the numbers of one process, and bad
recordings of all ranks count."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rank_processes import launch, spawn

from vprtrain.evaluation.embedding_store import PART_SIZE

pytestmark = pytest.mark.distributed

LIMIT = 300.0
VALIDATION = str(Path(__file__).with_name("rank_validation.py"))
RUN_DIR = "TDNN_Fbank"


@pytest.fixture(scope="module")
def trained(command_into, tmp_path_factory) -> Path:
    """A short run of one process."""
    save_dir = tmp_path_factory.mktemp("trained")
    subprocess.run(
        command_into(save_dir, "--engine.max_epochs=2"),
        check=True,
        capture_output=True,
        timeout=LIMIT,
    )
    return save_dir / RUN_DIR


def embeddings(out: Path) -> dict[str, bytes]:
    """Every stored embedding of a validation, as bytes."""
    found = {}
    for path in out.glob("embeddings/*/*.npz"):
        with np.load(path) as part:
            found |= dict(zip(part["keys"].tolist(), map(bytes, part["embeddings"]), strict=True))
    return found


def test_validate_under_the_launcher_gives_the_numbers_of_one_process(
    trained, run_py, corpus, tmp_path
) -> None:
    """The same embeddings to the bit, and so the same EER, also of normalised scores."""
    command = [
        *run_py,
        "validate",
        f"--checkpoint={trained}",
        f"--cohort={corpus / 'train.tsv'}",
        "--top=3",
        "--json",
    ]
    alone = subprocess.run(
        [*command, f"--out={tmp_path / 'one'}"], capture_output=True, text=True, timeout=LIMIT
    )
    assert alone.returncode == 0, alone.stderr
    with launch([*command[1:], f"--out={tmp_path / 'two'}"], 2, tmp_path / "logs") as processes:
        assert processes.wait(LIMIT) == [0], processes.said()
        said = (tmp_path / "logs" / "ranks" / "workerlog.0").read_text()
    reported = [line for line in said.splitlines() if line.startswith("{")]
    assert reported == [alone.stdout.strip()] and json.loads(reported[0]).keys() == {
        "eer",
        "min_dcf",
        "threshold",
        "backend",
    }
    one = embeddings(tmp_path / "one")
    assert len(one) > 2 * 16 and len(one) < PART_SIZE and one == embeddings(tmp_path / "two")
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    assert reports[0]["results"] == reports[1]["results"]


@pytest.mark.parametrize("size", [2, 4])
def test_validation_in_training_gives_the_numbers_of_one_process(
    trained, command_into, run_py, tmp_path, size
) -> None:
    """On every rank. Of four ranks, the last two have no batch."""
    options = command_into(tmp_path)[len(run_py) + 1 :]
    said = {}
    for ranks in (1, size):
        with spawn(
            [VALIDATION, str(trained), *options], ranks, tmp_path / f"{ranks}.logs"
        ) as processes:
            assert processes.wait(LIMIT) == [0] * ranks, processes.said()
            said |= {(ranks, rank): processes.said(rank).splitlines()[-1] for rank in range(ranks)}
    assert json.loads(said[1, 0]).keys() == {"eer", "min_dcf", "threshold"}
    assert len(set(said.values())) == 1 and len(said) == 1 + size


def test_bad_recordings_that_any_rank_meets_are_noted_once_and_count(
    command_into, corpus, tmp_path
) -> None:
    """They are listed in the run directory's ``bad_audio.tsv``. The limit is for all ranks
    together, also after a resume."""
    bad = spoil(corpus, tmp_path / "corpus")
    options = [
        f"--data.train_manifest={tmp_path / 'corpus' / 'train.tsv'}",
        "--engine.max_epochs=2",
    ]
    noted = {}
    for size in (1, 2):
        command = command_into(tmp_path / str(size), *options, "--max_bad_share=0.2")
        with spawn(command[1:], size, tmp_path / f"{size}.logs") as processes:
            assert processes.wait(LIMIT) == [0] * size, processes.said()
        lines = (tmp_path / str(size) / RUN_DIR / "bad_audio.tsv").read_text().splitlines()
        noted[size] = {line.partition("\t")[0] for line in lines}
        assert len(lines) == len(bad)
    assert noted[1] == noted[2] == bad
    command = command_into(tmp_path / "few", *options, "--max_bad_share=0.07")  # of 48: 3
    for attempt in range(2):
        with spawn(command[1:], 2, tmp_path / f"few{attempt}.logs") as processes:
            assert processes.wait(LIMIT) == [1, 1]
            assert "4 of 48 utterances are bad so far, more than max_bad_share" in processes.said(0)
            assert "rank 0 failed: " in processes.said(
                1
            ) and "4 of 48 utterances" in processes.said(1)


def spoil(corpus: Path, folder: Path) -> set[str]:
    """Copy the corpus, with four training utterances that are not audio; returns their paths."""
    folder.mkdir()
    rows = []
    bad = set()
    for number, line in enumerate((corpus / "train.tsv").read_text().splitlines()):
        path, *rest = line.split("\t")
        source = (corpus / path).resolve()
        if number % 12 == 5:
            source = shutil.copy(Path(__file__), folder / f"{number}.wav")
            bad.add(str(source))
        rows.append("\t".join([str(source), *rest]))
    (folder / "train.tsv").write_text("".join(f"{row}\n" for row in rows))
    return bad
