"""From a recording to its embedding as in each toolkit: ten recordings of four data sets.

``wave_embeddings.npz`` holds the embeddings that the toolkits' own code gave in PyTorch 2.13, front
end included: speakerlab/bin/infer_sv.py of 3D-Speaker, wespeaker/cli/speaker.py of WeSpeaker (with
the window and the scale of each model), and encode_batch of SpeechBrain; the Kaldi features are
torchaudio's. Those of ppvector 1.0.2 are from PPVectorPredictor.predict on PaddlePaddle 2.6.2,
without normalisation of the level. The published CAM++ has its weights, the other networks have
those of ``reference_weights``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from reference_weights import reference_weight
from torch_files import saved, zip_file

from vprtrain.checkpoint.arrays import encode_arrays
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
STFT = {"n_fft": 512, "hop_length": 160, "win_length": 400}
PPVECTOR = {
    "ppvector_campplus": ("CAMPPlus", "ppvector_campplus_192", "Fbank", {}),
    "ppvector_ecapa": ("EcapaTdnn", "ppvector_ecapa_c512", "LogMelSpectrogram", STFT),
}
"""ppvector's model, its parity figures, its features with their options."""


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


def ppvector_checkpoint(name: str, folder: Path) -> Path:
    model, parity, feature, options = PPVECTOR[name]
    keys = json.loads((PARITY / f"{parity}.json").read_text())["keys"]
    folder.mkdir()
    weights = {f"0.{key}": reference_weight(key, shape) for key, shape in keys}
    (folder / "model.pdparams").write_bytes(encode_arrays(weights))
    config = {
        "use_model": model,
        "dataset_conf": {"sample_rate": 16000, "use_dB_normalization": False},
        "preprocess_conf": {
            "feature_method": feature,
            "method_args": {"sr": 16000, "n_mels": 80, **options},
        },
        "loss_conf": {"use_loss": "AAMLoss", "args": {"margin": 0.2, "scale": 32}},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    return folder


def cosine_distances(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    ours, theirs = (
        values / np.linalg.norm(values, axis=1, keepdims=True)
        for values in (ours.astype("float64"), theirs.astype("float64"))
    )
    return 1 - (ours * theirs).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *PPVECTOR])
def test_embeddings_of_recordings_are_the_toolkits(
    name: str, recordings: Sequence[np.ndarray], test_data: Path, tmp_path: Path
) -> None:
    # The name of the folder tells that it is the model of WeSpeaker's hub.
    folder = tmp_path / ("campplus" if name == "wespeaker_campplus" else "own")
    if name in PPVECTOR:
        convert("ppvector", ppvector_checkpoint(name, folder), tmp_path / "out")
    else:
        toolkit, weights = MODELS[name]
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
