"""``vprtrain embed``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_json,
    add_model_options,
    name_detector,
    open_predictor,
    print_result,
)
from vprtrain.commands.printing import print_lines
from vprtrain.commands.recordings import (
    add_recordings,
    chosen_recordings,
    is_single,
    voice_all,
)

if TYPE_CHECKING:
    import numpy as np

    from vprtrain.data.audio import AudioError

    Found = Iterable[tuple[str, np.ndarray | AudioError]]


def embed(parser: CommandParser, arguments: list[str]) -> int:
    """Compute the embeddings of recordings.

    FILES, --list and --scp name the recordings. --out writes the embeddings to a file. Without it
    they are printed: of one recording its values, of several a line of id<TAB>values for each. A
    recording that cannot be used is named and left out; the exit status is then 1. Embeddings are
    not normalised.
    """
    add_recordings(
        parser,
        out="a file for the embeddings: .npz (keys, embeddings), .ark (Kaldi's, with an .scp "
        "beside it) or .jsonl (an object in each line)",
    )
    add_model_options(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    recordings = chosen_recordings(options)

    from vprtrain.inference.embedding_files import require_writable, write_embeddings

    if options.out is not None:
        require_writable(Path(options.out), recordings)
    refused: dict[str, str] = {}
    with open_predictor(options, recordings=len(recordings)) as predictor:
        found = (
            (key, voice if isinstance(voice, Exception) else voice.embedding)
            for key, voice in voice_all(predictor, recordings, options, refused)
        )
        if options.out is not None:
            write_embeddings(Path(options.out), found)
            _print_summary(options, recordings, refused, predictor.runtime)
        elif is_single(options):
            _print_one(options, found, predictor.runtime)
        else:
            _print_all(options, found, refused, predictor.runtime)
    return 1 if refused else 0


def _print_summary(
    options: Namespace, recordings: Mapping[str, str], refused: Mapping[str, str], runtime: str
) -> None:
    count = len(recordings) - len(refused)
    left_out = f"; {len(refused)} left out" if refused else ""
    print_result(
        options,
        {"path": options.out, "recordings": count, "refused": refused, "runtime": runtime},
        f"{options.out}: {count} embedding{'s' if count > 1 else ''}{left_out}",
    )


def _print_one(options: Namespace, found: Found, runtime: str) -> None:
    for _, embedding in found:
        assert not isinstance(embedding, Exception)  # it was raised
        result = {"embedding": embedding.tolist(), "runtime": runtime}
        print_result(options, result, _text(embedding))


def _print_all(options: Namespace, found: Found, refused: Mapping[str, str], runtime: str) -> None:
    """A line for each, as soon as it is known; or one JSON object."""
    embeddings = {}
    for key, embedding in found:
        if isinstance(embedding, Exception):
            continue
        if options.json:
            embeddings[key] = embedding.tolist()
        else:
            print_lines(f"{key}\t{_text(embedding)}")
    if options.json:
        print_result(options, {"embeddings": embeddings, "refused": refused, "runtime": runtime})


def _text(embedding: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in embedding.tolist())
