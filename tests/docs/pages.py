"""Pages of the documentation as tests read them: tables, blocks of code, and what they have a reader do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from nurture.cli.main import app

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


def new_workspace(root: Path) -> Path:
    """What `nurture init` writes."""
    nurture("init", str(root))
    return root


def make_edits(page: str, root: Path) -> None:
    """Write the files and make the changes that the page shows, each below a line that ends with its file."""
    for file, language, text in _named(page):
        path = root / file
        if language == "diff":
            _apply(path, text)
        else:
            path.write_text(text, encoding="utf-8")


def commands(page: str, heading: str) -> list[list[str]]:
    """The arguments of each `nurture` command under this heading."""
    lines = "".join(blocks(page, heading, "sh")).replace("\\\n", "").splitlines()
    return [words[1:] for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "nurture"]


def nurture(*arguments: str) -> str:
    """What the command prints, which ends well."""
    result: Result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, f"{arguments}: {result.output}{result.exception}"
    return result.output


def _named(page: str) -> Iterator[tuple[str, str, str]]:
    text = (DOCS / page).read_text(encoding="utf-8")
    for match in re.finditer(r"`([\w./-]+\.\w+)`:?\n\n```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2], match[3]


def _apply(path: Path, diff: str) -> None:
    """A change with its neighbouring lines, as `git diff` shows it."""
    lines = diff.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] != other) for other in "+-")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} does not say once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _fences(text: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]
