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


def test_a_list_of_ppvector(tmp_path: Path) -> None:
    (tmp_path / "train_list.txt").write_text("dataset/a.flac\t10\n/abs/b.flac\t2\n")
    assert of_ppvector(tmp_path / "train_list.txt", Path("/corpus"), Summary()) == [
        ("/corpus/dataset/a.flac", "10"),
        ("/abs/b.flac", "2"),
    ]
