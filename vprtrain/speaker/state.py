"""The speaker side of ``model.state``: how a checkpoint's model is built and used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vprtrain.checkpoint.file_names import CONFIG_FILE
from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint
from vprtrain.checkpoint.yaml_text import parse_yaml
from vprtrain.data.audio import Channel
from vprtrain.data.vad.options import SpeechOptions
from vprtrain.errors import SAMPLE_RATES, CheckpointError, shown
from vprtrain.scoring.backend import COSINE, Backend
from vprtrain.spec import Spec, is_module_name

BACKEND_KEY, BACKEND_FILE = "backend", "backend.npz"
"""Of a checkpoint with another back end than the cosine: its record in ``model.state``, and its
arrays."""

_MOST_CHANNEL = 1023
_MOST_IMPORTS = 100
_MOST_CLASSES = 2**31 - 1


class AudioFormat(NamedTuple):
    """How recordings are read for a model."""

    sample_rate: int
    """In Hz; recordings are resampled to it."""
    channel: Channel = 0
    """The channel that is read of a recording with several, counted from 0; ``"mix"`` for the mean
    of all."""


@dataclass(frozen=True, kw_only=True)
class SpeakerState:
    """The speaker module's own keys of ``model.state``."""

    model: Spec
    feature: Spec
    loss: Spec | None
    """``None`` in an exported model's state that has no loss."""
    class_share: float
    """The share of the classes that a training step compares with; ``head`` in the file."""
    num_classes: int | None
    """The classes of the head; ``None`` without a head."""
    num_speakers: int | None
    margin: float | None
    threshold: float | None
    """The newest validation's or calibration's; ``None`` before the first."""
    threshold_speech: SpeechOptions
    """What of the recordings was used when the threshold was found. A validation uses them whole,
    and so did calibrations that have no record of it."""
    synthetic_voices: bool
    """Whether the training voices were synthetic. The key is in the file only if they were."""
    backend: Backend = COSINE
    """What makes a score of two embeddings, in the scale of the threshold."""
    imports: Sequence[str] = ()
    """The modules of the user that the run had imported. Nothing imports them by itself."""

    @property
    def has_foreign_class(self) -> bool:
        """Whether the model, the feature or the loss is of a class outside vprtrain."""
        specs = (self.model, self.feature, *([self.loss] if self.loss else []))
        return not all(spec["class_path"].startswith("vprtrain.") for spec in specs)

    @classmethod
    def of(cls, saved: SavedCheckpoint) -> SpeakerState:
        """The view of a checkpoint's state.

        Raises:
            CheckpointError: the checkpoint is not a speaker model's.
        """
        own = saved.state.own
        speakers = _count(saved, "num_speakers")
        # Early checkpoints have no num_classes: each speaker is a class.
        classes = _count(saved, "num_classes") if "num_classes" in own else speakers
        return cls(
            model=_spec(saved, "model"),
            feature=_spec(saved, "feature"),
            loss=None if own.get("loss") is None else _spec(saved, "loss"),
            class_share=_class_share(saved),
            num_classes=classes,
            num_speakers=speakers,
            margin=_number(saved, "margin"),
            threshold=saved.state.metrics.get("threshold"),
            threshold_speech=_threshold_speech(saved),
            backend=_backend(saved),
            imports=_imports(saved),
            synthetic_voices=_flag(saved, "synthetic_voices"),
        )


def audio_format(saved: SavedCheckpoint) -> AudioFormat:
    """The sample rate and the channel of a checkpoint's training data.

    Checkpoints of version 0.1 say them in ``config.yaml`` only; without a rate there, it is the
    feature's.

    Raises:
        CheckpointError: the checkpoint does not say the sample rate, or it is impossible.
    """
    source, data = STATE_FILE, saved.state.own
    if "sample_rate" not in data:
        source, data = CONFIG_FILE, configured_data(saved)
    rate = data.get("sample_rate")
    if rate is None:
        rate = _feature_rate(saved)
    path = saved.folder / source
    return AudioFormat(
        _whole(rate, f"{path}: sample_rate", SAMPLE_RATES[0], SAMPLE_RATES[-1]),
        _channel(data.get("channel", 0), f"{path}: channel"),
    )


def _channel(value: object, name: str) -> Channel:
    return "mix" if value == "mix" else _whole(value, name, 0, _MOST_CHANNEL)


def configured_data(saved: SavedCheckpoint) -> Mapping[str, Any]:
    """The options ``data`` of the run that saved a checkpoint, from ``config.yaml``; empty without.

    Raises:
        CheckpointError: the file is not plain YAML, or not a configuration.
    """
    path = saved.folder / CONFIG_FILE
    try:
        config = parse_yaml(saved.read(CONFIG_FILE))
    except ValueError as error:
        raise CheckpointError(f"{path} is not plain YAML ({error})") from error
    data = config.get("data", {}) if isinstance(config, dict) else None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a run's configuration: expected a mapping under data")
    return data


def _feature_rate(saved: SavedCheckpoint) -> object:
    rate = _spec(saved, "feature")["init_args"].get("sample_rate")
    if rate is None:
        raise CheckpointError(
            f"{saved.folder} does not say the sample rate: expected sample_rate in {STATE_FILE}"
        )
    return rate


def _whole(value: object, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise CheckpointError(
            f"{name} is {shown(value)}, expected a whole number from {least} to {most}"
        )
    return value


def _spec(saved: SavedCheckpoint, part: str) -> Spec:
    found: Spec = saved.state.own.get(part, {})
    match found:
        case {"class_path": str(), "init_args": dict()}:
            return found
    raise _wrong(saved, part, found, "class_path and init_args")


def _count(saved: SavedCheckpoint, name: str) -> int | None:
    value = saved.state.own.get(name, 0)
    if value is not None and (type(value) is not int or not 1 <= value <= _MOST_CLASSES):
        raise _wrong(saved, name, value, f"a whole number from 1 to {_MOST_CLASSES}, or null")
    return value


def _number(saved: SavedCheckpoint, name: str) -> float | None:
    value = saved.state.own.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise _wrong(saved, name, value, "a number or null")
    return value


def _imports(saved: SavedCheckpoint) -> list[str]:
    found: list[str] = saved.state.own.get("imports", [])
    is_list = isinstance(found, list) and len(found) <= _MOST_IMPORTS
    if not is_list or not all(isinstance(name, str) and is_module_name(name) for name in found):
        raise _wrong(saved, "imports", found, f"names of at most {_MOST_IMPORTS} modules")
    return found


def _threshold_speech(saved: SavedCheckpoint) -> SpeechOptions:
    match saved.state.extra.get("calibrated_on"):
        case {"vad": None | "silero" | "energy" | "own" as vad, "level_norm": bool(level_norm)}:
            return SpeechOptions(vad, level_norm)
    return SpeechOptions()


def _backend(saved: SavedCheckpoint) -> Backend:
    record = saved.state.extra.get(BACKEND_KEY)
    if record is None:
        return COSINE
    content = saved.read(BACKEND_FILE) if saved.has(BACKEND_FILE) else None
    try:
        return Backend.read(record, content)
    except ValueError as error:
        raise CheckpointError(
            f"{saved.folder} has a back end that cannot be used ({error}): calibrate the model "
            "again (vprtrain calibrate)"
        ) from error


def _flag(saved: SavedCheckpoint, name: str) -> bool:
    value = saved.state.own.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(saved, name, value, "true or false")
    return value


def _class_share(saved: SavedCheckpoint) -> float:
    match saved.state.own.get("head"):
        case None:
            return 1.0
        case {"class_share": float(share)} if 0 < share <= 1:
            return share
        case other:
            raise _wrong(saved, "head", other, "a class_share above 0, of 1 at most")


def _wrong(saved: SavedCheckpoint, name: str, value: object, expected: str) -> CheckpointError:
    return CheckpointError(
        f"{saved.folder / STATE_FILE} is not a speaker model's: its {name} is {shown(value)}, "
        f"expected {expected}"
    )
