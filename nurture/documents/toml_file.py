"""TOML with positions: `tomllib` reads the values and judges the syntax, the locator here finds where each one stands.

The locator is only asked about text that `tomllib` took, so it checks nothing again.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path as FilePath

from nurture.documents.document import TOP, Document, Mark, Path
from nurture.documents.finding import Finding
from nurture.documents.source import DEEPEST, read_source

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}' + r"|'''(?:[^']|'(?!''))*'{3,5}" + r'|"(?:[^"\\]|\\.)*"' + r"|'[^']*'",
    re.DOTALL,
)
_ATOM = re.compile(r"[^,\]}\n#]*")
_WHERE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class _TooDeep(Exception):
    """The nesting is deeper than DEEPEST; carries its mark."""

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark


def read_toml(root: FilePath, file: str) -> tuple[Document | None, list[Finding]]:
    """The document of `file` (relative to `root`), or None where it cannot be read, and what is wrong with it."""
    source = read_source(root, file)
    if isinstance(source, Finding):
        return None, [source]
    return parse_toml(source, file)


def parse_toml(text: str, file: str) -> tuple[Document | None, list[Finding]]:
    """As `read_toml`, from text."""
    try:
        values = tomllib.loads(text)
        locator = _Locator(text)
        locator.run()
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax(str(error), text, file)]
    except (_TooDeep, RecursionError) as error:
        mark = error.mark if isinstance(error, _TooDeep) else TOP
        message = f"more than {DEEPEST} levels"
        return None, [Finding(file=file, line=mark.line, column=mark.column, code="too-deep", message=message)]
    return Document(file=file, data=values, keys=locator.keys, values=locator.values), []


def _syntax(message: str, text: str, file: str) -> Finding:
    where = _WHERE.search(message)
    if where and where[1]:
        line, column = int(where[1]), int(where[2])
    else:
        line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
    said = _WHERE.sub("", message)
    cure = ": put text in quotes" if said == "Invalid value" else ""
    return Finding(file=file, line=line, column=column, code="syntax", message=f"not valid TOML: {said}{cure}")


class _Locator:
    """One walk over the text, noting where keys and values begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {(): TOP}
        self._tables: dict[Path, int] = {}
        """How many tables each array of tables has so far."""
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def run(self) -> None:
        table: Path = ()
        self._skip(_GAP)
        while self.place < len(self.text):
            if self.text[self.place] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)

    def _header(self) -> Path:
        start = self._mark(self.place)
        repeated = self.text.startswith("[[", self.place)
        self.place += 2 if repeated else 1
        path: Path = ()
        parts = self._key()
        for index, (part, mark) in enumerate(parts):
            path = (*path, part)
            self._note(path, mark, start)
            if path not in self._tables and not (repeated and index == len(parts) - 1):
                continue
            if repeated and index == len(parts) - 1:
                self._tables[path] = self._tables.get(path, 0) + 1
            path = (*path, self._tables[path] - 1)
            self.values.setdefault(path, start)
        self.place += 2 if repeated else 1
        return path

    def _pair(self, table: Path, depth: int = 1) -> None:
        path = table
        parts = self._key()
        self.place += 1  # the equals sign
        self._skip(_BLANK)
        value = self._mark(self.place)
        for part, mark in parts:
            path = (*path, part)
            self._note(path, mark, value)
        self._value(path, depth)

    def _key(self) -> list[tuple[str, Mark]]:
        """The parts of a bare, quoted or dotted key, up to `=` or `]`."""
        parts = []
        while True:
            self._skip(_BLANK)
            mark = self._mark(self.place)
            match = _STRING.match(self.text, self.place) or _BARE_KEY.match(self.text, self.place)
            assert match is not None  # tomllib took it
            said = match[0]
            name = next(iter(tomllib.loads(f"{said} = 0"))) if said[0] in "\"'" else said
            parts.append((name, mark))
            self.place = match.end()
            self._skip(_BLANK)
            if self.text[self.place] != ".":
                return parts
            self.place += 1

    def _value(self, path: Path, depth: int) -> None:
        if depth > DEEPEST:
            raise _TooDeep(self._mark(self.place))
        first = self.text[self.place]
        if first == "[":
            self._array(path, depth)
        elif first == "{":
            self._inline_table(path, depth)
        else:
            match = _STRING.match(self.text, self.place) or _ATOM.match(self.text, self.place)
            assert match is not None  # an atom matches anything
            self.place = match.end()

    def _array(self, path: Path, depth: int) -> None:
        self.place += 1
        index = 0
        while self._skip(_GAP) and self.text[self.place] != "]":
            self.values[(*path, index)] = self._mark(self.place)
            self._value((*path, index), depth + 1)
            index += 1
            self._skip(_GAP)
            if self.text[self.place] == ",":
                self.place += 1
        self.place += 1

    def _inline_table(self, path: Path, depth: int) -> None:
        self.place += 1
        while self._skip(_GAP) and self.text[self.place] != "}":
            self._pair(path, depth + 1)
            self._skip(_GAP)
            if self.text[self.place] == ",":
                self.place += 1
        self.place += 1

    def _note(self, path: Path, key: Mark, value: Mark) -> None:
        self.keys.setdefault(path, key)
        self.values.setdefault(path, value)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.place)
        if match is not None:
            self.place = match.end()
        return True

    def _mark(self, place: int) -> Mark:
        low, high = 0, len(self._line_starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._line_starts[middle] <= place else (low, middle)
        return Mark(line=low + 1, column=place - self._line_starts[low] + 1)
