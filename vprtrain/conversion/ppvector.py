"""Checkpoints of ppvector 1.0: a folder with ``model.pdparams``, and the YAML file that it was
trained with."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vprtrain.checkpoint.arrays import MOST_BYTES, Arrays, decode_arrays
from vprtrain.checkpoint.yaml_text import MOST_YAML_BYTES, parse_yaml
from vprtrain.conversion.recognition import recognise
from vprtrain.conversion.toolkits import ForeignModel
from vprtrain.errors import CheckpointError, UsageError, cause, shown
from vprtrain.features import (
    MFCC,
    Fbank,
    FeatureExtractor,
    LogMelSpectrogram,
    MelSpectrogram,
    Spectrogram,
)
from vprtrain.files import parse_json, read_file
from vprtrain.losses import (
    AAMLoss,
    AMLoss,
    ARMLoss,
    CELoss,
    SpeakerLoss,
    SphereFace2Loss,
    SubCenterLoss,
)
from vprtrain.models import SpeakerEncoder

log = logging.getLogger(__name__)

_WEIGHTS = "model.pdparams"
_MOST_STATE_BYTES = 2**20  # of model.state, which has a few hundred
_LEVELS_UP = 4  # ppvector's configs/ stands beside its models/<Model>_<Feature>/<checkpoint>/


@dataclass(frozen=True)
class _Counterpart:
    """The counterpart of one of ppvector's losses or features."""

    cls: type
    renamed: dict[str, str] = field(default_factory=dict)
    """ppvector's option names that differ from ours."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """ppvector's defaults that differ from ours, by its names."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Options of ppvector that are not supported, with the only supported value."""


_LOSSES = {
    "AAMLoss": _Counterpart(AAMLoss),
    "AMLoss": _Counterpart(AMLoss, defaults={"scale": 30}),
    "ARMLoss": _Counterpart(ARMLoss, defaults={"scale": 30}),
    "CELoss": _Counterpart(CELoss),
    "SphereFace2": _Counterpart(SphereFace2Loss, {"lanbuda": "positive_weight", "t": "exponent"}),
    "SubCenterLoss": _Counterpart(SubCenterLoss, {"K": "centers_per_class"}),
}
_STFT = {"pad_mode": "reflect", "dtype": "float32"}
_MELS = {"sr": 22050, "n_mels": 64, "n_fft": 512, "hop_length": None}
_FEATURES = {
    "Spectrogram": _Counterpart(
        Spectrogram, defaults={"hop_length": 512, "power": 1.0}, fixed=_STFT
    ),
    "MelSpectrogram": _Counterpart(
        MelSpectrogram, {"sr": "sample_rate"}, {**_MELS, "n_fft": 2048, "hop_length": 512}, _STFT
    ),
    "LogMelSpectrogram": _Counterpart(
        LogMelSpectrogram, {"sr": "sample_rate"}, _MELS, {**_STFT, "top_db": None}
    ),
    "MFCC": _Counterpart(MFCC, {"sr": "sample_rate"}, _MELS, {**_STFT, "top_db": None}),
    "Fbank": _Counterpart(
        Fbank,
        {
            **{"sr": "sample_rate", "low_freq": "f_min", "window_type": "window"},
            **{"frame_length": "frame_length_ms", "frame_shift": "frame_shift_ms"},
            "preemphasis_coefficient": "preemphasis",
        },
        {"n_mels": 23, "floor": 1e-7},
        {
            **{
                "high_freq": 0,
                "remove_dc_offset": True,
                "round_to_power_of_two": True,
                "snip_edges": True,
            },
            **{
                "use_energy": False,
                "use_log_fbank": True,
                "use_power": True,
                "vtln_warp": 1,
                "subtract_mean": False,
            },
        },
    ),
}


def read_ppvector(folder: Path, source_config: Path | None) -> ForeignModel:
    """The model of a checkpoint folder, or the ``best_model`` of a run directory.

    Args:
        source_config: the YAML file; ``None`` searches around the folder.

    Raises:
        UsageError: there is no checkpoint or no configuration, or the configuration has unsupported
            options.
        CheckpointError: a file cannot be read.
    """
    folder = _checkpoint_folder(folder)
    weights, classifier = _parts(folder / _WEIGHTS)
    config = _Config.read(source_config or _find_config(folder, weights))
    state = _read_state(folder / "model.state")
    loss, feature = config.make_loss(), config.make_feature()
    model = recognise(weights, {"input_size": feature.output_size})
    if config.model != _name_of(model):
        raise UsageError(
            f"{config.path} is of a {config.model}, {folder} of a {_name_of(model)}: give its own "
            "file"
        )
    measured = {name: state.get(name) for name in ("eer", "min_dcf", "threshold")}
    return ForeignModel(
        model=model,
        weights=weights,
        layout="paddle",
        feature=feature,
        front_end_reason=f"ppvector's, with {config.path.name}",
        sample_rate=config.sample_rate,
        head=_head(classifier, loss),
        loss=loss,
        measured={
            name: value for name, value in measured.items() if isinstance(value, int | float)
        },
        origin={
            "version": state.get("version"),
            "last_epoch": state.get("last_epoch"),
            "config": config.path.name,
        },
    )


def _checkpoint_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "best_model", folder / "last_model"):
        if (candidate / _WEIGHTS).is_file():
            return candidate
    raise UsageError(f"{folder} is not a checkpoint of ppvector: expected a folder with {_WEIGHTS}")


def _name_of(model: SpeakerEncoder) -> str:
    """ppvector's."""
    return type(model).__name__.removeprefix("PPVector")


def _find_config(folder: Path, weights: Arrays) -> Path:
    """The YAML file around a checkpoint whose run is named alike, or else the only one of its
    model."""
    folder = folder.resolve()
    run = folder.parent.name
    for level in (folder, *folder.parents[:_LEVELS_UP]):
        near = [
            path for place in (level, level / "configs") for path in sorted(place.glob("*.y*ml"))
        ]
        found = [path for path in near if _Config.is_one(path)]
        named = [path for path in found if _Config.read(path).run == run] or found
        if len(named) > 1:
            named = [
                path for path in named if _Config.read(path).model == _name_of(recognise(weights))
            ] or named
        if len(named) == 1:
            return named[0]
        if named:
            names = ", ".join(path.name for path in named)
            raise UsageError(
                f"{folder} may belong to any of {names} in {named[0].parent}: choose one with "
                "--source_config"
            )
    raise UsageError(
        f"no configuration of ppvector was found around {folder}: name its YAML file with "
        "--source_config"
    )


def _parts(path: Path) -> tuple[Arrays, Arrays]:
    """The weights of the encoder and of the classifier: the first and second part of ppvector's
    Sequential."""
    try:
        arrays = decode_arrays(read_file(path, MOST_BYTES), str(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    encoder = {name[2:]: value for name, value in arrays.items() if name.startswith("0.")}
    classifier = {name[2:]: value for name, value in arrays.items() if name.startswith("1.")}
    if not encoder or len(encoder) + len(classifier) < len(arrays):
        raise CheckpointError(
            f"{path} is not of ppvector's trainer: expected names that begin with 0. or 1., found "
            f"{shown([*arrays][:3])}"
        )
    return encoder, classifier


def _head(classifier: Arrays, loss: SpeakerLoss) -> Arrays:
    expected = {"output.weight", "output.bias"} if isinstance(loss, CELoss) else {"weight"}
    if classifier and classifier.keys() != expected:
        log.warning(
            "the classifier is left out, because it has further layers: %s",
            ", ".join(sorted(classifier)),
        )
        return {}
    return {name.removeprefix("output."): value for name, value in classifier.items()}


def _read_state(path: Path) -> dict[str, Any]:
    """ppvector's ``model.state``; empty if the folder has none."""
    if not os.path.exists(path):
        return {}
    try:
        state = parse_json(read_file(path, _MOST_STATE_BYTES), lambda infinite_or_nan: None)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({cause(error)})") from error
    return state if isinstance(state, dict) else {}


@dataclass(frozen=True, kw_only=True)
class _Config:
    """The relevant part of a configuration file."""

    path: Path
    model: str
    feature: str
    feature_args: dict[str, Any]
    loss: str
    loss_args: dict[str, Any]
    sample_rate: int
    level: float | None
    """The level that recordings were normalised to, in dB."""

    @classmethod
    def read(cls, path: Path) -> _Config:
        """Read a configuration.

        Raises:
            UsageError: it is not a configuration of ppvector.
        """
        try:
            content = parse_yaml(read_file(path, MOST_YAML_BYTES))
            features, losses, data = (
                content[part] for part in ("preprocess_conf", "loss_conf", "dataset_conf")
            )
            return cls(
                path=path,
                model=str(content["use_model"]),
                feature=str(features["feature_method"]),
                feature_args=dict(features.get("method_args") or {}),
                loss=str(losses.get("use_loss", "AAMLoss")),
                loss_args=dict(losses.get("args") or {}),
                sample_rate=int(data["sample_rate"]),
                level=float(data["target_dB"]) if data.get("use_dB_normalization") else None,
            )
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror})") from error
        except Exception as error:  # the parts may have any type
            raise UsageError(
                f"{path} is not a configuration of ppvector 1.0 ({cause(error)})"
            ) from error

    @classmethod
    def is_one(cls, path: Path) -> bool:
        try:
            cls.read(path)
        except UsageError:
            return False
        return True

    @property
    def run(self) -> str:
        """ppvector's name of the run directory."""
        return f"{self.model}_{self.feature}"

    def make_loss(self) -> SpeakerLoss:
        return self._make(_LOSSES, "use_loss", self.loss, self.loss_args)

    def make_feature(self) -> FeatureExtractor:
        return self._make(
            _FEATURES,
            "feature_method",
            self.feature,
            self.feature_args,
            mean_norm=True,
            level=self.level,
        )

    def _make(
        self,
        table: dict[str, _Counterpart],
        option: str,
        name: str,
        given: dict[str, Any],
        **more: Any,
    ) -> Any:
        if name not in table:
            raise UsageError(
                f"{self.path}: {option} is {shown(name)}, expected one of {', '.join(table)}"
            )
        counterpart = table[name]
        options = {**counterpart.defaults, **given}
        if options.get("hop_length", 0) is None:
            options["hop_length"] = options["n_fft"] // 4
        for fixed, value in counterpart.fixed.items():
            if options.pop(fixed, value) != value:
                raise UsageError(
                    f"{self.path}: {name} with {fixed} {shown(given[fixed])} is not supported, "
                    "only "
                    f"{value}"
                )
        try:
            return counterpart.cls(
                **{counterpart.renamed.get(key, key): options[key] for key in options}, **more
            )
        except Exception as error:  # the options may have any type
            raise UsageError(f"{self.path}: {name} cannot be built ({cause(error)})") from error
