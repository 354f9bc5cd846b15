"""The published models, as ``models.yaml`` beside this file lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from vprtrain.errors import UsageError

_FILE = Path(__file__).with_name("models.yaml")


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel of the package index, of which one file is used."""

    package: str
    version: str
    python: str
    """The version of CPython in the wheel's name, for example ``3.11``."""
    platform: str
    """The platform in the wheel's name."""
    size: int
    """Of the wheel, in bytes."""
    sha256: str
    member: str
    """The path of the file in the wheel."""

    def __str__(self) -> str:
        return f"{self.package} {self.version} of the package index ({megabytes(self.size)})"


@dataclass(frozen=True, kw_only=True)
class Url:
    """A file on a web server, reached by HTTPS only."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model that others have published."""

    name: str
    about: str
    languages: tuple[str, ...]
    """The languages of the training data."""
    licence: str
    page: str
    """The publisher's description."""
    toolkit: str
    """As in :func:`vprtrain.conversion.convert`."""
    size: int
    """Of the model's file, in bytes."""
    sha256: str
    """Of the model's file."""
    source: Wheel | Url
    tried: bool
    """Whether this project has fetched the file from its source."""
    eer: Mapping[str, float] | None
    """The EER (a fraction) by test set, as this project measured it."""

    def to_json(self) -> dict[str, Any]:
        """The JSON object that ``vprtrain pretrained --json`` lists."""
        return {**asdict(self), "languages": list(self.languages)}


def read_catalogue() -> dict[str, PublishedModel]:
    """All published models, by name."""
    listed = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: _model(name, **entry) for name, entry in listed.items()}


def find_model(name: str) -> PublishedModel:
    """The published model of this name.

    Raises:
        UsageError: there is none.
    """
    models = read_catalogue()
    if name not in models:
        nearest = get_close_matches(name, models, 1)
        hint = f"the closest is {nearest[0]!r}" if nearest else f"known are {', '.join(models)}"
        raise UsageError(
            f"{name!r} is not a published model: {hint} (vprtrain pretrained lists them)"
        )
    return models[name]


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:.1f} MB"


def _model(
    name: str, *, languages: list[str], source: Mapping[str, Any], **others: Any
) -> PublishedModel:
    origin = Url(**source) if "url" in source else Wheel(**source)
    return PublishedModel(name=name, languages=tuple(languages), source=origin, **others)
