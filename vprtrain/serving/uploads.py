"""The recordings in a request: a raw body, a multipart form, or base64 in JSON. They stay in
memory."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator
from http import HTTPStatus

import anyio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from vprtrain.files import parse_json
from vprtrain.serving.problems import ProblemError
from vprtrain.serving.settings import Limits

_MOST_JSON_PARTS = 1000
"""Braces, brackets and commas: base64 has none, and many of them would take much memory."""
_RAW = ("audio/", "video/", "application/octet-stream", "application/ogg")


async def recordings(request: Request, fields: tuple[str, ...], limits: Limits) -> list[bytes]:
    """The recordings of a request, in the order of ``fields``.

    Args:
        fields: the names in a form or in JSON; a raw body is the only one of them. A field may be
            there several times, or be a list, unless there are several.

    Raises:
        ProblemError: the body is too large or too slow, is of another kind, or lacks a field.
    """
    try:
        with anyio.fail_after(limits.time_limit):
            found = await _by_field(request, fields, limits)
    except TimeoutError as error:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body did not come within {limits.time_limit:g} s: send it faster",
        ) from error
    wrong = [name for name in found if name not in fields]
    missing = [name for name in fields if not found.get(name)]
    if wrong or missing:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"found the fields {', '.join(sorted(found)) or 'none'!s:.200}; expected "
            f"{' and '.join(fields)}, with a recording in each",
        )
    if len(fields) > 1 and any(len(each) > 1 for each in found.values()):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "expected one recording in each field")
    contents = [content for name in fields for content in found[name]]
    if len(contents) > limits.max_recordings:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"found {len(contents)} recordings; expected at most {limits.max_recordings}",
        )
    return contents


async def _by_field(
    request: Request, fields: tuple[str, ...], limits: Limits
) -> dict[str, list[bytes]]:
    kind = request.headers.get("content-type", _RAW[2]).partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form(request, limits)
    if kind == "application/json":
        return _from_json(await _whole(request, limits))
    if kind.startswith(_RAW) and len(fields) == 1:
        return {fields[0]: [await _whole(request, limits)]}
    raw = "a recording as the body (audio/*), " if len(fields) == 1 else ""
    raise ProblemError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"the body is {kind[:80]}; expected {raw}multipart/form-data, or application/json with "
        "base64",
    )


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body in chunks, up to the limit."""
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdecimal() else 0
    received = 0
    if size <= limits.max_bytes:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limits.max_bytes:
                break
            yield chunk
    if max(size, received) > limits.max_bytes:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has more than {limits.max_bytes >> 20} MB: send less, or compressed audio",
        )


async def _whole(request: Request, limits: Limits) -> bytes:
    return b"".join([chunk async for chunk in _bounded(request, limits)])


async def _form(request: Request, limits: Limits) -> dict[str, list[bytes]]:
    parser = MultiPartParser(
        request.headers,
        _bounded(request, limits),
        max_files=limits.max_recordings + 1,
        max_fields=0,
    )
    parser.spool_max_size = limits.max_bytes + 1  # never on a disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:  # KeyError: no boundary
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"the form cannot be read ({' '.join(str(error).split())[:200]}): expected the "
            "recordings as files in multipart/form-data",
        ) from error
    found: dict[str, list[bytes]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            found.setdefault(name, []).append(await value.read())
    await form.close()
    return found


def _from_json(body: bytes) -> dict[str, list[bytes]]:
    try:
        if sum(map(body.count, (b"{", b"[", b","))) > _MOST_JSON_PARTS:
            raise ValueError("it has too many values")
        content = parse_json(body)
    except ValueError as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, f"the body is not JSON ({str(error)[:200]})"
        ) from error
    if not isinstance(content, dict):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the body is JSON, but no object: expected one"
        )
    return {
        str(name): [_decoded(each, str(name)) for each in _as_list(value)]
        for name, value in content.items()
    }


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _decoded(value: object, name: str) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the field {name[:80]} is not base64 ({error}): expected a recording in base64",
        ) from error
    raise ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"the field {name[:80]} is a {type(value).__name__}; expected a recording in base64",
    )
