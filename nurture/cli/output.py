"""How commands speak: one JSON document, or a table for a person; a problem is one line and exit code 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
WorkspaceDir = Annotated[
    Path, typer.Option("--workspace", "-C", help="The workspace folder.", show_default="the current folder")
]

# a pipe has no width: cut nothing off
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)


def plain(value: Any) -> Any:
    """Values as JSON has them; times as RFC 3339 in UTC."""
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return int(value)
    return value


def print_json(document: Any) -> None:
    """The whole output of a command with `--json`."""
    typer.echo(json.dumps(plain(document), ensure_ascii=False, indent=2))


def print_table(rows: Sequence[Mapping[str, Any]], *, title: str | None = None) -> None:
    """Rows for a person. Cells are text, never markup: a lead may be called `[bold]`."""
    if not rows:
        console.print(Text(f"{title}: nothing yet" if title else "nothing yet"))
        return
    table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left")
    for name in rows[0]:
        table.add_column(str(name))
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(table)


def printable(text: str) -> str:
    """Text from outside without the control characters that would command a terminal."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items()) or "–"
    if isinstance(value, float):
        return f"{value:g}"
    return printable(str(plain(value)))
