"""``benchmarks/all.py`` runs scripts, continues where it was cut, and writes one page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "all.py"


def run(folder: Path, *only: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(folder / "speech"), str(folder / "no_checkpoint"), str(folder / "out")]
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--only", *only],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_scripts_run_once_and_their_tables_make_a_page(tmp_path: Path) -> None:
    for name in ("odd_audio", "bad_audio"):
        (tmp_path / "speech" / name).mkdir(parents=True)
    soundfile.write(tmp_path / "speech" / "odd_audio" / "short.wav", np.zeros(1600), 16000)
    tables = tmp_path / "out"

    first = run(tmp_path, "back_ends", "odd_audio", "diarization")
    assert first.returncode == 1, first.stdout
    assert "back_ends.log" in first.stdout  # there is no checkpoint
    assert "no_checkpoint" in (tables / "back_ends.log").read_text()
    assert {path.name for path in tables.glob("*.txt")} == {"odd_audio.txt"}
    page = (tables / "benchmarks.md").read_text()
    assert "## odd_audio\n\nSamples of odd and bad recordings" in page
    assert "short.wav" in page and "0.10 s" in page and "cores, load" in page
    assert "python benchmarks/odd_audio.py" in page and "back_ends" not in page

    again = run(tmp_path, "odd_audio")
    assert (again.returncode, again.stdout) == (0, f"{tables / 'benchmarks.md'}\n")
    changed = run(tmp_path, f"odd_audio {tmp_path / 'speech'}")
    assert changed.returncode == 0 and "$ python benchmarks/odd_audio.py" in changed.stdout
    assert (tables / "benchmarks.md").read_text().count("short.wav") == 2


def test_an_unknown_script_is_refused(tmp_path: Path) -> None:
    refused = run(tmp_path, "odd")
    assert refused.returncode == 2 and "there is no 'odd': known are real_speech" in refused.stderr
