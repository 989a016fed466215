"""Rows of expected and actual: as few differences as there are."""

from __future__ import annotations

from operator import eq

import pytest

from nurture.rehearsal.side_by_side import side_by_side


def rows(expected: str, actual: str) -> list[str]:
    found = side_by_side(expected, actual, eq)
    return [f"{row.expected or '-'}{row.actual or '-'}{'' if row.same else '!'}" for row in found]


@pytest.mark.parametrize(
    ("expected", "actual", "shown"),
    [
        ("", "", ""),
        ("abc", "abc", "aa bb cc"),
        ("abc", "axc", "aa bx! cc"),
        ("abc", "ac", "aa b-! cc"),
        ("ac", "abc", "aa -b! cc"),
        ("abc", "", "a-! b-! c-!"),
        ("", "ab", "-a! -b!"),
        ("abcd", "bcd", "a-! bb cc dd"),
        ("ab", "ba", "ab! ba!"),
    ],
)
def test_what_belongs_together_stands_in_one_row(expected: str, actual: str, shown: str) -> None:
    assert rows(expected, actual) == shown.split()
