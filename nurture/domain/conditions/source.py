"""Text -> Python's syntax tree, bounded, with offsets that point into the text. Nothing is ever evaluated."""

from __future__ import annotations

import ast
import io
import re
import threading
import tokenize
import unicodedata
import warnings

from nurture.domain.conditions.errors import ConditionError

MAX_LENGTH = 4_000
MAX_DEPTH = 50

# `ast.parse` warns of "\d" in a plain string, through filters that belong to the process
_quiet = threading.Lock()

_HINTS = (
    (re.compile(r"&&|\|\|"), "write 'and' and 'or'"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "compare with '=='"),
    (re.compile(r"\b(AND|OR|NOT|IN|IS)\b"), "write 'and', 'or', 'not', 'in', 'is' in small letters"),
    (re.compile(r"!(?!=)"), "write 'not'"),
    (re.compile(r"<>"), "write '!='"),
    (re.compile(r"[“”„‘’«»]"), 'use straight quotes: "'),
)


class Source:
    """A condition's text and the tree that Python reads in it."""

    def __init__(self, text: str) -> None:
        _check_characters(text)
        # one line, so that an offset is a column; a comment would swallow what follows
        self.line = text.replace("\r", " ").replace("\n", " ").replace("\t", " ").replace("\f", " ")
        self.indent = len(self.line) - len(self.line.lstrip(" "))
        self.tree = self._parse()

    def offset(self, node: ast.expr | ast.keyword) -> int:
        """Python counts bytes of UTF-8; people count characters."""
        before = self.line[self.indent :].encode()[: node.col_offset]
        return self.indent + len(before.decode(errors="ignore"))

    def _parse(self) -> ast.expr:
        body = self.line[self.indent :]
        if not body.strip():
            raise ConditionError('an empty condition: write e.g. stage == "lead"', 0)
        if "#" in body:
            self._refuse_comments(body)
        try:
            with _quiet, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(body, mode="eval").body
        except SyntaxError as error:
            raise self._unreadable(error) from None
        except (RecursionError, MemoryError):
            raise ConditionError(f"nested deeper than {MAX_DEPTH}", 0) from None
        except (ValueError, OverflowError):
            raise ConditionError("this can't be read as a condition", 0) from None

    def _unreadable(self, error: SyntaxError) -> ConditionError:
        offset = min(max((error.offset or 1) - 1, 0) + self.indent, max(len(self.line) - 1, 0))
        if "nested parentheses" in error.msg or "recursion" in error.msg:
            return ConditionError(f"nested deeper than {MAX_DEPTH}", offset)
        outside_quotes = re.sub(r'"[^"]*"|\'[^\']*\'', lambda found: "_" * len(found[0]), self.line)
        for sign, hint in _HINTS:
            if found := sign.search(outside_quotes):
                return ConditionError(f"'{found[0]}' can't be read here: {hint}", found.start())
        return ConditionError("this can't be read as a condition: look for a missing quote, bracket or 'and'", offset)

    def _refuse_comments(self, body: str) -> None:
        try:
            for token in tokenize.generate_tokens(io.StringIO(body).readline):
                if token.type == tokenize.COMMENT:
                    raise ConditionError("a comment inside a condition: leave it out", self.indent + token.start[1])
        except (tokenize.TokenError, SyntaxError):
            return  # what can't be split into tokens can't be parsed either, which says so better


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"longer than {MAX_LENGTH} characters: name parts of it as segments", MAX_LENGTH)
    for offset, character in enumerate(text):
        if not is_clean(character) and character not in "\n\r\t\f":
            raise ConditionError(f"a control character (U+{ord(character):04X}): leave it out", offset)


def is_clean(character: str) -> bool:
    """Neither a control character nor half of a surrogate pair: no database takes them all."""
    return unicodedata.category(character) not in ("Cc", "Cs")
