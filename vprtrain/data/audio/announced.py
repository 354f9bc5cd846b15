"""What the bytes of MP3 and Ogg files say about their length, which FFmpeg does not hand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_CUR

from vprtrain.data.audio.files import Window

_HEAD, _CHUNK = 4096, 1 << 20  # bytes
_OGG_PAGE = b"OggS\0"
_FIRST_PAGES = (_OGG_PAGE + b"\2", _OGG_PAGE + b"\6")  # of a stream, by the flags
_MOST_REMEMBERED = 10_000
_chained: dict[tuple[int, ...], bool] = {}


def mp3_frames(file: Window) -> int | None:
    """The number of frames in the Xing or Info header of an MP3 file; ``None`` without one."""
    with _kept_place(file):
        file.seek(0)
        start = 0
        head = file.read(10) or b""
        if head[:3] == b"ID3" and len(head) == 10:  # the size has 7 bits in each of four bytes
            start = 10
            for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True):
                start += (byte & 127) << shift
        file.seek(start)
        head = file.read(_HEAD) or b""
    place = max(head.find(b"Xing"), head.find(b"Info"))
    if place < 0 or not head[place + 7 : place + 8] or not head[place + 7] & 1:
        return None
    return int.from_bytes(head[place + 8 : place + 12], "big") or None


def is_chained(file: Window) -> bool:
    """True if an Ogg file has several streams one after the other.

    The whole file is searched; the answers for the last files on disk are remembered.
    """
    identity = file.identity()
    known = None if identity is None else _chained.get(identity)
    if known is not None:
        return known
    with _kept_place(file):
        chained = _begins_again(file)
    if identity is not None:
        if len(_chained) >= _MOST_REMEMBERED:
            _chained.clear()
        _chained[identity] = chained
    return chained


def _begins_again(file: Window) -> bool:
    """True if a stream's first page comes after another page that is not a first one."""
    file.seek(0)
    rest, begun = b"", False
    while chunk := file.read(_CHUNK):
        rest += chunk
        place = 0
        if not begun:
            while rest.startswith(_FIRST_PAGES, place):
                place = max(rest.find(_OGG_PAGE, place + 1), 0) or len(rest)
            begun = place < len(rest)
        if begun and any(rest.find(page, place) >= 0 for page in _FIRST_PAGES):
            return True
        rest = rest[-len(_OGG_PAGE) :]
    return False


@contextmanager
def _kept_place(file: Window) -> Iterator[None]:
    place = file.seek(0, SEEK_CUR)
    try:
        yield
    finally:
        file.seek(place)
