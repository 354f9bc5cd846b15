"""Text lists, shards and caches give a right result or one of the project's own errors, within 10
seconds and 1 GB: mutants made from seeds."""

from __future__ import annotations

from pathlib import Path

import list_mutants
import numpy as np
import pytest
import soundfile
from mutant_processes import assert_all_end_well

from vprtrain.data.manifest import write_manifest
from vprtrain.data.packing import pack
from vprtrain.data.preparation.measuring import Measurer
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.scoring.calibrate import Calibration
from vprtrain.scoring.plda import Plda

LISTS = {
    "train.tsv": "a.wav\tann\t1.5\nb.wav\tann\t2\nc.wav\tbob\t3\n声.wav\tbob\t1\n",
    "eval.tsv": "u1\ta.wav\nu2\tb.wav\nu3\tc.wav\n",
    "wav.scp": "u1 a.wav\nu2 b.wav\nu3 sub/c d.wav\n",
    "utt2spk": "u1 ann\nu2 ann\nu3 bob\n",
    "trials.txt": "u1 u2 1\nu1 u3 0\nu2 u3 0\nu2 u1 1\n",
    "enroll.map": "m1 u1 u2\nm2 u3\n",
    "labels.txt": "a.wav\t0\nb.wav\t0\nc.wav\t1\n",
    "scores.txt": "u1 u2 0.9\nu1 u3 -0.25\nu2 u3 1e-3\nu2 u1 0.5\n",
    "talks.rttm": "SPEAKER t1 1 0 2.5 <NA> <NA> ann <NA> <NA>\n"
    "SPEAKER t1 1 2 1.5 <NA> <NA> bob <NA> <NA>\nSPEAKER t2 1 0 1 <NA> <NA> ann <NA> <NA>\n",
    "talks.uem": "t1 1 0 3.5\nt2 1 0 1\nt2 1 1.5 2\n",
    "train.csv": "path,speaker\na.wav,ann\nb.wav,bob\n",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good files of each kind."""
    folder = tmp_path_factory.mktemp("sample")
    for name in ("lists", "packed", "caches"):
        (folder / name).mkdir()
    for name, text in LISTS.items():
        (folder / "lists" / name).write_text(text, encoding="utf-8")
    rng = np.random.default_rng(0)
    rows = [(f"{number}.wav", f"s{number % 2}", None) for number in range(4)]
    for name, _, _ in rows:
        soundfile.write(folder / "packed" / name, rng.normal(0, 0.1, 8000), 16000)
    write_manifest(folder / "packed" / "train.tsv", rows)
    pack(folder / "packed" / "train.tsv", folder / "packed" / "shards", workers=0)
    caches = folder / "caches"
    recordings = sorted(map(str, (folder / "packed").glob("*.wav")))
    list(Measurer(memory=caches / "durations.cache", workers=1).measure(recordings, "files"))
    Calibration(weights={"score": 2.0, "duration_min": 0.5}, bias=-1.0).save(
        caches / "calibration.json"
    )
    vectors = rng.normal(size=(20, 4)) + np.repeat(rng.normal(size=(5, 4)), 4, axis=0)
    Plda.fit(vectors, np.repeat(np.arange(5), 4)).save(caches / "plda.npz")
    store = EmbeddingStore(caches, about={})
    store.add([f"u{number}" for number in range(20)], vectors)
    store.flush()
    return folder


FAST = {"lists": 200, "shards": 80, "caches": 80}
SLOW = {"lists": 1000, "shards": 500, "caches": 500}


@pytest.mark.parametrize("kind", FAST)
def test_mutants_end_well(kind: str, sample: Path, tmp_path: Path) -> None:
    assert_all_end_well(kind, 0, FAST[kind], sample, tmp_path, list_mutants.__file__)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW)
def test_many_mutants_end_well(kind: str, sample: Path, tmp_path: Path) -> None:
    assert_all_end_well(
        kind, FAST[kind], FAST[kind] + SLOW[kind], sample, tmp_path, list_mutants.__file__
    )
