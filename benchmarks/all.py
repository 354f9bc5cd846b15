"""The tables of docs/benchmarks, from one command.

    python benchmarks/all.py SPEECH CHECKPOINT OUT [--peer PYTHON]
    [--torch PYTHON --toolkits FOLDER] [--only "NAME [OPTIONS]" ...]

``SPEECH``, ``CHECKPOINT``, ``PYTHON`` and ``FOLDER`` are those of the scripts; without ``--peer``,
nothing is compared with ppvector, without ``--torch`` nothing with PyTorch. Each script runs in a
process of its own, one after the other. Its files are kept in ``OUT/NAME``, its table in
``OUT/NAME.txt`` under the command and the machine, and what else it said in ``OUT/NAME.log``. A
second call runs only what has no table yet, or has one of another command. ``OUT/benchmarks.md``
has all tables that are in ``OUT``. ``--only`` chooses scripts, with further options for each. The
exit status is 1 if a script failed.
"""

from __future__ import annotations

import argparse
import ast
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from machine import machine

HERE = Path(__file__).parent
PEER = "--peer={peer}"
TOOLKITS = ("--torch={torch}", "--toolkits={toolkits}")
OPTIONAL = (PEER, *TOOLKITS)
CONVERSATIONS = (
    "--checkpoint={checkpoint}",
    "--speech={speech}",
    "--conversations={conversations}",
)
ARGUMENTS = {
    "real_speech": ("{speech}", "{out}"),
    "fine_tuning": ("{speech}", "{checkpoint}", "{out}"),
    "back_ends": ("{speech}", "{checkpoint}", "{out}"),
    "equal_budget": ("{speech}", "{out}", PEER),
    "conversations": ("{speech}", "{out}"),
    "diarization": CONVERSATIONS,
    "live": (*CONVERSATIONS, "--only=*[23]_*"),
    "inference": OPTIONAL,
    "many": (),
    "serving": ("--checkpoint={checkpoint}",),
    "voiceprints": (PEER,),
    "scoring": (),
    "chaos": (),
    "chaos_ranks": (),
    "scaling": (),
    "classes": (),
    "models": OPTIONAL,
    "losses": (PEER,),
    "features": (PEER,),
    "data": (PEER,),
    "loading": (),
    "saving": (),
    "engine_overhead": (),
    "odd_audio": ("{speech}/odd_audio", "{speech}/bad_audio"),
}
"""The scripts in the order of the page, and what each is given"""


def command(name: str, further: Sequence[str], given: Mapping[str, object]) -> list[str]:
    """The command of a script."""
    arguments = [
        argument.format_map(given)
        for argument in ARGUMENTS[name]
        if argument not in OPTIONAL or argument[2:].partition("=")[0] in given
    ]
    return ["python", f"benchmarks/{name}.py", *arguments, *further]


def run(arguments: Sequence[str], table: Path) -> bool:
    """Run a script unless its table is there; whether there is one now."""
    title = f"$ {shlex.join(arguments)}\n"
    if table.exists() and table.read_text(encoding="utf-8").startswith(title):
        return True
    print(title, end="", flush=True)
    before = machine()
    with open(table.with_suffix(".log"), "w", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, HERE / Path(arguments[1]).name, *arguments[2:]],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.write(done.stdout if done.returncode else "")
    if done.returncode:
        print(f"status {done.returncode}: see {log.name}", flush=True)
        return False
    new = table.with_suffix(".new")
    new.write_text(f"{title}{before}\n\n{done.stdout}", encoding="utf-8")
    new.replace(table)
    return True


def section(name: str, table: Path) -> str:
    """A part of the page: what was measured, with which command, where, and the table."""
    script = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    about = (ast.get_docstring(script) or "").partition("\n\n")[0]
    title, where, _, *found = table.read_text(encoding="utf-8").rstrip().split("\n")
    is_markdown = any(line.startswith("|") for line in found)
    lines = found if is_markdown else ["```text", *found, "```"]
    shown = ["```bash", title.removeprefix("$ "), "```"]
    return "\n".join([f"## {name}", "", about, "", *shown, "", f"{where}.", "", *lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("speech", "checkpoint", "out"):
        parser.add_argument(name, metavar=name.upper(), type=Path)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--toolkits", metavar="FOLDER", help="needed by --torch")
    parser.add_argument("--only", metavar="NAME", nargs="+", default=list(ARGUMENTS))
    options = parser.parse_args()
    given = {name: value for name, value in vars(options).items() if value is not None}
    given["conversations"] = options.out / "conversations"
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [shlex.split(each) for each in options.only]
    for name, *_ in chosen:
        if name not in ARGUMENTS:
            parser.error(f"there is no {name!r}: known are {', '.join(ARGUMENTS)}")
    complete = True
    for name, *further in chosen:
        arguments = command(name, further, given | {"out": options.out / name})
        complete &= run(arguments, options.out / f"{name}.txt")
    tables = {name: options.out / f"{name}.txt" for name in ARGUMENTS}
    parts = [section(name, table) for name, table in tables.items() if table.exists()]
    page = options.out / "benchmarks.md"
    page.write_text("\n".join(["# Benchmarks", "", *parts]), encoding="utf-8")
    print(page)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
