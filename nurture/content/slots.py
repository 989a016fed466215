"""Cuts a text at its Jinja tags, and puts them back after something else has worked on the text between."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nurture.content.sandbox import EXPR_CLOSE, EXPR_OPEN, STATEMENT_CLOSE, STATEMENT_OPEN

FILLER = "\ue006"
"""Stands for each character of a tag where a reader must not look into it."""

Kind = Literal["expression", "statement", "raw", "comment"]
_OPEN = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}(.*?)\{%[-+]?\s*endraw\s*[-+]?%\}", re.DOTALL)
_SAFE_CHARACTER = re.compile(r"""[^"'}%]+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|.""", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class JinjaTag:
    """One `{{ }}`, `{% %}`, `{# #}` or raw stretch; `inside` is the text between the braces."""

    kind: Kind
    start: int
    end: int
    inside: str

    @property
    def word(self) -> str:
        """The first word of a statement: `if`, `endfor` …"""
        found = re.match(r"[-+]?\s*(\w+)", self.inside)
        return found[1] if found else ""

    def bare(self) -> str:
        """An expression without marks of white space control."""
        marked = self.inside[:1] in "-+" or self.inside[-1:] in "-+"
        return self.inside.strip("-+ \t\r\n") if marked else self.inside

    def own(self) -> str:
        """The tag in delimiters that nobody can type."""
        if self.kind == "expression":
            return f"{EXPR_OPEN}{self.inside}{EXPR_CLOSE}"
        if self.kind == "statement":
            return f"{STATEMENT_OPEN}{self.inside}{STATEMENT_CLOSE}"
        return self.inside if self.kind == "raw" else ""


class Unclosed(Exception):
    """A tag that begins and never ends, at `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__("this Jinja tag is never closed")
        self.offset = offset


def jinja_tags(text: str) -> list[JinjaTag]:
    """All tags, in order. Raises Unclosed."""
    tags = []
    position = 0
    while opening := _OPEN.search(text, position):
        tag = _tag_at(text, opening.start(), opening[0])
        tags.append(tag)
        position = tag.end
    return tags


def _tag_at(text: str, start: int, opening: str) -> JinjaTag:
    if opening == "{#":
        end = text.find("#}", start + 2)
        if end < 0:
            raise Unclosed(start)
        return JinjaTag(kind="comment", start=start, end=end + 2, inside="")
    if opening == "{%" and (raw := _RAW.match(text, start)):
        return JinjaTag(kind="raw", start=start, end=raw.end(), inside=raw[1])
    closing = "}}" if opening == "{{" else "%}"
    position = start + 2
    while position < len(text):
        if text.startswith(closing, position):
            kind: Kind = "expression" if opening == "{{" else "statement"
            return JinjaTag(kind=kind, start=start, end=position + 2, inside=text[start + 2 : position])
        piece = _SAFE_CHARACTER.match(text, position)
        position = piece.end() if piece else len(text)
    raise Unclosed(start)


def blanked(text: str, tags: Sequence[JinjaTag]) -> str:
    """The text with every tag written over, each character in its place."""
    return replaced(text, tags, lambda tag: FILLER * (tag.end - tag.start))


def replaced(text: str, tags: Sequence[JinjaTag], by: Callable[[JinjaTag], str]) -> str:
    pieces = []
    position = 0
    for tag in tags:
        pieces += [text[position : tag.start], by(tag)]
        position = tag.end
    return "".join([*pieces, text[position:]])


class Sentinels:
    """Words that stand for tags while MJML, CSS and HTML tools work on the text; they look like nothing else."""

    def __init__(self, text: str, tags: Sequence[JinjaTag]) -> None:
        lowered = text.lower()
        self._prefix = next(prefix for n in range(len(text) + 1) if (prefix := f"nj{n}x") not in lowered)
        self.tags = {f"{self._prefix}{number:05d}z": tag for number, tag in enumerate(tags)}
        self.words = {id(tag): word for word, tag in self.tags.items()}
        self.pattern = re.compile(rf"(?:<!--)?({self._prefix}\d{{5}}z)(?:-->)?")

    def put_back(self, text: str, forms: Mapping[str, str]) -> str:
        """The text with each sentinel's form in its place (a statement's is a comment in HTML)."""
        return self.pattern.sub(lambda found: forms[found[1]], text)
