"""Runs the blocks of a page in order, in the working folder: python page_driver.py STEPS.json

Python blocks share one namespace; bash blocks have a shell each. What each block prints is compared
with the block of output after it, if there is one.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
TOLERANCE = 0.02
"""How far a printed number may be from the page's: other processors round differently."""


def main() -> None:
    sys.path[0] = ""  # modules of the page, as for a program in its folder
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for place, language, title, text in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        if title:
            with open(title, "a", encoding="utf-8") as file:
                file.write(text)
        elif language == "printed":
            _compare(place, text, printed)
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(text, place, "exec"), names)
            printed = output.getvalue()
        else:
            printed = _shell(place, text)


def _shell(place: str, text: str) -> str:
    """Run a bash block; what it prints on standard output."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        sys.exit(f"{place}: status {done.returncode}\n{text}\n{done.stdout}{done.stderr}")
    return done.stdout


def _compare(place: str, expected: str, printed: str) -> None:
    words = [_NUMBER.sub("#", each).split() for each in (expected, printed)]
    numbers = [list(map(float, _NUMBER.findall(each))) for each in (expected, printed)]
    is_close = all(abs(a - b) <= TOLERANCE for a, b in zip(*numbers, strict=False))
    if words[0] != words[1] or not is_close:
        sys.exit(f"{place}: the page shows\n{expected}\nbut the block before prints\n{printed}")


if __name__ == "__main__":
    main()
