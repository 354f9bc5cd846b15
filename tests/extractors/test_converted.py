"""A checkpoint in ONNX Runtime: when it is converted, what is kept, and that embeddings agree."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_checkpoint import voice, write_checkpoint

from vprtrain.checkpoint.state_file import (
    STATE_FILE,
    SavedCheckpoint,
    open_checkpoint,
    state_bytes,
)
from vprtrain.errors import RunError, UsageError
from vprtrain.evaluation.extraction import weights_sha256
from vprtrain.extractors import converted, open_extractor
from vprtrain.extractors.export_check import TOLERANCE
from vprtrain.extractors.exporting import export
from vprtrain.extractors.extractor import ONNX_FILE
from vprtrain.features import Fbank
from vprtrain.inference.predictor import Predictor
from vprtrain.models import TDNN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("converted") / "epoch_1")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for converted models; every network is large enough for it."""
    monkeypatch.setenv(converted.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "LEAST_BYTES", 0)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """The export of the checkpoint."""
    export(open_checkpoint(folder), folder.with_name("made"), format="onnx", lengths=False)
    return folder.with_name("made")


@pytest.fixture
def exports(folder: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where each export is written to. That of the checkpoint is copied, which takes no time."""
    done: list[Path] = []

    def counted(saved: SavedCheckpoint, out: Path, **options) -> str:
        done.append(out)
        if saved.state.files != open_checkpoint(folder).state.files:
            return export(saved, out, **options)
        return str(shutil.copytree(made, out))

    monkeypatch.setattr(converted, "export", counted)
    return done


def test_it_gives_the_embeddings_of_the_checkpoint(folder: Path, cache: Path) -> None:
    ours, theirs = open_extractor(folder, runtime="paddle"), open_extractor(folder)
    assert (ours.runtime[:7], theirs.runtime[:12]) == ("paddle ", "onnxruntime ")
    for name in ("sample_rate", "min_samples", "embedding_dim", "digest", "state"):
        assert getattr(theirs, name) == getattr(ours, name)
    shortest = voice(3)[: ours.min_samples]
    waveforms = [voice(seed, seconds=seconds) for seed, seconds in enumerate((0.6, 2.7, 1.1))]
    for batch in ([shortest], waveforms, [shortest, *waveforms]):
        expected = ours.embed(batch)
        difference = np.abs(theirs.embed(batch) - expected).max(axis=1)
        assert (difference <= TOLERANCE * np.abs(expected).max(axis=1)).all()


def test_a_graph_that_runs_waveforms_one_by_one_has_no_padding(folder: Path, cache: Path) -> None:
    open_extractor(folder)
    (kept,) = cache.iterdir()
    names = [value.name for value in onnx.load(kept / ONNX_FILE).graph.input]
    assert names == ["waveforms"]


def test_it_is_converted_once(folder: Path, cache: Path, exports: list[Path]) -> None:
    embeddings = [open_extractor(folder).embed([voice(0)]) for _ in range(3)]
    assert len(exports) == 1 and len(list(cache.iterdir())) == 1
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    np.testing.assert_array_equal(embeddings[1], embeddings[2])


def test_other_weights_are_another_model(
    folder: Path, cache: Path, tmp_path: Path, exports: list[Path]
) -> None:
    other = write_checkpoint(tmp_path / "epoch_1", seed=1)
    first, second = open_extractor(folder), open_extractor(other)
    assert len(exports) == 2 and len(list(cache.iterdir())) == 2
    assert np.abs(first.embed([voice(0)]) - second.embed([voice(0)])).max() > 1e-2


def test_other_code_of_the_networks_is_another_model(
    folder: Path, cache: Path, exports: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_extractor(folder)
    monkeypatch.setattr(converted, "_SOURCES", ("features", "layers"))  # as if models had changed
    open_extractor(folder)
    assert len(exports) == 2


def test_a_threshold_that_was_found_since_is_seen(cache: Path, tmp_path: Path) -> None:
    """Calibration writes the same weights with another threshold."""
    first, second = (
        write_checkpoint(tmp_path / str(threshold), threshold=threshold) for threshold in (0.3, 0.7)
    )
    assert open_extractor(first).state.threshold == 0.3
    assert open_extractor(second).state.threshold == 0.7
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_a_damaged_copy_is_made_anew(
    folder: Path, cache: Path, exports: list[Path], damage: str
) -> None:
    expected = open_extractor(folder).embed([voice(0)])
    (kept,) = cache.iterdir()
    file = kept / "inference.onnx"
    data = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    np.testing.assert_array_equal(open_extractor(folder).embed([voice(0)]), expected)
    assert len(exports) == 2
    open_extractor(folder)
    assert len(exports) == 2


def test_where_nothing_can_be_kept_it_works_too(
    folder: Path, cache: Path, tmp_path: Path, exports: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(converted.CACHE, str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert open_extractor(folder).runtime.startswith("onnxruntime ")
    assert len(exports) == 2 and not any(made.exists() for made in exports)


def test_only_the_newest_are_kept(folder: Path, cache: Path, exports: list[Path]) -> None:
    cache.mkdir()
    old = [cache / f"{number:032x}" for number in range(10)]
    for number, path in enumerate(old):
        path.mkdir()
        os.utime(path, (number, number))
    open_extractor(folder)
    assert len(list(cache.iterdir())) <= 8
    assert old[9].exists() and not old[0].exists()


def test_what_others_keep_in_the_folder_is_not_removed(
    folder: Path, cache: Path, exports: list[Path]
) -> None:
    """As where VPRTRAIN_CACHE names a folder that holds more than converted models."""
    others = [cache / f"mine-{number}" for number in range(12)]
    for path in others:
        path.mkdir(parents=True)
        os.utime(path, (0, 0))
    (cache / "letter.txt").write_text("dear")
    open_extractor(folder)
    assert all(path.exists() for path in others)
    assert (cache / "letter.txt").read_text() == "dear" and len(exports) == 1


def test_a_cache_that_everyone_can_write_is_not_used(
    folder: Path, cache: Path, exports: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    for _ in range(2):
        assert open_extractor(folder).runtime.startswith("onnxruntime ")
    assert len(exports) == 2 and not list(cache.iterdir())
    assert f"{cache} is not used: other users can write to it" in caplog.text
    cache.chmod(0o1777)  # as /tmp
    for _ in range(2):
        open_extractor(folder)
    assert len(exports) == 3


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_a_model_that_another_user_could_have_planted_is_not_used(
    folder: Path, cache: Path, exports: list[Path], tmp_path: Path, what: str
) -> None:
    """It is another model's export, which claims to be of these weights."""
    expected = open_extractor(folder).embed([voice(0)])
    (kept,) = cache.iterdir()
    shutil.rmtree(kept)
    export(open_checkpoint(write_checkpoint(tmp_path / "other", seed=1)), kept, format="onnx")
    state = open_checkpoint(kept).state
    claim = {**state.extra["export"], "weights_sha256": weights_sha256(open_checkpoint(folder))}
    planted = replace(state, extra={**state.extra, "export": claim})
    (kept / STATE_FILE).write_bytes(state_bytes(planted, state.files))
    assert np.abs(open_extractor(folder).embed([voice(0)]) - expected).max() > 1e-2  # it works
    if what == "link":
        kept.rename(tmp_path / "planted")
        kept.symlink_to(tmp_path / "planted")
    else:
        (kept if what == "folder" else kept / STATE_FILE).chmod(0o777)
    np.testing.assert_array_equal(open_extractor(folder).embed([voice(0)]), expected)


def test_what_cannot_be_converted_stays_in_paddle(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RunError("it gives other embeddings")

    monkeypatch.setattr(converted, "export", fail)
    with caplog.at_level(logging.DEBUG, "vprtrain"):
        assert open_extractor(folder).runtime.startswith("paddle ")
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder} is used with Paddle: it gives other embeddings"
    ]
    with pytest.raises(RunError, match="other embeddings"):
        open_extractor(folder, runtime="onnx")


def test_without_the_packages_it_stays_in_paddle(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert open_extractor(folder).runtime.startswith("paddle ")
    with pytest.raises(UsageError, match=r"pip install 'vprtrain\[onnx\]'"):
        open_extractor(folder, runtime="onnx")


class OwnTDNN(TDNN):
    """A class of a user, which may change under its name."""


def test_a_class_of_the_user_is_converted_only_if_asked_for(
    cache: Path, tmp_path: Path, exports: list[Path]
) -> None:
    own = OwnTDNN(input_size=24, channels=8, pooled_channels=16, embedding_dim=16)
    folder = write_checkpoint(tmp_path / "own", model=own, feature=Fbank(n_mels=24))
    assert open_extractor(folder).runtime.startswith("paddle ")
    for _ in range(2):
        assert open_extractor(folder, runtime="onnx").runtime.startswith("onnxruntime ")
    assert len(exports) == 2 and not cache.exists()


def test_a_small_network_stays_in_paddle(
    folder: Path, exports: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(converted.CACHE, str(tmp_path))
    assert Predictor(folder).runtime.startswith("paddle ")
    assert not exports


def test_an_exported_model_is_used_in_the_runtime_that_is_asked_for(
    folder: Path, tmp_path: Path, cache: Path
) -> None:
    both, onnx = tmp_path / "both", tmp_path / "onnx"
    export(open_checkpoint(folder), both)
    export(open_checkpoint(folder), onnx, format="onnx")
    assert open_extractor(both).runtime.startswith("onnxruntime ")
    assert open_extractor(both, runtime="paddle").runtime.startswith("paddle ")
    assert open_extractor(both / "inference.json").runtime.startswith("paddle ")
    with pytest.raises(UsageError, match="the runtime 'paddle' cannot run"):
        open_extractor(onnx, runtime="paddle")
