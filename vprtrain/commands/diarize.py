"""``vprtrain diarize``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from tqdm import tqdm

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    MANY,
    add_json,
    add_model,
    add_threshold,
    existing_voiceprints,
    name_detector,
    open_predictor,
    print_result,
    threshold_of,
)
from vprtrain.errors import RunError, UsageError

if TYPE_CHECKING:
    from vprtrain.inference import Predictor
    from vprtrain.lists import Segment


def diarize(parser: CommandParser, arguments: list[str]) -> int:
    """Say who speaks when in a recording of several people (diarization).

    The number of speakers is found, unless --num_speakers gives it. Speakers are called speaker_1,
    speaker_2 and so on; with --voiceprints, those who match a user have the user's name. A
    recording may be hours long. --out writes the segments as RTTM, JSON, CSV or labels for
    Audacity, --plot their timeline. Without --vad the detector of speech is auto. With a folder of
    recordings, --out is a folder for an RTTM file of each, which vprtrain score --rttm rates.
    """
    _add_options(parser)
    options = parser.parse_args(name_detector(arguments))
    _check(options)
    voiceprints = None if options.voiceprints is None else existing_voiceprints(options)
    with open_predictor(options, voiceprints=voiceprints, recordings=MANY) as predictor:
        threshold = None if voiceprints is None else threshold_of(predictor, options)
        if os.path.isdir(options.file):
            return _diarize_folder(predictor, options, threshold)
        segments = _diarize(predictor, options.file, options, threshold)
    _write(segments, options)
    print_result(
        options, {"segments": [asdict(segment) for segment in segments]}, *_lines(segments, options)
    )
    return 0


def _add_options(parser: CommandParser) -> None:
    parser.add_argument(
        "file",
        help="the recording, in any format and of any length, or a folder of recordings",
    )
    parser.add_argument(
        "--num_speakers", type=int | None, default=None, help="the number of speakers, if known"
    )
    parser.add_argument(
        "--max_speakers", type=int, default=20, help="the most speakers that may be found"
    )
    parser.add_argument(
        "--clustering",
        type=Literal["vbx", "agglomerative", "spectral"],
        default="vbx",
        help="how the speakers are found",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="a file for the segments: .rttm, .json, .csv, or .txt for Audacity",
    )
    parser.add_argument(
        "--plot", type=str | None, default=None, help="a .png file for the timeline"
    )
    add_model(parser)
    parser.add_argument(
        "--voiceprints",
        type=str | None,
        default=None,
        help="the database with the users whose names speakers may get: a file, or "
        "postgresql://USER@HOST/DATABASE",
    )
    add_threshold(parser)
    add_json(parser)


def _check(options: Namespace) -> None:
    from vprtrain.lists import segment_format

    if os.path.isdir(options.file):
        if options.out is None or options.plot is not None:
            raise UsageError("with a folder of recordings, expected --out FOLDER and no --plot")
        return
    if options.out is not None:
        segment_format(options.out)
    if options.plot is not None and not options.plot.endswith(".png"):
        raise UsageError(f"{options.plot} has another suffix: expected .png")
    for name in ("out", "plot"):
        if options[name] and not os.path.isdir(os.path.dirname(options[name]) or "."):
            raise UsageError(f"there is no folder for --{name} {options[name]}: make it first")


def _diarize_folder(predictor: Predictor, options: Namespace, threshold: float | None) -> int:
    from vprtrain.evaluation import diarize_folder

    found = diarize_folder(
        options.file, options.out, lambda path: _diarize(predictor, path, options, threshold)
    )
    print_result(
        options,
        {"path": options.out, **found._asdict()},
        f"{found.recordings:,} RTTM files in {options.out}; {len(found.refused):,} recordings "
        "could not be used",
    )
    return 0


def _diarize(
    predictor: Predictor, path: str, options: Namespace, threshold: float | None
) -> list[Segment]:
    from vprtrain.data.audio import audio_duration
    from vprtrain.diarization import Clustering

    with tqdm(
        total=round(audio_duration(path), 1),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]",
        dynamic_ncols=True,
        leave=path == options.file,
        disable=None,
    ) as bar:
        return predictor.diarize(
            path,
            options.num_speakers,
            options.max_speakers,
            threshold=threshold,
            clustering=Clustering(method=options.clustering),
            progress=bar.update,
        )


def _write(segments: list[Segment], options: Namespace) -> None:
    from vprtrain.diarization import timeline_plot
    from vprtrain.files import write_atomic
    from vprtrain.lists import write_segments

    recording = Path(options.file).stem
    try:
        if options.out is not None:
            write_segments(options.out, segments, recording=recording)
        if options.plot is not None:
            write_atomic(Path(options.plot), timeline_plot(segments, title=recording))
    except OSError as error:
        raise RunError(f"the result cannot be written ({error}): give another file") from error


def _lines(segments: list[Segment], options: Namespace) -> list[str]:
    if not segments:
        return ["nobody speaks"]
    seconds: dict[str, float] = {}
    for segment in segments:
        seconds[segment.speaker] = seconds.get(segment.speaker, 0.0) + segment.duration
    rows = [f"{each.start:9.2f} {each.end:9.2f}  {each.speaker}" for each in segments]
    written = [f"written to {path}" for path in (options.out, options.plot) if path is not None]
    return [
        *([] if options.out else ["    start       end  speaker", *rows]),
        f"{len(seconds)} speakers: "
        + ", ".join(f"{speaker} {total:.1f} s" for speaker, total in seconds.items()),
        *written,
    ]
