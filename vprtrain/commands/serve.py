"""``vprtrain serve``."""

from __future__ import annotations

import os
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_model_options,
    add_threshold,
    add_voiceprints,
    name_detector,
    prepare_model,
)
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.serving import Limits, ServerSettings

_PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")


def serve(parser: CommandParser, arguments: list[str]) -> int:
    """Serve a model over HTTP, with a web page to compare, enrol and recognise voices.

    Needs pip install 'vprtrain[serve]'. Without tokens only this machine is served.
    """
    _add_options(parser)
    options = parser.parse_args(name_detector(arguments))
    limits, settings = _settings(options)
    prepare_model(options, threads=_threads(options, limits))

    from vprtrain.serving import Recognizer, create_app, run_server

    with closing(
        Recognizer(
            options.checkpoint,
            options.voiceprints,
            options.device,
            threshold=options.threshold,
            limits=limits,
            channel=options.channel,
            vad=options.vad,
            min_speech=options.min_speech,
            level_norm=options.level_norm,
            runtime=options.runtime,
        )
    ) as recognizer:
        if recognizer.predictor.state.synthetic_voices:
            print_warning("this model was trained on synthetic voices: its scores mean nothing")
        run_server(create_app(recognizer, settings), settings, time_limit=limits.time_limit)
    return 0


def _add_options(parser: CommandParser) -> None:
    """Declare the options, beside those that the commands share."""
    add_model_options(parser)
    add_voiceprints(parser)
    add_threshold(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 chooses a free one")
    parser.add_argument(
        "--token_file",
        type=str | None,
        default=None,
        help="a file with a line for each token, TOKEN or LABEL TOKEN, one of which every request "
        "must bring",
    )
    parser.add_argument(
        "--tls_certificate", type=str | None, default=None, help="a chain in PEM, for HTTPS"
    )
    parser.add_argument("--tls_key", type=str | None, default=None, help="its private key in PEM")
    parser.add_argument(
        "--allow_origin",
        type=list[str],
        default=[],
        help="origins of other sites whose pages may call the service",
    )
    parser.add_argument("--max_megabytes", type=int, default=32, help="of a request's body")
    parser.add_argument(
        "--max_requests", type=int, default=64, help="that run or wait at once; others get 429"
    )
    parser.add_argument(
        "--max_diarize_seconds",
        type=float,
        default=600.0,
        help="of a conversation the beginning is diarized",
    )
    parser.add_argument(
        "--max_diarizations", type=int, default=4, help="that run at once; others get 429"
    )
    parser.add_argument("--max_streams", type=int, default=8, help="live streams at once")
    parser.add_argument(
        "--time_limit",
        type=float,
        default=30.0,
        help="seconds for a body to come, for decoding a recording, and to finish at the end",
    )
    parser.add_argument(
        "--threads",
        type=int | None,
        default=None,
        help="of the model, and processes that decode; default: the processor cores",
    )


def _settings(options: Namespace) -> tuple[Limits, ServerSettings]:
    """The options as the service takes them.

    Raises:
        UsageError: a value cannot be used, or the packages of the service are not installed.
    """
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise UsageError(
                f"the service needs {package}, which is not installed: "
                "pip install 'vprtrain[serve]'"
            )

    from vprtrain.serving import Limits, ServerSettings, Tokens

    workers = {} if options.threads is None else {"workers": options.threads}
    limits = Limits(
        max_bytes=options.max_megabytes << 20,
        max_seconds=options.max_seconds,
        max_diarize_seconds=options.max_diarize_seconds,
        max_diarizations=options.max_diarizations,
        max_requests=options.max_requests,
        max_streams=options.max_streams,
        time_limit=options.time_limit,
        **workers,
    )
    tokens = None if options.token_file is None else Tokens.read(Path(options.token_file))
    return limits, ServerSettings(
        host=options.host,
        port=options.port,
        tokens=tokens,
        certificate=None if options.tls_certificate is None else Path(options.tls_certificate),
        key=None if options.tls_key is None else Path(options.tls_key),
        origins=tuple(options.allow_origin),
    )


def _threads(options: Namespace, limits: Limits) -> int | None:
    """The model's threads: the option, else what the environment sets, else the cores."""
    if options.threads is None and "OMP_NUM_THREADS" in os.environ:
        return None
    return limits.workers
