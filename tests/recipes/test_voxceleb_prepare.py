"""VoxCeleb's preparation, on small archives in its layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
from voxceleb_layout import DEV, TEST, VOX2, make_voxceleb, write_list

from vprtrain.data.manifest import read_manifest, read_recordings
from vprtrain.data.preparation import Preparation, Summary
from vprtrain.errors import UsageError
from vprtrain.recipes.voxceleb.prepare import prepare as prepare_voxceleb
from vprtrain.scoring.trials import read_trials
from vprtrain.speaker.trials import TrialData


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voxceleb(tmp_path_factory.mktemp("voxceleb"))


@pytest.fixture
def vox(archives: Path, tmp_path: Path) -> Path:
    """A copy of the archives, for the test to change."""
    return Path(shutil.copytree(archives, tmp_path / "given"))


def prepare(out: Path, vox1: Path | None, vox2: Path | None, **options: Any) -> Summary:
    preparation = Preparation(out_dir=out, workers=2)
    prepare_voxceleb(preparation, vox1, vox2, **options)
    return preparation.finish()


def test_voxceleb2_is_trained_on_and_voxceleb1_evaluated(vox: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = prepare(out, vox / "vox1", vox / "vox2")
    manifest = read_manifest(out / "train.tsv")
    assert manifest.speakers == VOX2 and len(manifest) == 12
    assert all(path.endswith(".m4a") for path in manifest.written_paths)
    assert manifest.durations.min() > 0.7
    for target, speakers in (("vox1_o.txt", 2), ("vox1_e.txt", 5), ("vox1_h.txt", 2)):
        utterances = 4 * speakers
        assert len(read_trials(out / target)) == utterances * (utterances - 1) // 2
        TrialData(trials=out / target, eval_manifest=out / "eval.tsv")  # finds every recording
    recordings = read_recordings(out / "eval.tsv")
    assert len(recordings) == 20 and recordings["id10270/video0/00001.wav"].path.endswith(
        "test/wav/id10270/video0/00001.wav"
    )
    assert "3 speakers in VoxCeleb2 dev  (complete: 5,994)" in str(summary)
    assert "12 utterances in VoxCeleb2 dev  (complete: 1,092,009)" in str(summary)
    assert "28 trials of Vox1-O  (complete: 37,611)" in str(summary)
    assert "8 utterances in VoxCeleb1 test  (complete: 4,874)" in str(summary)
    assert summary.remarks == []


@pytest.mark.parametrize("merged", [False, True])
def test_training_on_voxceleb1_spares_the_tested_and_warns(
    vox: Path, tmp_path: Path, merged: bool
) -> None:
    """Both archives of VoxCeleb1 unpack into ``wav``, perhaps into the same one."""
    if merged:
        shutil.copytree(vox / "vox1/dev/wav", vox / "vox1/wav")
        shutil.copytree(vox / "vox1/test/wav", vox / "vox1/wav", dirs_exist_ok=True)
        shutil.rmtree(vox / "vox1/dev")
        shutil.rmtree(vox / "vox1/test")
    for train, speakers in (("vox1", DEV), ("vox1+2", VOX2 + DEV)):
        summary = prepare(tmp_path / "out", vox / "vox1", vox / "vox2", train=train)
        assert read_manifest(tmp_path / "out" / "train.tsv").speakers == tuple(sorted(speakers))
        assert not set(TEST) & set(read_manifest(tmp_path / "out" / "train.tsv").speakers)
        assert "results on Vox1-E and Vox1-H are invalid" in str(summary)
        assert summary.counts["speakers in VoxCeleb1 dev"] == 3
        assert len(read_recordings(tmp_path / "out" / "eval.tsv")) == 20


def test_voxceleb2_is_converted_once(vox: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (vox / "vox2/dev/aac/id00014/video1/00002.m4a").write_bytes(b"torn")
    summary = prepare(out, None, vox / "vox2", convert=True)
    manifest = read_manifest(out / "train.tsv")
    assert (
        manifest.written_paths[0] == "vox2_flac/id00012/video0/00001.flac" and len(manifest) == 11
    )
    info = soundfile.info(manifest[0].path)
    assert (info.format, info.samplerate, info.channels) == ("FLAC", 16000, 1)
    assert summary.counts["bad recordings, named in bad_audio.tsv"] == 1
    assert "id00014/video1/00002.m4a" in (out / "bad_audio.tsv").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.flac")}
    prepare(out, None, vox / "vox2", convert=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.flac")} == before
    assert not (out / "eval.tsv").exists() and "there is nothing to validate on" in str(summary)


def test_lists_that_are_missing_or_of_no_use_are_said(vox: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    shutil.move(vox / "vox1/list_test_hard2.txt", lists)
    shutil.move(vox / "vox1/veri_test2.txt", lists)
    summary = prepare(tmp_path / "out", vox / "vox1", vox / "vox2", lists=lists)
    assert f"no Vox1-E: looked for {lists / 'list_test_all2.txt'}" in str(summary)
    assert not (tmp_path / "out" / "vox1_e.txt").exists()
    shutil.rmtree(vox / "vox1/dev")
    summary = prepare(tmp_path / "test_only", vox / "vox1", vox / "vox2", lists=lists)
    assert "Vox1-H left out: it covers VoxCeleb1 dev, which was not found" in str(summary)
    assert len(read_recordings(tmp_path / "test_only" / "eval.tsv")) == 8
    (vox / "vox1" / "list_test_all2.txt").unlink()
    with pytest.raises(
        UsageError,
        match=r"no trial lists: looked for veri_test2\.txt, list_test_all2\.txt, list_test_",
    ):
        prepare(tmp_path / "out", vox / "vox1", vox / "vox2")
    with pytest.raises(UsageError, match="no VoxCeleb1 to train on"):
        prepare(tmp_path / "out", vox / "vox1", None, lists=lists, train="vox1")
    for path in lists.iterdir():
        path.unlink()
    write_list(lists / "list_test_all2.txt", TEST)
    shutil.copytree(vox / "vox1/test/wav", vox / "vox1/dev/wav")
    with pytest.raises(
        UsageError, match=r"no veri_test2\.txt, whose speakers must not be trained on"
    ):
        prepare(tmp_path / "out", vox / "vox1", None, lists=lists, train="vox1")


def test_the_test_archive_alone_as_it_unpacks(vox: Path, tmp_path: Path) -> None:
    """Its folder ``wav`` is not the dev part, which Vox1-E and Vox1-H need."""
    shutil.rmtree(vox / "vox1/dev")
    shutil.move(vox / "vox1/test/wav", vox / "vox1/wav")
    summary = prepare(tmp_path / "out", vox / "vox1", vox / "vox2")
    for name in ("Vox1-E", "Vox1-H"):
        assert f"{name} left out: it covers VoxCeleb1 dev, which was not found" in str(summary)
    assert len(read_recordings(tmp_path / "out" / "eval.tsv")) == 8
    assert not (tmp_path / "out" / "vox1_e.txt").exists()
    with pytest.raises(UsageError, match="no VoxCeleb1 to train on"):
        prepare(tmp_path / "none", vox / "vox1", None, train="vox1")


def test_speakers_of_the_trials_are_not_trained_on_as_voxceleb2(vox: Path, tmp_path: Path) -> None:
    """All archives were unpacked into one folder, or the wrong folder is given."""
    shutil.copytree(vox / "vox1/test/wav/id10270", vox / "vox2/dev/aac/id10270")
    with pytest.raises(
        UsageError, match=r"dev/aac: not VoxCeleb2 alone: 1 speakers .*: id10270; give a folder"
    ):
        prepare(tmp_path / "out", vox / "vox1", vox / "vox2")
    assert not (tmp_path / "out" / "train.tsv").exists()


def test_what_was_looked_for_is_named(vox: Path, tmp_path: Path) -> None:
    (vox / "vox1/dev/wav/id10003/video0/00001.wav").unlink()
    with pytest.raises(
        UsageError,
        match=r"1 recordings of the trials are missing .*id10003/video0/00001\.wav; unpack",
    ):
        prepare(tmp_path / "out", vox / "vox1", vox / "vox2")
    with pytest.raises(
        UsageError, match=r"given: no VoxCeleb1 test: looked for folders test/wav/id\*"
    ):
        prepare(tmp_path / "out", vox, vox / "vox2")
    with pytest.raises(
        UsageError, match=r"given: no VoxCeleb2 dev: looked for folders dev/aac/id\*, aac/id\*"
    ):
        prepare(tmp_path / "out", None, vox)
    with pytest.raises(UsageError, match="no VoxCeleb2 to train on: give --vox2"):
        prepare(tmp_path / "out", None, None)
    assert not (tmp_path / "out" / "train.tsv").exists()
