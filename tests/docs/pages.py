"""Pages of the documentation as tests read them: the tables and the blocks of code under a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"
Row = dict[str, str]


def rows(page: str, heading: str) -> list[Row]:
    """The rows of the only table under this heading, each by the names of its columns; a name may be empty."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    head, ruler, *body = [_cells(line) for line in lines]
    assert set("".join(ruler)) == {"-"}, f"{page}: '{heading}' has no table, or more than one"
    return [dict(zip(head, cells, strict=True)) for cells in body]


def blocks(page: str, heading: str, language: str) -> list[str]:
    """The blocks of code in this language under this heading."""
    return [text for said, text in _fences(section(page, heading)) if said == language]


def section(page: str, heading: str) -> str:
    """What stands under a heading, as far as the next one."""
    found, _, text = (DOCS / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert text, f"{page}: no heading '{heading}' below {found[:40]!r}"
    return re.split(r"\n## ", text)[0]


def ticked(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _fences(text: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]
