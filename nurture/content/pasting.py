"""Reads a template and the partials it includes into one text, and remembers where each character came from."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from nurture.content.problems import TemplateError

SIZE_LIMIT = 256 * 1024
DEPTH_LIMIT = 8

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*\Z")
_INCLUDE = re.compile(r"""\{%[-+]?\s*include\s+(?:"([^"]*)"|'([^']*)')\s*[-+]?%\}""")
UNTYPED = re.compile("[\ue000-\ue01f\0]")
"""What no template may hold: it stands for Jinja's delimiters, and for the ends of links, between the stages."""


@dataclass(frozen=True, kw_only=True)
class Place:
    file: str
    line: int
    column: int


class Pasted:
    """A template's text with its partials pasted in. `files` are all files it was read from, with their contents."""

    def __init__(self) -> None:
        self.text = ""
        self.files: dict[str, str] = {}
        self._starts: list[int] = []
        self._origins: list[tuple[str, int]] = []

    def append(self, file: str, offset: int, text: str) -> None:
        self._starts.append(len(self.text))
        self._origins.append((file, offset))
        self.text += text

    def place(self, offset: int) -> Place:
        """Where the character at an offset of `text` stands in its file."""
        at = max(0, bisect_right(self._starts, offset) - 1)
        file, start = self._origins[at]
        return place_in(file, self.files[file], start + offset - self._starts[at])

    def error(self, offset: int, message: str) -> TemplateError:
        place = self.place(offset)
        return TemplateError(file=place.file, line=place.line, column=place.column, message=message)

    def error_on_line(self, line: int | None, word: str, message: str) -> TemplateError:
        """For what Jinja reports by line: the column is that of `word` on it."""
        start = _line_start(self.text, line or 1)
        end = self.text.find("\n", start)
        stretch = self.text[start : end if end >= 0 else len(self.text)]
        found = stretch.find(word) if word else -1
        return self.error(start + max(0, found), message)


def place_in(file: str, text: str, offset: int) -> Place:
    before = text[:offset]
    return Place(file=file, line=before.count("\n") + 1, column=offset - (before.rfind("\n") + 1) + 1)


def paste(folder: Path, name: str) -> Pasted:
    """Raises TemplateError: no such file, a way out of the folder, a circle, too deep, too large, not UTF-8."""
    pasted = Pasted()
    _paste(pasted, folder, name, TemplateError(file=name, line=1, column=1, message=f"there is no {name}"), ())
    return pasted


def _paste(pasted: Pasted, folder: Path, name: str, missing: TemplateError, around: tuple[str, ...]) -> None:
    text = _read(folder, name, missing)
    pasted.files[name] = text
    position = 0
    for include in _INCLUDE.finditer(text):
        pasted.append(name, position, text[position : include.start()])
        position = include.end()
        included = include[1] if include[1] is not None else include[2]
        place = place_in(name, text, include.start())
        _refuse(included, (*around, name), place)
        _paste(pasted, folder, included, _at(place, f'there is no "{included}" to include'), (*around, name))
        if len(pasted.text) > SIZE_LIMIT:
            raise _at(place, f"with its partials the template is larger than {SIZE_LIMIT // 1024} KiB")
    pasted.append(name, position, text[position:])


def _refuse(included: str, around: tuple[str, ...], place: Place) -> None:
    if not _NAME.match(included) or ".." in included:
        raise _at(place, f'"{included}" leads out of templates/email; name a file in it')
    if included in around:
        raise _at(place, f'"{included}" includes itself ({" > ".join((*around, included))})')
    if len(around) > DEPTH_LIMIT:
        raise _at(place, f"partials are nested more than {DEPTH_LIMIT} deep")


def _at(place: Place, message: str) -> TemplateError:
    return TemplateError(file=place.file, line=place.line, column=place.column, message=message)


def _read(folder: Path, name: str, missing: TemplateError) -> str:
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise missing
        if path.stat().st_size > SIZE_LIMIT:
            raise _at(Place(file=name, line=1, column=1), f"the file is larger than {SIZE_LIMIT // 1024} KiB")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _at(Place(file=name, line=1, column=1), "the file is not UTF-8") from None
    except OSError as error:
        raise _at(Place(file=name, line=1, column=1), f"can't be read: {error.strerror}") from None
    odd = UNTYPED.search(text)
    if odd:
        raise _at(place_in(name, text, odd.start()), f"the character U+{ord(odd[0]):04X} can't be in a template")
    return text


def _line_start(text: str, line: int) -> int:
    position = 0
    for _ in range(line - 1):
        position = text.find("\n", position) + 1
        if position == 0:
            return len(text)
    return position
