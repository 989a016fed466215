"""Text folded for comparisons that ignore case, one character for one, so that every database can do the same.

The table is made here, by this Python's Unicode data, and handed to PostgreSQL as it is (`store/database.py`): what a
server's locale, ICU or Unicode version thinks of case changes no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

_PLANES_WITH_CASE = 0x20000
"""Beyond the first two planes Unicode has ideographs and marks, no letters with case."""


def fold(value: str) -> str:
    """Text folded for comparisons that ignore case, the same in Python, SQLite and PostgreSQL."""
    return value.lower() if value.isascii() else value.translate(folding())


@cache
def folding() -> Mapping[int, int]:
    """Code point -> the code point that it folds to, for those that change."""
    folded = {code: ord(_folded(chr(code))) for code in range(_PLANES_WITH_CASE) if not 0xD800 <= code <= 0xDFFF}
    return {code: target for code, target in folded.items() if code != target}


def _folded(character: str) -> str:
    """Simple case folding: the full one where it is a single character, else the lower case, else the same."""
    if character == "İ":  # its lower case is two characters; nobody who types 'istanbul' means the second
        return "i"
    for candidate in (character.casefold(), character.lower()):
        if len(candidate) == 1:
            return candidate
    return character
