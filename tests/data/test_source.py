from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from vprtrain.data.audio.files import ByteRange
from vprtrain.data.dataset import TrainingCrops
from vprtrain.data.manifest import read_manifest, write_manifest
from vprtrain.data.source import Source

FORMATS = [
    ("a.wav", 16000, "PCM_16"),
    ("b.wav", 44100, "PCM_16"),
    ("c.flac", 16000, "PCM_16"),
    ("d.wav", 8000, "FLOAT"),
]


class Packed(Source):
    """All utterances in one file, one after the other."""

    def locate(self, index: int) -> ByteRange:
        sizes = [(self.manifest.path.parent / name).stat().st_size for name, _, _ in FORMATS]
        return ByteRange(str(self.manifest.path.parent / "pack"), sum(sizes[:index]), sizes[index])


def test_samples_are_the_same_from_files_and_from_ranges_of_bytes(tmp_path: Path) -> None:
    for number, (name, rate, subtype) in enumerate(FORMATS):
        noise = np.random.default_rng(number).normal(0, 0.1, 3 * rate)
        soundfile.write(tmp_path / name, noise, rate, subtype=subtype)
    write_manifest(tmp_path / "m.tsv", [(name, name, None) for name, _, _ in FORMATS])
    (tmp_path / "pack").write_bytes(
        b"".join((tmp_path / name).read_bytes() for name, _, _ in FORMATS)
    )
    manifest = read_manifest(tmp_path / "m.tsv")
    files, packed = (
        TrainingCrops(source=kind(manifest=manifest), crop_seconds=(2.0, 2.0), seed=0)
        for kind in (Source, Packed)
    )
    for epoch in range(3):
        for draw in range(len(FORMATS)):
            one, other = (crops.sample(epoch, draw, 20000) for crops in (files, packed))
            np.testing.assert_array_equal(one.waveform, other.waveform)
            assert one.label == other.label


def test_seconds_are_the_manifests_or_the_headers(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(8000), 16000)
    write_manifest(tmp_path / "m.tsv", [("a.wav", "a", 0.25), ("b.wav", "b", None)])
    source = Source(manifest=read_manifest(tmp_path / "m.tsv"))
    assert (source.seconds(0), source.seconds(1)) == (0.25, 0.5)
