"""Attacks by audio files: they stand for no other file, take no memory, and do not end the
process."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from encoded_audio import Kind, encoded, made, speech_like
from limited import run_limited

from vprtrain.data.audio import ffmpeg
from vprtrain.data.audio.files import ByteRange, InMemory
from vprtrain.data.audio.reading import AudioError, audio_duration, read_audio

PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {name}\n",
    "ffconcat with a path": "ffconcat version 1.0\nfile {path}\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{path}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT4S"><Period><AdaptationSet mimeType="audio/mp4"><Representation '
    'id="0" bandwidth="64000"><BaseURL>{path}</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio 5004 RTP/AVP 0\n",
    "image sequence": "{path}%03d.png",
    "pls": "[playlist]\nFile1={path}\nNumberOfEntries=1\n",
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim.flac"
    path.write_bytes(made("flac"))
    return path


@pytest.mark.parametrize("suffix", ["wav", "ffconcat", "m3u8", "mpd", "sdp"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_text_file_does_not_stand_for_another_recording(
    victim: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    monkeypatch.chdir(victim.parent)
    content = PLAYLISTS[kind].format(name=victim.name, path=victim).encode()
    path = victim.with_name(f"attack.{suffix}")
    path.write_bytes(content)
    archive = victim.with_name("archive")
    archive.write_bytes(b"xxxx" + content)
    for audio in (
        path,
        path.name,
        InMemory("attack.wav", content),
        ByteRange(str(archive), 4, len(content)),
    ):
        for read in (read_audio, audio_duration):
            with pytest.raises(AudioError, match="cannot be decoded as audio") as error:
                read(audio)
            assert "\n" not in str(error.value)


def test_ffmpeg_opens_no_second_file(victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a format that refers to files is let through."""
    monkeypatch.setattr(ffmpeg, "FORMATS", "concat,flac")
    monkeypatch.chdir(victim.parent)
    content = PLAYLISTS["ffconcat"].format(name=victim.name).encode()
    with pytest.raises(AudioError, match="a playlist, or not a format that is read"):
        read_audio(InMemory("attack.wav", content))


def test_every_format_that_is_let_through_exists() -> None:
    import av

    known = {name for names in av.formats_available for name in names.split(",")}
    used = set(ffmpeg.FORMATS.split(","))
    assert used <= known
    assert not {"concat", "hls", "dash", "image2", "sdp", "imf", "lavfi"} & used


CODECS_OF_8 = {
    "aac": "ipod",
    "libopus": "matroska",
    "flac": "matroska",
    "tta": "tta",
    "pcm_s16le": "matroska",
    "wavpack": "matroska",
}
LAYOUTS = {"7.1": 8, "7.1(wide)": 8, "9C": 9, "hexadecagonal": 16, "22.2": 24}
MANY_CHANNELS = [
    *((codec, format, "7.1") for codec, format in CODECS_OF_8.items()),
    ("alac", "ipod", "7.1(wide)"),
    *(("pcm_f32le", "matroska", layout) for layout in LAYOUTS),
]


def test_many_channels_do_not_end_the_process(tmp_path: Path) -> None:
    for codec, format, layout in MANY_CHANNELS:
        kind = Kind(format, codec, 48000)
        samples = speech_like(1, kind.rate, channels=LAYOUTS[layout])
        path = tmp_path / f"{format} {codec} {layout}"
        path.write_bytes(encoded(kind, samples, layout=layout))
        np.save(f"{path}.npy", samples)
    run_limited(
        """
from pathlib import Path
import numpy as np
from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.reading import read_audio
for path in sorted(Path(sys.argv[1]).iterdir()):
    if path.suffix == ".npy":
        continue
    samples = np.load(f"{path}.npy")
    found = examine_audio(path)
    assert found.channels == len(samples), (path, found)
    for channel in (0, len(samples) - 1, "mix"):
        if "aac" in path.name and channel == "mix":
            continue  # its channel of low frequencies has only these
        expected = samples.mean(axis=0) if channel == "mix" else samples[channel]
        read = read_audio(path, sample_rate=found.rate, channel=channel)[: len(expected)]
        likeness = np.corrcoef(read, expected[: len(read)])[0, 1]
        assert likeness > 0.9, (path.name, channel, likeness)
""",
        tmp_path,
    )


def png(side: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return len(content).to_bytes(4, "big") + name + content + checksum.to_bytes(4, "big")

    size = side.to_bytes(4, "big")
    rows = zlib.compress(bytes((1 + 4 * side) * side), 9)
    header = chunk(b"IHDR", size + size + bytes([8, 6, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_cover_picture_is_not_decoded(tmp_path: Path) -> None:
    """This one of 0.3 MB would take 350 MB."""
    picture = b"\0image/png\0\x03\0" + png(8000)
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    (tmp_path / "a.mp3").write_bytes(b"ID3\x03\0\0" + size + frame + made("mp3"))
    said, _ = run_limited(
        """
from vprtrain.data.audio.reading import read_audio
import av
before = peak_memory()
read_audio(sys.argv[1])
print(peak_memory() - before)
""",
        tmp_path / "a.mp3",
    )
    assert int(said) < 50 << 20


def test_a_table_of_samples_takes_no_memory(tmp_path: Path) -> None:
    """A header of MP4 can say that it has millions of samples of 8 bytes."""
    data = bytearray(made("m4a"))
    sizes, chunks = data.find(b"stsz"), data.find(b"stsc")
    data[sizes + 8 : sizes + 16] = struct.pack(">II", 8, 60_000_000)
    for entry in range(int.from_bytes(data[chunks + 8 : chunks + 12], "big")):
        place = chunks + 16 + 12 * entry
        data[place : place + 4] = struct.pack(">I", 60_000_000)
    (tmp_path / "a.m4a").write_bytes(data)
    said, peak = run_limited(
        """
from vprtrain.data.audio.reading import AudioError, read_audio
try:
    print(len(read_audio(sys.argv[1])))
except AudioError as error:
    print(error)
""",
        tmp_path / "a.m4a",
    )
    assert said and "\n" not in said
    assert peak < 1e9
