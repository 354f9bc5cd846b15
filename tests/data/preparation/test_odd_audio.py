"""The preparation of recordings that are unusual but good, and of broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_recordings import bad_audio_files

from vprtrain.data.manifest import read_manifest
from vprtrain.data.preparation import Preparation
from vprtrain.data.preparation.corpora import of_folder

SECONDS = {
    "bear-id3.mp3": 134_784 / 48_000,
    "pydub_latin1_metadata.mp4": 108_544 / 48_000,
    "short.amr-nb": None,  # a check decodes 2.8 s; its header counts packets that nobody decodes
    "short_pipe_vbr.mp3": 3.28,
    "speech_8ch.m4a": None,
    "tests__assets__gs-16b-1c-44100hz.aac": 15.86,
    "truehd71.mp4": None,
}
"""Right durations, where they are known and do not depend on a check."""

SILENT = {"dc_only.wav", "long_30min_silence.flac", "one_sample.wav", "silence_2s.wav"}
NOT_FINITE = {"all_nan.wav", "inf_float.wav", "nan_float.wav"}
TORN = {"truncated.flac", "truncated.wav"}


@pytest.mark.parametrize("check", [False, True])
def test_odd_recordings_are_found_and_measured_rightly(
    tmp_path: Path, test_data: Path, check: bool
) -> None:
    source = tmp_path / "speakers"
    source.mkdir()
    (source / "ann").symlink_to(test_data / "odd_audio")
    preparation = Preparation(out_dir=tmp_path / "out", min_seconds=0, workers=2, check=check)
    rows = preparation.measure(of_folder(source, source, preparation.summary))
    preparation.write_training(rows)
    said = str(preparation.finish())
    measured = {Path(row.path).name: row.seconds for row in rows}
    assert set(measured) == set(SECONDS)
    for name, seconds in SECONDS.items():
        assert seconds is None or measured[name] == pytest.approx(seconds, abs=0.01), name
    manifest = read_manifest(tmp_path / "out" / "train.tsv")
    assert manifest.durations.tolist() == pytest.approx(list(measured.values()), abs=1e-3)
    if check:
        assert measured["short.amr-nb"] == 22_400 / 8_000
    assert "36bit.wav" in (tmp_path / "out" / "bad_audio.tsv").read_text()
    assert "README.md" in said


def test_a_check_decodes_what_a_header_promises(tmp_path: Path, test_data: Path) -> None:
    """A check refuses silence, samples that are not finite and torn files, and nothing else."""
    recordings = [(str(path), "ann") for path in bad_audio_files(test_data)]
    durations = []
    for check in (False, True):
        preparation = Preparation(out_dir=tmp_path / f"{check}", workers=2, check=check)
        durations.append({row.path: row.seconds for row in preparation.measure(recordings)})
        preparation.finish()
    plain, checked = durations
    refused = {Path(path).name for path in plain.keys() - checked.keys()}
    assert refused == SILENT | NOT_FINITE | TORN
    assert not checked.keys() - plain.keys()
    for path, seconds in checked.items():
        assert plain[path] == pytest.approx(seconds, abs=0.01), path
