"""A CSV file as people have them: any usual encoding and delimiter, line breaks in quotes, broken rows, any size.

Read as a stream in constant memory. A row that can't be read is handed on as broken, and reading goes on at the next
line: an open quote loses its own line, not the file.
"""

from __future__ import annotations

import csv
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from nurture.domain.problem import Problem

LONGEST_CELL = 256 * 1024
LONGEST_LINE = 1024 * 1024
MOST_COLUMNS = 2_000
_SAMPLE = 64 * 1024
_CURE = "export it as CSV in UTF-8"
_NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet or archive",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a compressed file",
    b"SQLite format 3": "a database",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A row with the number of its first line in the file. `fault` says why it can't be read, "" when it can."""

    line: int
    cells: list[str]
    fault: str = ""


class CsvFile:
    """Open with `with`; iterate once. `columns` is the header; `position` of `size` bytes are behind us."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = _size(path)
        self.encoding = _encoding(path)
        self._text: IO[str] | None = None
        self._lines: _Lines
        self.columns: list[str] = []
        self.delimiter = ","

    def __enter__(self) -> CsvFile:
        errors = "replace" if self.encoding == "utf-16" else "surrogateescape"
        self._text = self.path.open(encoding=self.encoding, errors=errors, newline="")
        self._lines = _Lines(self._text)
        try:
            self._read_header()
        except Problem:
            self._text.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._text is not None:
            self._text.close()

    @property
    def position(self) -> int:
        return self._text.buffer.tell() if isinstance(self._text, TextIOWrapper) else 0

    def __iter__(self) -> Iterator[Record]:
        lines, width = self._lines, len(self.columns)
        while True:
            lines.begin()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._broken(str(error))
                continue
            if lines.overlong:
                yield self._broken(f"a line of more than {LONGEST_LINE} characters")
            elif len(cells) == width or (len(cells) > width and not any(cells[width:])):
                yield Record(lines.first, cells[:width] if len(cells) > width else cells)
            elif cells:
                yield self._broken(f"{len(cells)} cells, the header has {width}")

    def _broken(self, fault: str) -> Record:
        """The first line of what was read; the others are read again, each as a row of its own."""
        return Record(self._lines.first, [self._lines.keep_first().rstrip("\r\n")], fault)

    def _read_header(self) -> None:
        csv.field_size_limit(LONGEST_CELL)  # one for the whole process; nothing else reads cells as long as that
        first = self._lines.peek()
        if first.lower().startswith("sep=") and len(first.strip()) == 5:  # Excel's own line
            self.delimiter = first.strip()[4]
            next(self._lines)
        else:
            self.delimiter = _delimiter(first)
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
        try:
            self.columns = [name.strip() for name in next(self._reader, [])]
        except csv.Error as error:
            raise Problem(f"{self.path}:1: the header can't be read: {error}") from None
        while self.columns and not self.columns[-1]:
            self.columns.pop()
        if not self.columns:
            raise Problem(f"{self.path}: the file is empty: its first line must name the columns")
        if len(self.columns) > MOST_COLUMNS:
            raise Problem(f"{self.path}:1: {len(self.columns)} columns, at most {MOST_COLUMNS} are read")


class _Lines:
    """The physical lines, remembering those of the row under way so that they can be read again one by one."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._next = 1
        self.first = 1
        self.overlong = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
            self._skip_line()
        self._taken.append(line)
        self._next += 1
        return line

    def begin(self) -> None:
        """A row begins here."""
        self._taken.clear()
        self.first = self._next
        self.overlong = False

    def keep_first(self) -> str:
        """Give all lines of this row but its first back, to be read again."""
        first, rest = (self._taken[0] if self._taken else ""), self._taken[1:]
        self._again.extendleft(reversed(rest))
        self._next -= len(rest)
        return first[:LONGEST_CELL]

    def peek(self) -> str:
        """The next line, still to be read."""
        line = self._again[0] if self._again else self._text.readline(LONGEST_LINE)
        if line and not self._again:
            self._again.append(line)
        return line

    def _skip_line(self) -> None:
        self.overlong = True
        while (more := self._text.readline(LONGEST_LINE)) and not more.endswith(("\n", "\r")):
            pass


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise Problem(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise Problem(f"{path}: this is no regular file: give the path of a CSV file")
    return found.st_size


def _encoding(path: Path) -> str:
    """UTF-16 by its mark, UTF-8 where most lines are, else Windows-1252. Raises Problem for what is no text."""
    try:
        with path.open("rb") as content:
            sample = content.read(_SAMPLE)
            if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
                return "utf-16"
            _check_text(path, sample)
            content.seek(0)
            return "utf-8-sig" if _is_mostly_utf8(content) else "cp1252"
    except OSError as error:
        raise Problem(f"{path}: {error.strerror or error}") from None


def _check_text(path: Path, sample: bytes) -> None:
    for magic, name in _NOT_TEXT.items():
        if sample.startswith(magic):
            raise Problem(f"{path}: this is {name}, not CSV: {_CURE}")
    header = sample.split(b"\n", 1)[0]
    controls = bytes(range(9)) + bytes(range(14, 32)) + b"\x0b\x0c\x7f"
    in_all = len(sample) - len(sample.translate(None, controls))
    if header.translate(None, controls) != header or in_all * 20 > len(sample):
        raise Problem(f"{path}: this is binary, not CSV: {_CURE}")


def _is_mostly_utf8(content: IO[bytes]) -> bool:
    """Whether more lines with other than ASCII are UTF-8 than not: one spoilt line does not change all the others."""
    good = bad = 0
    while line := content.readline(LONGEST_LINE):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad += 1
    return good >= bad


def _delimiter(header: str) -> str:
    """Of comma, semicolon and tab the one that the header has most of, quoted names left out."""
    outside = "".join(header.split('"')[::2])
    return max(",;\t", key=outside.count)
