"""Folding ignores case for every script, character by character."""

from __future__ import annotations

import sys

from nurture.domain.folding import fold


def test_case_is_ignored_in_every_script() -> None:
    for one, other in [
        ("ZOË", "zoë"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ИВАН", "иван"),
        ("İSTANBUL", "istanbul"),
        ("STRAẞE", "straße"),
        ("Ǆungla", "ǆungla"),
        ("ſharp", "Sharp"),
        ("𐐀", "𐐨"),
        ("Ⅷ", "ⅷ"),
    ]:
        assert fold(one) == fold(other)
    assert fold("straße") != fold("strasse")  # a letter for a letter: what is longer is another text


def test_one_character_stays_one_and_folding_twice_is_folding_once() -> None:
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
    folded = fold(every)
    assert len(folded) == len(every)
    assert fold(folded) == folded
    # no letter with case lies where the table does not look
    assert every[-0x80000:].casefold() == every[-0x80000:]
