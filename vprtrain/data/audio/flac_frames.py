"""Where a FLAC file really ends: its header may name a wrong total, and files may be concatenated.

A decoder that believes the header would drop the rest without a word. See RFC 9639.
"""

from __future__ import annotations

from io import SEEK_END
from itertools import accumulate

from vprtrain.data.audio.files import RawFile

_TAIL = 1 << 17  # bytes; the largest frame of speech is far smaller
_CHUNK = 1 << 20
_START = b"fLaC\x00\x00\x00\x22"  # the marker, and the header of the first block of metadata
_BLOCK_SIZES = {
    1: 192,
    **{2 + n: 576 << n for n in range(4)},
    **{8 + n: 256 << n for n in range(8)},
}
_RATE_BYTES = {12: 1, 13: 2, 14: 2}


def _crc8(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ (0x107 if byte & 0x80 else 0)) & 0xFF
    return byte


_CRC8 = bytes(map(_crc8, range(256)))


def ends_with_sample(file: RawFile) -> int | None:
    """The number of samples of a FLAC file by the header of its last frame.

    Returns:
        ``None`` if no frame is found near the end.
    """
    file.seek(0)
    information = file.read(26) or b""
    largest = int.from_bytes(information[15:18], "big")
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - max(_TAIL, largest)))
    tail = file.read(max(_TAIL, largest)) or b""
    fixed = int.from_bytes(information[8:10], "big")
    place = len(tail)
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        if tail[place + 1 : place + 2] in (b"\xf8", b"\xf9"):
            end = _frame_end(tail[place : place + 16], fixed)
            if end is not None:
                return end
    return None


def starts_again(file: RawFile) -> bool:
    """True if another FLAC file follows inside this one."""
    place = 1  # after the first byte of its own marker
    file.seek(place)
    rest = b""
    while chunk := file.read(_CHUNK):
        rest += chunk
        if _START in rest:
            return True
        rest = rest[1 - len(_START) :]
    return False


def _frame_end(header: bytes, fixed: int) -> int | None:
    """The sample after a frame; ``None`` if these bytes are no header of a frame."""
    if len(header) < 6 or header[3] & 1:
        return None
    number, place = _coded_number(header)
    if number is None:
        return None
    sizes = header[2] >> 4
    if sizes in (6, 7):
        width = sizes - 5
        block = int.from_bytes(header[place : place + width], "big") + 1
        place += width
    elif sizes in _BLOCK_SIZES:
        block = _BLOCK_SIZES[sizes]
    else:
        return None
    place += _RATE_BYTES.get(header[2] & 15, 0)
    *_, checksum = accumulate(header[:place], lambda crc, byte: _CRC8[crc ^ byte], initial=0)
    if header[place : place + 1] != bytes([checksum]):
        return None
    return number + block if header[1] & 1 else number * fixed + block


def _coded_number(header: bytes) -> tuple[int | None, int]:
    """The number of a frame or sample, coded as in UTF-8 from byte 4 on, and the place after it."""
    first = header[4]
    if first < 0x80:
        return first, 5
    length = 8 - (first ^ 0xFF).bit_length()
    if not 2 <= length <= 7 or len(header) < 4 + length:
        return None, 4
    number = first & (0x7F >> length)
    for byte in header[5 : 4 + length]:
        if byte >> 6 != 2:
            return None, 4
        number = number << 6 | byte & 0x3F
    return number, 4 + length
