from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
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


def test_recordings_are_found_by_content_and_the_rest_is_counted(
    tmp_path: Path, test_data: Path
) -> None:
    """No suffix, one that means something else, or one that only tells two names apart."""
    speech, odd = test_data / "bad_audio", test_data / "odd_audio"
    for source, name in (
        (speech / "ok_reference.wav", "a"),
        (speech / "ok_reference.wav", "take.1"),
        (speech / "ok_reference.wav", "take.2"),
        (speech / "ok_reference.wav", "a.wav"),
        (speech / "aac.m4a", "b.data"),
        (speech / "adts.aac", "c.bin"),
        (speech / "voice.wma", "d.001"),
        (speech / "id3_art.mp3", "e.old"),
        (odd / "short.amr-nb", "f.amr-nb"),
    ):
        shutil.copy(source, tmp_path / name)
    others = {
        "notes": b"spoken on Monday\n",
        "notes.gbk": "星期一".encode("gbk"),
        "notes.u16": "Monday".encode("utf-16"),
        "playlist.m3u8": b"#EXTM3U\n/etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile a.wav\n",
        "photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
        "photo.heic": b"\0\0\0\x18ftypheic",
        "photo.webp": b"RIFF\x1a\0\0\0WEBPVP8L",
        "corpus.zip": b"PK\x03\x04",
        "weights": np.random.default_rng(0).bytes(5000),
        "nothing": b"",
        ".hidden.wav": b"RIFF",
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / ".git").mkdir()
    summary = Summary()
    found = [os.path.basename(path) for path in audio_files(tmp_path, summary)]
    first = ["a.wav", "a", "b.data", "c.bin", "d.001", "e.old", "f.amr-nb"]
    assert found == [*first, "take.1", "take.2"]
    said = str(summary)
    for kind, count in (
        ("text", 4),
        ("an image", 3),
        ("not audio", 3),
        ("empty", 1),
        ("hidden", 1),
    ):
        assert f"{count} files are skipped ({kind}): " in said, said
    for named in ("unreadable: not a file): ", "unreadable: No such file", "a hidden folder): "):
        assert named in said


def test_many_skipped_files_are_named_briefly(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.txt").write_text("spoken")
    summary = Summary()
    assert audio_files(tmp_path, summary) == []
    names = ", ".join(str(tmp_path / f"{number:02}.txt") for number in range(12))
    assert len(str(summary)) < len(names)
    assert "12 files are skipped (text): " in str(summary) and " and 7 more" in str(summary)


def test_a_copy_in_another_format_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "ann/1.wav", "ann/1.flac", "ann/1.mp3", "beside.wav")
    summary = Summary()
    assert subfolders(tmp_path, summary) == ["ann"]
    assert audio_files(tmp_path / "ann", summary) == [str(tmp_path / "ann" / "1.flac")]
    said = str(summary)
    assert "2 files are skipped (a recording with the same name and another suffix is used)" in said
    assert f"1 files are skipped (not in a subfolder): {tmp_path / 'beside.wav'}" in said


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
