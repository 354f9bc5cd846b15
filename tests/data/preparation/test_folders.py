from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.data.preparation.folders import (
    audio_files,
    find_root,
    speaker_files,
    subfolders,
    with_any_suffix,
)
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import UsageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_recordings_are_found_by_suffix_in_order_and_once(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/2.WAV",
        "b/1.m4a",
        "b/1.flac",
        "b/1.wav",
        "a.b/x.y.mp3",
        "notes.txt",
        "._1.wav",
        ".git/0.wav",
    )
    found = [str(Path(path).relative_to(tmp_path)) for path in audio_files(tmp_path, Summary())]
    assert found == ["a.b/x.y.mp3", "b/1.flac", "b/2.WAV"]


def test_links_to_other_disks_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "disk/one.wav")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "speaker").symlink_to(tmp_path / "disk")
    assert audio_files(tmp_path / "set", Summary()) == [
        str(tmp_path / "set" / "speaker" / "one.wav")
    ]
    assert speaker_files(tmp_path / "set", ["speaker", "nobody"], Summary()) == (
        [(str(tmp_path / "set" / "speaker" / "one.wav"), "speaker")],
        ["nobody"],
    )


def test_links_that_lead_back_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links to the folder itself, to a parent, also above the start of the search, and back through
    another link."""
    touch(tmp_path, "set/ann/1.wav", "set/bob/2.wav", "disk/3.wav")
    for link, target in (
        ("set/loop", "."),
        ("set/ann/loop", "."),
        ("set/bob/up", "../.."),
        ("set/bob/disk", "../../disk"),
        ("disk/back", "../set/bob"),
    ):
        (tmp_path / link).symlink_to(target)
    monkeypatch.chdir(tmp_path / "set")
    for folder in (tmp_path / "set", Path("../set")):
        assert audio_files(folder, Summary()) == [
            str(folder / name) for name in ("ann/1.wav", "bob/2.wav", "bob/disk/3.wav")
        ]
        assert subfolders(folder) == ["ann", "bob"]


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"nowhere: cannot be listed \(No such file or directory\)"
    ):
        audio_files(tmp_path / "nowhere", Summary())


def test_a_root_is_the_folder_or_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "musan/noise/1.wav")
    assert find_root(tmp_path, "musan", ["noise"]) == find_root(
        tmp_path / "musan", "musan", ["noise"]
    )
    with pytest.raises(
        UsageError, match=r"not an unpacked musan: music not found in it or in .*/musan; give the"
    ):
        find_root(tmp_path, "musan", ["music"])


def test_a_listed_suffix_may_be_another_on_disk(tmp_path: Path) -> None:
    touch(tmp_path, "1.flac", "2.wav", "v1.5-x.flac")
    assert with_any_suffix(tmp_path / "1.wav") == tmp_path / "1.flac"
    assert with_any_suffix(tmp_path / "2.wav") == tmp_path / "2.wav"
    assert with_any_suffix(tmp_path / "v1.5-x.wav") == tmp_path / "v1.5-x.flac"
    assert with_any_suffix(tmp_path / "3.wav") is None
