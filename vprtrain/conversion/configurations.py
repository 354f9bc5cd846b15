"""The configuration that a toolkit writes beside its weights. It comes from a stranger: it is read
as plain values, and nothing that it names is constructed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args

import yaml

from vprtrain.checkpoint.yaml_text import MOST_YAML_BYTES, parse_yaml
from vprtrain.errors import UsageError, cause, shown
from vprtrain.files import parse_json, read_file
from vprtrain.models.pooling import PoolingName

Tree: TypeAlias = Mapping[str, Any]
_TAG = "!"
"""The key of a tag, in the mapping that a tagged value becomes."""
_POOLINGS = {"MQMHASTP": "MQMHA", **{name: name for name in get_args(PoolingName)}}


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What a toolkit's configuration says about a model."""

    path: Path
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """init_args of the model."""
    pooling: str | None = None
    sample_rate: int = 16000
    """In Hz."""
    feature: Mapping[str, Any] = field(default_factory=dict)
    """Options of the toolkit's front end."""


def find_configuration(toolkit: str, source: Path, named: Path | None) -> Configuration | None:
    """The configuration of a toolkit: a named file, or the one beside the weights.

    Args:
        toolkit: "3dspeaker", "wespeaker" or "speechbrain".
        source: the file of the weights.
        named: the configuration; ``None`` searches beside ``source``. A file there that is not of
            this toolkit is left alone.

    Raises:
        UsageError: the named file is not a configuration of this toolkit; or one says what vprtrain
            cannot do.
    """
    if named is not None:
        found = _read(toolkit, named)
        if found is None:
            raise UsageError(
                f"{named} is not a configuration of {toolkit}: expected its {_FILES_TEXT[toolkit]}"
            )
        return found
    beside = [source.with_name(name) for name in _FILES[toolkit]]
    return next(
        (found for path in beside if path.is_file() and (found := _read(toolkit, path))), None
    )


def _read(toolkit: str, path: Path) -> Configuration | None:
    """The configuration in a file; ``None`` if it is not one of this toolkit.

    Raises:
        UsageError: the file cannot be read, has values of a wrong type, or says what vprtrain
            cannot do.
    """
    try:
        data = read_file(path, MOST_YAML_BYTES)
        is_json = path.suffix == ".json"
        content = parse_json(data) if is_json else parse_yaml(data, _PlainLoader)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read ({cause(error)}): repair it, or name another configuration "
            "with --source_config"
        ) from error
    return _READERS[toolkit](path, content) if isinstance(content, Mapping) else None


def _of_3dspeaker(path: Path, content: Tree) -> Configuration | None:
    """ModelScope's ``configuration.json``, or the ``config.yaml`` of a training."""
    sizes = _part(_part(content, "model"), "model_config")
    sizes = sizes or content
    if not sizes.keys() & {"fbank_dim", "emb_size", "embed_dim", "embedding_size"}:
        return None
    dimension = next(
        (sizes[name] for name in ("emb_size", "embed_dim", "embedding_size") if name in sizes), None
    )
    options = _part(_part(content, "feature_extractor"), "args")
    return Configuration(
        path=path,
        sizes=_counts(path, input_size=sizes.get("fbank_dim"), embedding_dim=dimension),
        sample_rate=_rate(path, sizes.get("sample_rate")),
        feature=_flags(path, mean_norm=options.get("mean_nor")),
    )


def _of_wespeaker(path: Path, content: Tree) -> Configuration | None:
    """The ``config.yaml`` of a training, which WeSpeaker publishes with a model."""
    if "model_args" not in content:
        return None
    args, data = _part(content, "model_args"), _part(content, "dataset_args")
    front_end = data.get("frontend", "fbank")
    if front_end != "fbank":
        raise UsageError(
            f"{path}: the front end is {shown(front_end)}, a network of its own, expected fbank: "
            "vprtrain cannot compute it"
        )
    fbank, norm = _part(data, "fbank_args"), _part(data, "cmvn_args")
    is_normalised = data.get("cmvn", True) and norm.get("norm_mean", True)
    return Configuration(
        path=path,
        sizes=_counts(path, input_size=args.get("feat_dim"), embedding_dim=args.get("embed_dim")),
        pooling=_POOLINGS.get(str(args.get("pooling_func"))),
        sample_rate=_rate(path, data.get("resample_rate")),
        feature={
            **_counts(
                path,
                n_mels=fbank.get("num_mel_bins"),
                frame_length_ms=fbank.get("frame_length"),
                frame_shift_ms=fbank.get("frame_shift"),
            ),
            **_flags(path, mean_norm=is_normalised, variance_norm=norm.get("norm_var")),
        },
    )


def _of_speechbrain(path: Path, content: Tree) -> Configuration | None:
    """``hyperparams.yaml``."""
    features, norm = (_part(content, name) for name in ("compute_features", "mean_var_norm"))
    if _TAG not in features:
        return None
    options = {name: _resolved(value, content) for name, value in features.items()}
    kind = options.pop(_TAG)
    plain = {**_NEUTRAL_FBANK, "n_fft": 400, "win_length": 25, "hop_length": 10, "f_min": 0}
    changed = {
        name: value
        for name, value in options.items()
        if name not in ("n_mels", "sample_rate") and value != plain.get(name)
    }
    if not kind.endswith("lobes.features.Fbank") or changed:
        raise UsageError(
            f"{path}: compute_features is {shown(kind)} with {shown(changed)}, expected "
            "SpeechBrain's Fbank with n_mels and sample_rate only: give --feature"
        )
    said = {name: _resolved(value, content) for name, value in norm.items()}
    if said.get("norm_type", "sentence") != "sentence" or said.get("std_norm", False):
        raise UsageError(
            f"{path}: mean_var_norm is {shown(said)}, expected norm_type sentence and std_norm "
            "False: vprtrain normalises per recording"
        )
    return Configuration(
        path=path,
        sample_rate=_rate(
            path, options.get("sample_rate", _resolved(content.get("sample_rate"), content))
        ),
        # 40 is SpeechBrain's default.
        sizes=_counts(path, input_size=options.get("n_mels", 40)),
        feature={"mean_norm": bool(norm)},
    )


_NEUTRAL_FBANK = {"left_frames": 0, "right_frames": 0, "deltas": False, "context": False}
"""Options of SpeechBrain's Fbank that published configurations write out, without effect."""
_FILES = {
    "3dspeaker": ("configuration.json", "config.yaml"),
    "wespeaker": ("config.yaml",),
    "speechbrain": ("hyperparams.yaml",),
}
_FILES_TEXT = {toolkit: " or ".join(names) for toolkit, names in _FILES.items()}
_READERS: dict[str, Callable[[Path, Tree], Configuration | None]] = {
    "3dspeaker": _of_3dspeaker,
    "wespeaker": _of_wespeaker,
    "speechbrain": _of_speechbrain,
}


class _PlainLoader(yaml.SafeLoader):
    """Reads a value with a tag (HyperPyYAML's ``!new:``, ``!ref``, ...) as a mapping that names the
    tag. Nothing is constructed."""


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Tree:
    if isinstance(node, yaml.MappingNode):
        mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
        return {**mapping, _TAG: tag}
    if isinstance(node, yaml.SequenceNode):
        return {_TAG: tag, "items": loader.construct_sequence(node, deep=True)}
    return {_TAG: tag, "value": str(node.value)}


_PlainLoader.add_multi_constructor("!", _plain)


def _resolved(value: Any, content: Tree) -> Any:
    """A value, or what a ``!ref <name>`` refers to at the top level. Other references stay."""
    if isinstance(value, Mapping) and value.get(_TAG) == "ref":
        match = re.fullmatch(r"<(\w+)>", str(value.get("value")))
        return content.get(match[1], value) if match else value
    return value


def _part(content: Tree, name: str) -> Tree:
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _counts(path: Path, **values: Any) -> dict[str, int]:
    """The values that are there.

    Raises:
        UsageError: one is not a whole number.
    """
    for name, value in values.items():
        if value is not None and (type(value) is not int or not 0 < value < 10_000):
            raise UsageError(f"{path}: {name} is {shown(value)}, expected a whole number")
    return {name: value for name, value in values.items() if value is not None}


def _flags(path: Path, **values: Any) -> dict[str, bool]:
    """The values that are there.

    Raises:
        UsageError: one is not true or false.
    """
    for name, value in values.items():
        if value is not None and type(value) is not bool:
            raise UsageError(f"{path}: {name} is {shown(value)}, expected true or false")
    return {name: value for name, value in values.items() if value is not None}


def _rate(path: Path, value: Any) -> int:
    if value is None:
        return 16000
    if type(value) is not int:
        raise UsageError(f"{path}: the sample rate is {shown(value)}, expected a number of Hz")
    return value
