"""``vprtrain convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, print_result
from vprtrain.commands.own_modules import add_import, import_chosen
from vprtrain.errors import CheckpointError, UsageError, cause, shown

if TYPE_CHECKING:
    from vprtrain.conversion import Choices
    from vprtrain.features import FeatureExtractor

Toolkit = Literal["ppvector", "3dspeaker", "wespeaker", "speechbrain"]


def convert(parser: CommandParser, arguments: list[str]) -> int:
    """Convert a model of ppvector, 3D-Speaker, WeSpeaker or SpeechBrain to a checkpoint.

    SOURCE is a checkpoint folder of ppvector (with model.pdparams), or a PyTorch file of another
    toolkit: the embedding model of 3D-Speaker or SpeechBrain, avg_model.pt of WeSpeaker. PyTorch is
    not needed, and no code in the files is executed. OUT_DIR must not exist yet. Every command that
    takes --checkpoint accepts it; fit accepts it as --init_from, and its config.yaml as --config.

    The names and shapes of the arrays tell the architecture; where they fit several, none is
    guessed. The toolkit's configuration beside the file is read (configuration.json or config.yaml
    of 3D-Speaker, config.yaml of WeSpeaker, hyperparams.yaml of SpeechBrain). What the model was
    taken for is printed, the front end with the reason.
    """
    parser.add_argument(
        "--from", type=Toolkit, required=True, help="the toolkit that trained the model"
    )
    parser.add_argument(
        "source", help="ppvector's checkpoint folder, or another toolkit's PyTorch file"
    )
    parser.add_argument("out_dir", help="the new checkpoint")
    parser.add_argument(
        "--source_config",
        type=str | None,
        default=None,
        help="the toolkit's configuration; default: searched for beside the file, and for ppvector "
        "in the folder, in the folders above it, and in a subfolder configs of each",
    )
    parser.add_argument(
        "--front_end",
        type=Literal["3dspeaker", "wespeaker", "speechbrain"] | None,
        default=None,
        help="the toolkit whose features the model was trained with, if not that of --from",
    )
    parser.add_argument(
        "--model",
        type=str | None,
        default=None,
        help="the class of the model, where several fit, or its class_path and init_args, for "
        "example '{class_path: ResNet34, init_args: {pooling: TAP}}'",
    )
    parser.add_argument(
        "--feature",
        type=str | None,
        default=None,
        help="the features that the model was trained with, for example '{class_path: Fbank, "
        "init_args: {n_mels: 40}}'",
    )
    add_import(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    runtime.prepare()
    import_chosen(options)

    from vprtrain.conversion.converting import convert as convert_files

    out_dir = Path(options.out_dir)
    summary, *details = convert_files(
        options["from"], Path(options.source), out_dir, choices=_choices(options)
    )
    lines = [f"{out_dir}: {summary}", *(f"  {line}" for line in details)]
    print_result(options, {"path": str(out_dir)}, *lines)
    return 0


def _choices(options: Namespace) -> Choices:
    from vprtrain.conversion import Choices

    model = _specified("--model", options.model) if options.model else {}
    return Choices(
        config=None if options.source_config is None else Path(options.source_config),
        model=model["class_path"].rpartition(".")[2] if model else None,
        init_args=model["init_args"] if model else {},
        front_end=options.front_end,
        feature=_feature(options.feature) if options.feature else None,
    )


def _feature(text: str) -> FeatureExtractor:
    """The features that an option describes.

    Raises:
        UsageError: it describes none.
    """
    from vprtrain.features import FeatureExtractor
    from vprtrain.spec import build

    spec = _specified("--feature", text)
    if "." not in spec["class_path"]:
        spec["class_path"] = f"vprtrain.features.{spec['class_path']}"
    try:
        return build(spec, FeatureExtractor, "--feature")
    except CheckpointError as error:
        raise UsageError(str(error)) from error


def _specified(option: str, text: str) -> dict[str, Any]:
    """The class_path and init_args in an option's text: a name, or a YAML mapping of the two.

    Raises:
        UsageError: it is neither.
    """
    from vprtrain.checkpoint.yaml_text import parse_yaml

    try:
        value = parse_yaml(text.encode())
    except ValueError as error:
        raise UsageError(f"{option} cannot be read ({cause(error)})") from error
    spec = {"class_path": value} if isinstance(value, str) else value
    if (
        not isinstance(spec, dict)
        or not isinstance(spec.get("class_path"), str)
        or not isinstance(spec.setdefault("init_args", {}), dict)
        or spec.keys() != {"class_path", "init_args"}
    ):
        raise UsageError(
            f"{option} is {shown(text)}, expected the name of a class, or its class_path and "
            "init_args, for example '{class_path: Fbank, init_args: {n_mels: 40}}'"
        )
    return spec
