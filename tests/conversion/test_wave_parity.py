"""From a recording to its embedding as in each toolkit: ten recordings of four data sets.

``wave_embeddings.npz`` holds the embeddings that the toolkits' own code gave in PyTorch 2.13, front
end included: speakerlab/bin/infer_sv.py of 3D-Speaker, wespeaker/cli/speaker.py of WeSpeaker (with
the window and the scale of each model), and encode_batch of SpeechBrain; the Kaldi features are
torchaudio's. The published CAM++ has its weights, the other networks have those of
``reference_weights``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from reference_weights import reference_weight
from torch_files import saved, zip_file

from vprtrain.conversion import convert
from vprtrain.data.audio import read_audio
from vprtrain.extractors import open_extractor

HERE = Path(__file__).parent
PARITY = HERE.parent / "parity"
PUBLISHED = "campplus_cn_en_common.pt"
MODELS = {
    "3dspeaker_campplus": ("3dspeaker", PUBLISHED),
    "3dspeaker_ecapa": ("3dspeaker", "ecapa_c512"),
    "speechbrain_ecapa": ("speechbrain", "ecapa_c512"),
    "wespeaker_campplus": ("wespeaker", PUBLISHED),
    "wespeaker_campplus_int16": ("wespeaker", PUBLISHED),
    "wespeaker_resnet34": ("wespeaker", "resnet34_256"),
}
"""The toolkit, and the weights: a published file, or a file of parity figures."""


@pytest.fixture(scope="module")
def recordings(test_data: Path) -> list[np.ndarray]:
    with np.load(HERE / "wave_embeddings.npz") as figures:
        return [read_audio(test_data / "dev_pack" / name) for name in figures["recordings"]]


def weights_file(weights: str, folder: Path, test_data: Path) -> Path:
    if weights == PUBLISHED:
        published = test_data / "pretrained" / weights
        if not published.exists():
            pytest.skip(f"no published model at {published}")
        data = published.read_bytes()
    else:
        keys = json.loads((PARITY / f"{weights}.json").read_text())["keys"]
        data = zip_file({name: saved(reference_weight(name, shape)) for name, shape in keys})
    folder.mkdir()
    (folder / "model.pt").write_bytes(data)
    return folder / "model.pt"


def cosine_distances(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    ours, theirs = (
        values / np.linalg.norm(values, axis=1, keepdims=True)
        for values in (ours.astype("float64"), theirs.astype("float64"))
    )
    return 1 - (ours * theirs).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_embeddings_of_recordings_are_the_toolkits(
    name: str, recordings: Sequence[np.ndarray], test_data: Path, tmp_path: Path
) -> None:
    toolkit, weights = MODELS[name]
    # The name of the folder tells that it is the model of WeSpeaker's hub.
    folder = tmp_path / ("campplus" if name == "wespeaker_campplus" else "own")
    convert(toolkit, weights_file(weights, folder, test_data), tmp_path / "out")
    extractor = open_extractor(tmp_path / "out", "cpu")
    ours = np.concatenate([extractor.embed([waveform]) for waveform in recordings])
    with np.load(HERE / "wave_embeddings.npz") as figures:
        theirs = figures[name]
    distance = cosine_distances(ours, theirs).max()
    difference = (np.abs(ours - theirs).max(axis=1) / np.abs(theirs).max(axis=1)).max()
    print(
        f"\n{name}: of {len(ours)} recordings, largest cosine distance {distance:.1e}, largest "
        f"difference {difference:.1e} of the largest value"
    )
    assert distance < 1e-6
    assert difference < 1e-3
