from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from vprtrain.data.augmentation import AdditiveNoise, Reverberation
from vprtrain.data.manifest import read_manifest
from vprtrain.data.preparation import Preparation
from vprtrain.data.preparation.noise import prepare_musan, prepare_rirs
from vprtrain.errors import UsageError


def test_noise_by_class(test_data: Path, tmp_path: Path) -> None:
    preparation = Preparation(out_dir=tmp_path)
    prepare_musan(preparation, test_data / "noise_pack")
    manifest = read_manifest(tmp_path / "musan.tsv")
    assert manifest.speakers == ("music", "noise", "speech")
    assert Counter(manifest[index].speaker for index in range(len(manifest))) == {
        "noise": 42,
        "music": 5,
        "speech": 8,
    }
    assert (manifest.durations > 0.5).all()
    assert preparation.finish().counts["noise recordings in musan.tsv"] == 42
    AdditiveNoise(manifest=str(tmp_path / "musan.tsv"))


@pytest.mark.parametrize("folder", ["RIRS_NOISES", "rirs_v1"])
def test_rooms_by_size_and_the_real_ones_by_their_list(
    test_data: Path, tmp_path: Path, folder: str
) -> None:
    """Not the noise beside the real responses in the archive. The folder may be a link to a folder
    of another name."""
    real = test_data / "noise_pack" / "RIRS_NOISES" / "real_rirs_isotropic_noises"
    root = tmp_path / folder
    if folder != "RIRS_NOISES":
        (tmp_path / "RIRS_NOISES").symlink_to(root)
    for room in ("smallroom", "mediumroom", "largeroom"):
        (root / "simulated_rirs" / room).mkdir(parents=True)
    (root / "simulated_rirs" / "largeroom" / "Room001.wav").symlink_to(real / "RVB_real_01_rir.wav")
    copied = root / real.name
    copied.mkdir()
    for name in ("RVB_real_00_rir.wav", "RVB_isotropic_noise.wav"):
        (copied / name).symlink_to(real / "RVB_real_00_rir.wav")
    (copied / "rir_list").write_text((real / "rir_list").read_text())
    preparation = Preparation(out_dir=tmp_path / "out")
    prepare_rirs(preparation, tmp_path)
    manifest = read_manifest(tmp_path / "out" / "rirs.tsv")
    found = [
        (Path(manifest[index].path).name, manifest[index].speaker) for index in range(len(manifest))
    ]
    assert found == [("Room001.wav", "largeroom"), ("RVB_real_00_rir.wav", "real")]
    assert "2 files of rir_list are missing" in str(preparation.finish())
    Reverberation(manifest=str(tmp_path / "out" / "rirs.tsv"))


def test_wrong_folders_and_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an unpacked musan: music, noise, speech not found"):
        prepare_musan(Preparation(out_dir=tmp_path / "out"), tmp_path)
    with pytest.raises(UsageError, match="not an unpacked RIRS_NOISES: simulated_rirs/smallroom"):
        prepare_rirs(Preparation(out_dir=tmp_path / "out"), tmp_path)
    for room in ("smallroom", "mediumroom", "largeroom"):
        (tmp_path / "simulated_rirs" / room).mkdir(parents=True)
    (tmp_path / "real_rirs_isotropic_noises").mkdir()
    (tmp_path / "real_rirs_isotropic_noises" / "rir_list").write_text("one.wav\n")
    with pytest.raises(
        UsageError,
        match=r"rir_list, line 1: expected '--rir-id X --room-id Y PATH', found 'one\.wav'",
    ):
        prepare_rirs(Preparation(out_dir=tmp_path / "out"), tmp_path)
    assert not (tmp_path / "out").exists()
