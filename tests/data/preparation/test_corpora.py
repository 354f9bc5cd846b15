from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.data.preparation.corpora import of_folder, of_kaldi, of_ppvector
from vprtrain.data.preparation.summary import Summary
from vprtrain.errors import UsageError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".") if name == "wav_scp" else folder / name).write_text(text)
    return folder


def test_a_folder_of_speakers(tmp_path: Path) -> None:
    for name in ("ann/1.wav", "ann/deep/2.mp3", "bob smith/1.flac", "ann/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [
        (str(Path(path).relative_to(tmp_path)), speaker)
        for path, speaker in of_folder(tmp_path, tmp_path, Summary())
    ]
    assert found == [
        ("ann/1.wav", "ann"),
        ("ann/deep/2.mp3", "ann"),
        ("bob smith/1.flac", "bob smith"),
    ]
    with pytest.raises(UsageError, match=r"no recordings found; expected .*<speaker>"):
        of_folder(tmp_path / "ann" / "deep", tmp_path, Summary())
    with pytest.raises(UsageError, match="no such folder"):
        of_folder(tmp_path / "nowhere", tmp_path, Summary())


def test_a_kaldi_directory(tmp_path: Path) -> None:
    write(
        tmp_path,
        wav_scp="u1 wav/one file.wav\nu2 /abs/2.flac\n\n",
        utt2spk="u2 bob\nu1 ann\nu3 eve\n",
    )
    summary = Summary()
    found = of_kaldi(tmp_path, Path("/corpus"), summary)
    assert found == [("/corpus/wav/one file.wav", "ann"), ("/abs/2.flac", "bob")]
    assert "1 utterances of utt2spk are not in wav.scp: u3" in str(summary)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"utt2spk": "u a\n"}, r"wav\.scp not found; expected a Kaldi directory"),
        (
            {"wav_scp": "u a.wav\n", "utt2spk": "u a\n", "segments": "u r 0 1\n"},
            "segments: parts of recordings",
        ),
        (
            {"wav_scp": "u sox a.wav - |\n", "utt2spk": "u a\n"},
            r"wav\.scp, line 1: the output of a command \('sox a\.wav - \|'\)",
        ),
        (
            {"wav_scp": "u foo.ark:12\n", "utt2spk": "u a\n"},
            r"wav\.scp, line 1: in an archive \('foo\.ark:12'\); .* to files first",
        ),
        ({"wav_scp": "u a.wav\n", "utt2spk": "v a\n"}, r"utt2spk: no speaker for 'u' of wav\.scp"),
        (
            {"wav_scp": "u\n", "utt2spk": "u a\n"},
            r"wav\.scp, line 1: expected 'utterance path', found 'u'",
        ),
    ],
)
def test_a_kaldi_directory_that_cannot_be_used(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        of_kaldi(write(tmp_path, **files), tmp_path, Summary())


@pytest.mark.parametrize(
    ("scp", "utt2spk", "said"),
    [
        (b"u a.wav\nv b.wav\nu c.wav\n", b"u a\nv a\n", r"wav\.scp, lines 1 and 3: 'u' occurs"),
        (b"u a.wav\n", b"u a\nu b\n", r"utt2spk, lines 1 and 2: 'u' occurs twice"),
        (
            b"u a.wav\nv a.wav\n",
            b"u ann\nv bob\n",
            r"wav\.scp, line 2: 'a\.wav' has the speaker 'ann' in an earlier line, and 'bob' here",
        ),
        (
            b"u a.wav\nv b.wav\n",
            b"u a  b\nv a b\n",
            r"utt2spk, lines 1 and 2: 'a  b' and 'a b' would be two speakers",
        ),
        ("u 张三.wav\n".encode("gbk"), b"u a\n", r"wav\.scp, line 1: not UTF-8 text"),
        (b"u a.wav\n", "u 张三\n".encode("gbk"), r"utt2spk, line 1: not UTF-8 text"),
        (b"u C:\\data\\a.wav\n", b"u a\n", r"wav\.scp, line 1: .* is a path of Windows"),
        (b"u C:/data/a.wav\n", b"u a\n", r"wav\.scp, line 1: .* is a path of Windows"),
        (b"u wav\\a.wav\n", b"u a\n", r"wav\.scp, line 1: .* is a path of Windows"),
        (b"u https://host/a.wav\n", b"u a\n", r"wav\.scp, line 1: .* or an address"),
        (b"utt,path\nu,a.wav\n", b"u a\n", r"wav\.scp, line 1: expected 'utterance path'"),
        (b"utt path\nu a.wav\n", b"u a\n", r"wav\.scp, line 1: .* are names of columns"),
        (b"u a.wav\n", b"u ann\t1.5\n", r"utt2spk, line 1: expected 'utterance speaker'"),
        (b"u a.wav\n", b"", r"utt2spk: empty; expected lines of 'utterance speaker'"),
        (b"\n", b"u a\n", r"wav\.scp: empty; expected lines of 'utterance path'"),
        (b"u a\0.wav\n", b"u a\n", r"wav\.scp, line 1: a NUL byte"),
    ],
)
def test_kaldis_lists_contradict_or_are_something_else(
    tmp_path: Path, scp: bytes, utt2spk: bytes, said: str
) -> None:
    (tmp_path / "wav.scp").write_bytes(scp)
    (tmp_path / "utt2spk").write_bytes(utt2spk)
    with pytest.raises(UsageError, match=said):
        of_kaldi(tmp_path, tmp_path, Summary())


def test_lists_of_other_programs_are_read_rightly(tmp_path: Path) -> None:
    """A byte order mark, line ends of Windows, blanks at the end, a backslash in a name that
    exists."""
    (tmp_path / "a\\b.wav").touch()
    (tmp_path / "wav.scp").write_bytes(b"\xef\xbb\xbfu a\\b.wav\r\nv b.wav \r\n")
    (tmp_path / "utt2spk").write_bytes(b"\xef\xbb\xbfu spk\r\nv spk \r\n")
    assert of_kaldi(tmp_path, tmp_path, Summary()) == [
        (str(tmp_path / "a\\b.wav"), "spk"),
        (str(tmp_path / "b.wav"), "spk"),
    ]


def test_two_folders_that_look_the_same_are_refused(tmp_path: Path) -> None:
    for name in ("spk", "spk "):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"the folders 'spk ?' and 'spk ?' would be two"):
        of_folder(tmp_path, tmp_path, Summary())


def test_a_list_of_ppvector(tmp_path: Path) -> None:
    (tmp_path / "train_list.txt").write_text("dataset/a.flac\t10\n/abs/b.flac\t2\n")
    assert of_ppvector(tmp_path / "train_list.txt", Path("/corpus"), Summary()) == [
        ("/corpus/dataset/a.flac", "10"),
        ("/abs/b.flac", "2"),
    ]
