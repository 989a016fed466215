"""What the text of a custom field is when read as a number, a moment or a truth value: one meaning, or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.custom import read_custom


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("80", 80),
        (" -3.5 ", -3.5),
        ("+7", 7),
        (".5", 0.5),
        ("80.0", 80),
        ("1,234,567", 1_234_567),
        ("1,234.5", 1234.5),
        ("9007199254740993", 9007199254740992.0),
        ("1,234", None),  # a thousand here, a bit over one there
        ("1.234,5", None),
        ("12,34,567", None),
        ("1e3", None),
        ("0x10", None),
        ("٣", None),
        ("NaN", None),
        ("inf", None),
        ("9" * 400, None),
        ("eighty", None),
        ("", None),
        ("80 %", None),
    ],
)
def test_numbers(text: str, number: float | None) -> None:
    assert read_custom({"x": text})["number"].get("x") == number


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-20", "2026-07-20T00:00:00Z"),
        ("2026-07-20 14:45", "2026-07-20T14:45:00Z"),
        ("2026-07-20T14:45:30Z", "2026-07-20T14:45:30Z"),
        ("2026-07-20t14:45:30.25+02:00", "2026-07-20T12:45:30Z"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
        ("0001-01-01 00:00+05:00", None),
        ("2026-02-30", None),
        ("20260720", None),
        ("2026-W30-1", None),
        ("07/20/2026", None),
        ("tomorrow", None),
    ],
)
def test_moments(text: str, moment: str | None) -> None:
    assert read_custom({"x": text})["moment"].get("x") == moment


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("Yes", True),
        ("TRUE", True),
        ("1", True),
        ("on", True),
        ("no", False),
        ("False", False),
        ("0", False),
        ("maybe", None),
        ("", None),
        ("2", None),
    ],
)
def test_truth(text: str, truth: bool | None) -> None:
    assert read_custom({"x": text})["truth"].get("x") is truth


def test_a_text_stands_under_each_reading_that_it_has() -> None:
    assert read_custom({"a": "1", "b": "plain", "c": "2026-07-20"}) == {
        "number": {"a": 1},
        "moment": {"c": "2026-07-20T00:00:00Z"},
        "truth": {"a": True},
    }


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=30), max_size=5))
def test_any_text_is_read_without_a_fault_and_the_same_twice(values: dict[str, Any]) -> None:
    assert read_custom(values) == read_custom(dict(reversed(values.items())))
