from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vprtrain.data.manifest import read_manifest, read_recordings, write_manifest
from vprtrain.errors import UsageError
from vprtrain.files import replacing
from vprtrain.lists import first_alike

names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029\ufeff\\:"),
    min_size=1,
)
rows = st.tuples(names, names, st.none() | st.floats(0.01, 1e4))


@given(written=st.lists(rows, min_size=1, max_size=20, unique_by=itemgetter(0)))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, written: list) -> None:
    speakers = {speaker for _, speaker, _ in written}
    assume(not first_alike(speakers) and not any(map(str.isspace, speakers)))
    path = tmp_path_factory.mktemp("manifest") / "train.tsv"
    write_manifest(path, written)
    manifest = read_manifest(path)
    assert len(manifest) == len(written)
    assert sorted(manifest.speakers) == sorted({speaker for _, speaker, _ in written})
    for index, (name, speaker, duration) in enumerate(written):
        utterance = manifest[index]
        assert utterance.path == os.path.join(path.parent, name)
        assert utterance.speaker == speaker == manifest.speakers[manifest.labels[index]]
        assert (utterance.duration is None) == (duration is None)
        assert duration is None or math.isclose(
            utterance.duration, duration, rel_tol=1e-6, abs_tol=6e-4
        )


def test_classes_are_the_sorted_speakers(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("a.wav\tzoe\nb.wav\tada\nc.wav\tzoe\n")
    manifest = read_manifest(tmp_path / "m.tsv")
    assert manifest.speakers == ("ada", "zoe")
    assert manifest.labels.tolist() == [1, 0, 1]
    assert manifest.labels.dtype == np.int32


def test_ppvector_labels_stay_the_class_indices(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(
        "".join(f"a{label}.wav\t{label}\n" for label in (10, 2, 0, 1, *range(3, 10)))
    )
    manifest = read_manifest(tmp_path / "m.txt")
    assert [int(manifest.speakers[label]) for label in manifest.labels] == manifest.labels.tolist()


def test_paths_are_meant_from_the_manifests_folder(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("sub/声纹.wav\ta\t1.5\n/abs/b.wav\tb\n", encoding="utf-8")
    manifest = read_manifest(tmp_path / "m.tsv")
    assert manifest[0].path == str(tmp_path / "sub" / "声纹.wav")
    assert manifest[0].duration == 1.5
    assert manifest[1].path == "/abs/b.wav"
    assert manifest[1].duration is None


def test_sha256_is_of_the_text(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfa.wav\ta\r\n\r\nb.wav\tb\r\n"
    (tmp_path / "m.tsv").write_bytes(text)
    manifest = read_manifest(tmp_path / "m.tsv")
    assert manifest.sha256 == hashlib.sha256(text).hexdigest()
    assert [manifest[index].path for index in (0, 1)] == [
        str(tmp_path / "a.wav"),
        str(tmp_path / "b.wav"),
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"only-a-path", "only-a-path"),
        (b"a.wav speaker", "a.wav speaker"),
        (b"a.wav\t", "a.wav"),
        (b"\tspeaker", "speaker"),
        (b"a.wav\ts\tlong", "long"),
        (b"a.wav\ts\t-1", "-1"),
        (b"a.wav\ts\tinf", "inf"),
        (b"a.wav\ts\t1\tmore", "more"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: bytes, found: str) -> None:
    (tmp_path / "m.tsv").write_bytes(b"good.wav\tspeaker\t1.0\n\n" + line + b"\n")
    with pytest.raises(UsageError, match=rf"m\.tsv, line 3: expected path<TAB>speaker.*{found}"):
        read_manifest(tmp_path / "m.tsv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("张.wav\tann\n".encode("gbk"), "line 1: not UTF-8 text; .*iconv -f GBK"),
        (b"a.wav\tann\n\nb.wav\t\xff\n", "line 3: not UTF-8 text"),
        (b"a.wav\tann\nb.wav\tb\0b\n", "line 2: a NUL byte"),
        (b"path,speaker\na.wav,ann\n", r"line 1: .* separated by tabs, not by commas"),
        (b"path\tspeaker\na.wav\tann\n", "line 1: .*'speaker'.* names of columns; remove"),
        (b"a.wav\tspk\n\nb.wav\tspk \n", "lines 1 and 3: 'spk' and 'spk ' would be two"),
        ("a.wav\té\nb.wav\te\u0301\n".encode(), "lines 1 and 2: .* would be two speakers"),
        (b"a.wav\tann\nb.wav\t \n", "line 2: the speaker's name is blank"),
        (b"a.wav\tann\nb.wav\tann\na.wav\tbob\n", "lines 1 and 3: 'a.wav' has the speakers"),
        (b"a.wav\tann\nC:\\b.wav\tbob\n", "line 2: .* is a path of Windows"),
        (b"a.wav\tann\nD:/b.wav\tbob\n", "line 2: .* is a path of Windows"),
    ],
)
def test_what_would_be_misunderstood_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.tsv").write_bytes(content)
    with pytest.raises(UsageError, match=rf"m\.tsv, {said}"):
        read_manifest(tmp_path / "m.tsv")


def test_what_only_looks_odd_is_read(tmp_path: Path) -> None:
    """The same recording twice, a name with a backslash that exists, and labels that are too long
    for a number."""
    (tmp_path / "a\\b.wav").touch()
    long = "9" * 5000
    (tmp_path / "m.tsv").write_text(f"a\\b.wav\t{long}\nc.wav\t1\na\\b.wav\t{long}\n")
    assert read_manifest(tmp_path / "m.tsv").speakers == ("1", long)


ordinary = st.sampled_from(
    [b"a.wav\tada\t1.5\n", "声/b.wav\tzoe\t2\n".encode(), b"c.wav\tada\tnan\n"]
)
odd = st.sampled_from([b"\n", b"d.wav\tmax\n", b"e.wav\tmax\t3\r\n", b"\xef\xbb\xbff.wav\tada\n"])
malformed = st.sampled_from(
    [b"g.wav\n", b"\tada\t1\n", b"h.wav\tada\t0\n", b"i.wav\tada\t\n", b"\xff\tada\t1\n"]
)


@given(
    lines=st.lists(ordinary, max_size=6)
    | st.lists(ordinary | odd, max_size=12)
    | st.lists(ordinary | odd | malformed, max_size=12),
    complete=st.booleans(),
    block=st.integers(1, 60),
)
def test_lines_are_read_alike_wherever_they_stand(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], complete: bool, block: int
) -> None:
    """Many lines are split at once; the result does not depend on the borders of the blocks."""
    path = tmp_path_factory.mktemp("manifest") / "m.tsv"
    content = b"".join([*lines, b"last.wav\tada"]) + (b"\n" if complete else b"")
    path.write_bytes(content)
    expected, wrong = [], None
    for number, line in enumerate(content.split(b"\n"), 1):
        path.with_name("one.tsv").write_bytes(line)
        try:
            expected += [read_manifest(path.with_name("one.tsv"))[0]] if line.strip() else []
        except UsageError:
            wrong = wrong or number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vprtrain.lists.text._BLOCK", block)
        if wrong is not None:
            with pytest.raises(UsageError, match=rf"m\.tsv, line {wrong}: "):
                read_manifest(path)
            return
        manifest = read_manifest(path)
    assert [manifest[index] for index in range(len(manifest))] == expected
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_a_million_lines_load_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    with open(path, "w", encoding="utf-8") as file:
        for number in range(1_100_000):
            speaker, digest = f"id{number // 150:05d}", f"{number * 2654435761 % 2**44:011x}"
            name, seconds = f"{digest}/{number % 150:05d}.m4a", 3 + number % 1700 / 100
            file.write(f"vox2/aac/{speaker}/{name}\t{speaker}\t{seconds}\n")
    code = (
        "import sys, time; from vprtrain.data.manifest import read_manifest\n"
        "begun = time.process_time()\n"
        "manifest = read_manifest(sys.argv[1]); seconds = time.process_time() - begun\n"
        "from peak_memory import peak_memory; print(len(manifest), seconds, peak_memory() >> 20)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    measured = [sys.executable, "-c", code, path]
    done = subprocess.run(measured, env=environment, capture_output=True, text=True, check=True)
    count, seconds, megabytes = map(float, done.stdout.split())
    assert count == 1_100_000
    assert seconds < 3 * 1.5  # 1.7 when written; CPU seconds grow on a busy machine
    assert megabytes < 300


def test_missing_and_empty_manifests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.tsv: no such file; expected a manifest"):
        read_manifest(tmp_path / "m.tsv")
    (tmp_path / "m.tsv").write_text("\n\n")
    with pytest.raises(UsageError, match=r"m\.tsv: the manifest is empty"):
        read_manifest(tmp_path / "m.tsv")


def test_too_few_speakers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("a.wav\ts\nb.wav\ts\n")
    manifest = read_manifest(tmp_path / "m.tsv")
    manifest.require_speakers(1)
    with pytest.raises(
        UsageError, match=r"found 1 speaker\(s\) in 2 utterances, expected at least 2"
    ):
        manifest.require_speakers(2)


def test_recordings_have_one_line_an_id(tmp_path: Path) -> None:
    (tmp_path / "e.tsv").write_text("u1\ta.wav\t2.5\nu2\t/b.wav\n")
    recordings = read_recordings(tmp_path / "e.tsv")
    assert recordings["u1"].path == str(tmp_path / "a.wav")
    assert recordings["u1"].duration == 2.5
    assert recordings["u2"].duration is None
    (tmp_path / "e.tsv").write_text("u1\ta.wav\nu1\tb.wav\n")
    with pytest.raises(UsageError, match=r"e\.tsv, lines 1 and 2: the id 'u1' occurs twice"):
        read_recordings(tmp_path / "e.tsv")


def test_a_failed_write_leaves_the_old_manifest_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    write_manifest(path, [("a.wav", "s", None)])
    with pytest.raises(UsageError, match="tab or line break"):
        write_manifest(path, [("b.wav", "s", None), ("c\td.wav", "s", None)])
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "a.wav\ts\n"
    assert list(tmp_path.iterdir()) == [path]
