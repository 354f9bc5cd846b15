"""Recordings that cannot be used, in a real run: it goes on, it says which, and it ends where they
are too many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from recipe_cli import Recipe

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.manifest import write_manifest

BAD = {
    *(
        "zero_bytes.wav",
        "zero_bytes.flac",
        "header_only.wav",
        "sample_rate_zero.wav",
        "text_renamed.wav",
    ),
    *(
        "html_error_page.mp3",
        "random_bytes.flac",
        "nan_float.wav",
        "inf_float.wav",
        "all_nan.wav",
        "silence_2s.wav",
    ),
    *(
        "dc_only.wav",
        "one_sample.wav",
        "empty_valid.wav",
        "short_50ms.wav",
        "short_24ms.wav",
        "rate_192k_tiny.wav",
    ),
    *(
        "video_no_audio.mp4",
        "headerless.pcm",
        "._ok_reference.wav",
        "long_30min_silence.flac",
        "truncated.flac",
    ),
}


@pytest.fixture(scope="module")
def nasty_list(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of bad_audio, one behind the other, among some 300 recordings of speech."""
    nasty = sorted(
        path
        for path in (test_data / "bad_audio").rglob("*")
        if path.is_file() and path.name != "README.md"
    )
    speech = sorted((test_data / "dev_pack").rglob("*.flac"))[:300]
    rows = [
        (str(path), f"speaker{number // 20}", None) for number, path in enumerate([*nasty, *speech])
    ]
    manifest = tmp_path_factory.mktemp("nasty") / "train.tsv"
    write_manifest(manifest, rows)
    return manifest


@pytest.fixture
def options(nasty_list: Path) -> tuple[str, ...]:
    return (
        f"--data.train_manifest={nasty_list}",
        "--data.crop_seconds=2.0",
        "--data.batch_size=2",
        "--engine.max_epochs=2",
        "--engine.log_every=10",
        "--engine.validate_every=never",
        "--engine.commit_every=50 steps",
    )


def noted(run_dir: Path) -> set[str]:
    return {
        Path(line.split("\t")[0]).name
        for line in (run_dir / "bad_audio.tsv").read_text().splitlines()
    }


def test_within_the_limit_the_run_ends_normally(
    command: Callable[..., list[str]], recipe: Recipe, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = recipe(*command(*options, "--max_bad_share=0.1"))
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / "TDNN_Fbank"
    assert noted(run_dir) == BAD
    assert len((run_dir / "bad_audio.tsv").read_text().splitlines()) == len(BAD)
    assert f", {len(BAD)} bad recordings, ETA" in done.stderr
    assert open_checkpoint(run_dir / "last_model").state.last_epoch == 2


def test_beyond_the_limit_it_ends_in_one_line(
    command: Callable[..., list[str]], recipe: Recipe, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = recipe(*command(*options))
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert (
        "4 of 36" in last
        and "more than max_bad_share (0.01) allows" in last
        and "bad_audio.tsv" in last
    )
    assert "Traceback" not in done.stderr
    assert len(noted(tmp_path / "TDNN_Fbank") & BAD) == 4
