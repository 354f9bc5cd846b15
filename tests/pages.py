"""The pages of documentation, and the blocks in them that tests run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *ROOT.glob("README*.md"),
        *ROOT.glob("recipes/*/README.md"),
        ROOT / "CONTRIBUTING.md",
    ]
)
TRANSLATED = {
    ROOT / "README.zh-CN.md": ROOT / "README.md",
    **{page: DOCS / page.relative_to(DOCS / "zh") for page in (DOCS / "zh").rglob("*.md")},
}
"""The pages in Chinese, and the page that each is a translation of. Its blocks are the same."""
LANGUAGES = ("bash", "python", "yaml", "text")

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"<!-- (not run|run with|command|printed)(?:: (.+?))? -->")
_STAND_INS = re.compile(r"<!-- stand-ins: (.+?) -->")


class Block(NamedTuple):
    """A fenced block of a page.

    A comment in the line before it may be one of these marks:

    - ``not run: REASON``: it is not executed. Its commands are parsed all the same.
    - ``run with: OPTIONS``: ``vprtrain fit`` gets these options too, which shorten it.
    - ``command: NAME``: ``.ci/run`` executes it.
    - ``printed``: the output of the block before, numbers within a tolerance.
    """

    line: int
    language: str
    title: str | None
    """The file that the block is (a part of)."""
    text: str
    mark: str | None
    about: str
    """What the mark says."""

    @property
    def is_run(self) -> bool:
        return self.mark not in ("not run", "command")


def blocks(page: Path) -> list[Block]:
    """The page's blocks, in order."""
    text, found = page.read_text(encoding="utf-8"), []
    for fence in FENCE.finditer(text):
        before = text[: fence.start()].rstrip().rpartition("\n")[2].strip()
        mark = _MARK.fullmatch(before)
        lines = fence["text"].splitlines(keepends=True)
        dedented = "".join(line.removeprefix(fence["indent"]) for line in lines)
        found.append(
            Block(
                text.count("\n", 0, fence.start()) + 1,
                fence["language"],
                fence["title"],
                dedented,
                mark and mark[1],
                (mark and mark[2]) or "",
            )
        )
    return found


def stand_ins(page: Path) -> list[str]:
    """What the page finds in its folder when it is run; see stand_ins.py."""
    found = _STAND_INS.search(page.read_text(encoding="utf-8"))
    return found[1].split(", ") if found else []


def name(page: Path) -> str:
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()
