"""A file as a plain tree of values that knows where each key and value stands. Nothing here reads files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nurture.documents.finding import Finding, Level

Path = tuple[str | int, ...]
"""From the root of the document to a value: ("steps", 0, "wait")."""


@dataclass(frozen=True, kw_only=True, order=True)
class Mark:
    """A place, counted from 1 in characters."""

    line: int
    column: int


TOP = Mark(line=1, column=1)


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """A text as it stands in the source, for places inside it. `source` is None where it spans lines."""

    style: Literal["plain", "single", "double", "block"]
    source: str | None
    cut: str | None = None
    """What stands behind ` #` on the line of a plain text, from the spaces before the `#` on."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """`file` is relative to the workspace. Paths that no mark knows take the place of what holds them."""

    file: str
    data: Any
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    values: Mapping[Path, Mark] = field(default_factory=dict)
    scalars: Mapping[Path, Scalar] = field(default_factory=dict)

    def key_at(self, path: Path) -> Mark:
        """Where the key of `path` stands (the value, for an element of a list)."""
        return self.keys[path] if path in self.keys else self.value_at(path)

    def value_at(self, path: Path) -> Mark:
        """Where the value of `path` stands."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.values:
                return self.values[path[:length]]
        return TOP

    def inside(self, path: Path, offset: int) -> Mark:
        """The place of the character at `offset` (from 0) of a text; the text's start where it spans lines."""
        start, scalar = self.value_at(path), self.scalars.get(path)
        if scalar is None or scalar.source is None or scalar.style == "block":
            return start
        return Mark(line=start.line, column=start.column + _source_offset(scalar, offset))

    def holds(self, path: Path) -> bool:
        """Whether there is a value at `path`."""
        return path in self.values

    def finding(self, mark: Mark, code: str, message: str, *, level: Level = "error") -> Finding:
        return Finding(file=self.file, line=mark.line, column=mark.column, level=level, code=code, message=message)


def _source_offset(scalar: Scalar, offset: int) -> int:
    """Characters of the source before the character at `offset` of the text that it says."""
    assert scalar.source is not None
    if scalar.style == "plain":
        return offset
    place = 1  # the opening quote
    for length in _lengths(scalar.source[1:-1], scalar.style):
        if offset <= 0:
            break
        place += length
        offset -= 1
    return place


_ESCAPES = {"x": 4, "u": 6, "U": 10}


def _lengths(source: str, style: str) -> Iterator[int]:
    """How many characters of the source each character of the text takes."""
    place = 0
    while place < len(source):
        length = 1
        if style == "single" and source[place] == "'":
            length = 2
        elif style == "double" and source[place] == "\\":
            length = _ESCAPES.get(source[place + 1 : place + 2], 2)
        yield length
        place += length
