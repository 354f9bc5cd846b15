"""Whether a file is a recording, by its content: by its first bytes, and by the decoders only in
doubt."""

from __future__ import annotations

import codecs
from codecs import BOM_UTF16_BE, BOM_UTF16_LE

from vprtrain.data.audio.reading import AudioError, audio_duration
from vprtrain.data.preparation.decoding import decoding
from vprtrain.files import StrPath, open_file

_HEAD = 512
_RECORDINGS = (
    *(b"RIFX", b"RF64", b"BW64", b"riff\x2e\x91\xcf\x11", b"fLaC", b"OggS", b"ID3", b".snd"),
    *(b"caff", b"#!AMR", b"NIST_1A", b"\x30\x26\xb2\x75", b"\x1a\x45\xdf\xa3", b"FLV\x01"),
    *(b"MAC ", b"wvPk", b"TTA1", b"Creative Voice File"),
)
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_OTHERS = (
    *(b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"%PDF"),
    *(b"SQLite format 3", b"\x93NUMPY", b"\x7fELF", b"\x80\x02", b"\x80\x03", b"\x80\x04"),
)
_IMAGE_BRANDS = {b"heic", b"heix", b"heim", b"mif1", b"msf1", b"avif", b"avis"}


def reason_to_skip(path: StrPath) -> str | None:
    """Why a file is not a recording; ``None`` if it is one.

    Whether a recording can be used is not examined here.
    """
    try:
        with open_file(path) as file:
            head = file.read(_HEAD)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    if not head:
        return "empty"
    if head.startswith(_RECORDINGS):
        return None
    if head.startswith((b"RIFF", b"FORM")) and head[8:12] != b"WEBP":
        return None
    if head[4:8] == b"ftyp" and head[8:12] not in _IMAGE_BRANDS:
        return None
    if head.startswith((*_IMAGES, b"RIFF")) or head[4:8] == b"ftyp":
        return "an image"
    if _is_text(head):
        return "text"
    if head.startswith(_OTHERS):
        return "not audio"
    try:
        with decoding(path):
            audio_duration(path)
    except AudioError:
        return "not audio"
    return None


def _is_text(head: bytes) -> bool:
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
