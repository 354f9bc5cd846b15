"""Samples of odd and bad recordings, as vprtrain and as FFmpeg's own program read them.

    python benchmarks/odd_audio.py FOLDER [FOLDER ...]

FFmpeg's program comes with ``imageio-ffmpeg`` or is on the PATH; without it that column is empty.
The last column is what vprtrain says: the time, with what was lost, or the refusal.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path
from shutil import which

from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.reading import AudioError


def program() -> str | None:
    try:
        import imageio_ffmpeg
    except ImportError:
        return which("ffmpeg")
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_samples(ffmpeg: str, path: Path) -> int:
    decode = ["-map", "0:a:0", "-ac", "1", "-c:a", "pcm_s16le", "-f", "s16le", "-"]
    done = subprocess.run(
        [ffmpeg, "-v", "quiet", "-nostdin", "-i", f"file:{path}", *decode], capture_output=True
    )
    return len(done.stdout) // 2


def describe(path: Path) -> tuple[str, str]:
    """The samples of a file, and what is said of it."""
    begun = time.thread_time()
    try:
        found = examine_audio(path)
    except AudioError as error:
        return "-", "refused: " + str(error).removeprefix(f"{path}: ")
    milliseconds = (time.thread_time() - begun) * 1000
    said = f"{found.seconds:.2f} s in {milliseconds:.1f} ms"
    return str(found.samples), f"{said}; {found.damage}" if found.damage else said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    ffmpeg = program()
    print(f"{'file':42} {'vprtrain':>10} {'ffmpeg':>10}  verdict")
    for folder in options.folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            samples, said = describe(path)
            independent = ffmpeg_samples(ffmpeg, path) if ffmpeg else ""
            print(f"{path.name[:42]:42} {samples:>10} {independent:>10}  {said}")


if __name__ == "__main__":
    main()
