"""Strict validation: what pydantic finds is told in the file's own words."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nurture.documents.nearest import suggest
from nurture.documents.strict import Strict, validate
from nurture.documents.yaml_file import parse_yaml


class Inner(Strict):
    text: str
    size: int = Field(default=1, ge=1)


class Outer(Strict):
    either: str | dict[str, str] | None = None
    many: list[Inner] = Field(default=[])
    by_name: dict[str, Inner] = Field(default={})
    kind: Literal["big", "small"] = "big"
    from_: str | None = Field(default=None, alias="from")


def found(text: str) -> list[str]:
    document, _ = parse_yaml(text, "x")
    assert document is not None
    return [str(each) for each in validate(document, Outer)[1]]


def test_a_valid_document_is_a_frozen_value() -> None:
    document, _ = parse_yaml("either: {a: b}\nmany: [{text: x, size: 2}]\nfrom: y\n", "x")
    assert document is not None
    value, findings = validate(document, Outer)
    assert findings == []
    assert value == Outer(either={"a": "b"}, many=[Inner(text="x", size=2)], from_="y")


def test_alternatives_are_one_line() -> None:
    assert found("either: 3\n") == [
        "x:1:9: error: either: found the number 3, want text (put it in quotes) or a mapping (key: value) [type]"
    ]


def test_the_alternative_that_fits_speaks_alone() -> None:
    assert found("either: {a: 3}\n") == ["x:1:13: error: a: found the number 3, want text (put it in quotes) [type]"]


def test_unknown_keys_know_the_keys_of_their_own_place() -> None:
    assert found("mny: []\n") == ["x:1:1: error: unknown key 'mny': did you mean 'many'? [unknown-key]"]
    assert found("many: [{text: x, sise: 2}]\n") == [
        "x:1:18: error: unknown key 'sise': did you mean 'size'? [unknown-key]"
    ]
    assert (
        found("by_name: {a: {txt: x}}\n")[-1] == "x:1:15: error: unknown key 'txt': did you mean 'text'? [unknown-key]"
    )
    assert found("fron: x\n") == ["x:1:1: error: unknown key 'fron': did you mean 'from'? [unknown-key]"]


def test_bounds_choices_and_gaps() -> None:
    assert found("many: [{text: x, size: 0}]\n") == ["x:1:24: error: size: found the number 0, want at least 1 [value]"]
    assert found("many: [{size: 2}]\n") == ["x:1:8: error: missing key 'text' [missing-key]"]
    assert found("kind: bog\n") == ["x:1:7: error: kind: found the text 'bog': did you mean 'big'? [value]"]
    assert found("kind:\n") == ["x:1:1: error: 'kind' has no value: give it one, or delete it [no-value]"]


def test_hostile_keys_stay_on_one_line() -> None:
    lines = found('"a\\nb\\u202e": 1\n')
    assert lines == ["x:1:1: error: unknown key 'a·b·': use one of by_name, either, from, kind, many [unknown-key]"]


def test_the_nearest_name_or_the_list() -> None:
    assert suggest("gide", ["guide", "welcome"]) == ": did you mean 'guide'?"
    assert suggest("zzz", ["guide", "welcome"]) == ": use one of guide, welcome"
    assert suggest("zzz", []) == ": there is none yet"
