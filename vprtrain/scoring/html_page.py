"""The parts of a report's page: HTML without a reference to anything outside the file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vprtrain.errors import printable

# The policy tells a browser to load nothing; the images are in the page as data.
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ text-align: left; padding: 0.25em 0.8em; border-bottom: 1px solid #ddd; }}
th, td {{ overflow-wrap: anywhere; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


def html_page(title: str, parts: Iterable[str]) -> str:
    """A page of parts that the other functions have made."""
    return "".join([_HEAD.format(title=escaped(title)), *parts, "</body>\n</html>\n"])


def heading(text: str) -> str:
    """A heading."""
    return f"<h2>{escaped(text)}</h2>\n"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escaped(text)}</p>\n"


def image(name: str, data: bytes) -> str:
    """A PNG file as a part of the page."""
    encoded = base64.b64encode(data).decode()
    return f'<p><img alt="{escaped(name)}" src="data:image/png;base64,{encoded}"></p>\n'


def numbers_table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Rows of a name and of numbers."""
    lines = ["<tr>" + "".join(f"<th>{escaped(cell)}</th>" for cell in header) + "</tr>\n"]
    for name, *cells in rows:
        numbers = "".join(f'<td class="number">{escaped(cell)}</td>' for cell in cells)
        lines.append(f"<tr><th>{escaped(name)}</th>{numbers}</tr>\n")
    return _table(lines if header else lines[1:])


def facts_table(facts: Mapping[str, Any]) -> str:
    """A row for each fact that is not ``None``."""
    return _table(
        f"<tr><th>{escaped(name.replace('_', ' '))}</th><td>{escaped(_as_text(value))}</td></tr>\n"
        for name, value in facts.items()
        if value is not None
    )


def escaped(text: str) -> str:
    """Text of strangers as a part of the page: no markup, and nothing that hides or reorders."""
    return html.escape(printable(text))


def _table(rows: Iterable[str]) -> str:
    return f"<table>\n{''.join(rows)}</table>\n"


def _as_text(value: Any) -> str:
    """A JSON value for people; a class is its name and its arguments."""
    match value:
        case {"class_path": str(path), "init_args": Mapping() as arguments}:
            return f"{path} ({_as_text(arguments)})"
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_as_text(each)}" for name, each in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
