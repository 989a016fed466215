"""JSON Schemas: every key of the documented files is in them, shorthands too, and unknown keys are refused."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nurture.authoring.cadence_file import STEP_KINDS, CadenceFile
from nurture.authoring.schema import schemas
from nurture.documents.strict import validate
from nurture.documents.yaml_file import parse_yaml, read_yaml

REPOSITORY = Path(__file__).parents[2]


def test_there_is_one_for_every_kind_of_file() -> None:
    made = schemas()
    assert set(made) == {"cadence", "segments", "lifecycle", "forms", "test", "config"}
    for document in made.values():
        json.dumps(document)
        assert document["additionalProperties"] is False
        assert document["$schema"].endswith("2020-12/schema")


def test_a_step_is_one_of_all_kinds() -> None:
    cadence = schemas()["cadence"]
    members = cadence["properties"]["steps"]["items"]["oneOf"]
    names = [member["$ref"].rpartition("/")[2] for member in members]
    required = [set(cadence["$defs"][name]["required"]) for name in names]
    assert all(kind in needs for kind, needs in zip(STEP_KINDS, required, strict=True))
    assert {"if", "then", "elif", "else", "when", "id"} == set(cadence["$defs"]["IfStep"]["properties"])


def test_the_keys_stand_there_as_they_are_written() -> None:
    made = schemas()
    assert "from" in made["config"]["$defs"]["Sender"]["properties"]
    assert made["config"]["$defs"]["Limits"]["properties"]["per_lead"]["items"]["pattern"].startswith(r"^\d+ per")
    assert set(made["test"]["$defs"]["HappeningBody"]["properties"]) >= {"at", "clicked", "class", "verdict"}


def test_shorthands_are_texts_as_well() -> None:
    made = schemas()
    field = made["forms"]["$defs"]["FormBody"]["properties"]["fields"]["items"]
    assert {"type": "string"} in field["anyOf"]


def documents(root: Path) -> Iterator[tuple[str, str, Any]]:
    """Each file of a workspace: its name, the kind of its schema, what it holds."""
    yield "config.toml", "config", tomllib.loads((root / "config.toml").read_text(encoding="utf-8"))
    for path in sorted((root / "cadences").glob("*.yaml")):
        document, findings = read_yaml(root, f"cadences/{path.name}")
        assert document is not None, findings
        kind = path.stem.removeprefix("_") if path.name.startswith("_") else "cadence"
        yield path.name, "test" if path.name.endswith(".test.yaml") else kind, document.data


@pytest.mark.parametrize("root", [REPOSITORY, REPOSITORY / "tests" / "data" / "acceptance"])
def test_what_check_takes_the_schemas_take(root: Path) -> None:
    made = schemas()
    for name, kind, data in documents(root):
        assert complaints(data, made[kind], made[kind]) == [], name


CADENCE = """
name: x
steps:
  - email: a
    id: a
    subject: {a: x, b: y}
    body: {a: one, b: two.mjml}
    vars: {hero: {a: q, b: w}, line: one}
    locales: {de: {subject: z}, pt-BR: {preheader: z}}
    window: {days: [mon, tue-thu], hours: "22:00-06:00", timezone: workspace, holidays: none}
    expires: {at: custom.x, offset: -1 day at 09:00}
  - wait_until: tuesday 09:00
  - wait_until: event.starts_at
  - set: {custom.plan: null, custom.n: 3}
  - promote: mql
reentry: after 90 days
holdout: 10%
track: {opens: never}
starts: 2026-12-01 09:00
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: x", "name:"),
        ("    id: a\n", ""),
        ("subject: {a: x", "subject: {A b: x"),
        ("de: {subject", "german: {subject"),
        ("days: [mon", "days: [monn-"),
        ("-1 day at 09:00", "soon"),
        ("tuesday 09:00", "tuesday at nine"),
        ("{custom.plan: null, custom.n: 3}", "{}"),
        ("promote: mql", "promote: mqll"),
        ("after 90 days", "90 days"),
        ("10%", "ten"),
        ("{opens: never}", "{opened: never}"),
        ("2026-12-01 09:00", "1.12.2026"),
        ("- promote: mql", "- promot: mql"),
        ("- promote: mql", "- promote: mql\n    tag: x"),
    ],
)
def test_an_editor_marks_what_check_refuses(old: str, new: str) -> None:
    schema = schemas()["cadence"]
    assert old in CADENCE
    right, wrong = (parse_yaml(text, "x.yaml")[0] for text in (CADENCE, CADENCE.replace(old, new, 1)))
    assert right is not None
    assert wrong is not None
    assert complaints(right.data, schema, schema) == []
    assert complaints(wrong.data, schema, schema)
    assert validate(wrong, CadenceFile)[1] or new in _LATER


_LATER = (
    *("german: {subject", "soon", "tuesday at nine", "{}", "promote: mqll", "90 days", "ten", "{opened: never}", ""),
    "1.12.2026",
)
"""What `check` sees only when it compiles the cadence."""


def test_a_stage_may_stand_alone_with_rules_or_without() -> None:
    schema = schemas()["lifecycle"]
    for stages, wrong in (
        (["lead", {"mql": {"when": "score > 3"}}, {"sql": None}], False),
        (["leed"], True),
        ([{"mql": {}, "sql": {}}], True),
        ([{"mql": {"wen": "x"}}], True),
    ):
        assert bool(complaints({"stages": stages}, schema, schema)) is wrong


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_KNOWN = {
    *("$ref", "$defs", "$schema", "title", "description", "default", "type", "const", "enum", "pattern", "minLength"),
    *("anyOf", "oneOf", "required", "properties", "additionalProperties", "propertyNames", "minProperties"),
    *("maxProperties", "items", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum"),
}


def complaints(value: Any, schema: Any, root: Any, path: str = "$") -> list[str]:
    """What JSON Schema (2020-12) says against the value, by the keywords that our schemas use."""
    if isinstance(schema, bool):
        return [] if schema else [f"{path}: not allowed"]
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    if "$ref" in schema:
        return complaints(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, path)
    for word, fits in (("anyOf", lambda good: good > 0), ("oneOf", lambda good: good == 1)):
        good = sum(not complaints(value, each, root, path) for each in schema.get(word, ()))
        if word in schema and not fits(good):
            return [f"{path}: {good} of {word}"]
    types = _TYPES.get(schema.get("type", ""), (object,))
    if not isinstance(value, types) or (isinstance(value, bool) and not {bool, object} & set(types)):
        return [f"{path}: no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r}"]
    if "const" in schema and value != schema["const"]:
        return [f"{path}: {value!r}"]
    if isinstance(value, str):
        short = len(value) < schema.get("minLength", 0)
        return [f"{path}: {value!r}"] if short or not re.search(schema.get("pattern", ""), value) else []
    if isinstance(value, list):
        return _of_list(value, schema, root, path)
    if isinstance(value, dict):
        return _of_mapping(value, schema, root, path)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
        fine = (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)
        return [] if fine else [f"{path}: {value}"]
    return []


def _of_list(value: list[Any], schema: Any, root: Any, path: str) -> list[str]:
    found = [] if schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10_000) else [f"{path}: its length"]
    for number, each in enumerate(value):
        found += complaints(each, schema.get("items", True), root, f"{path}[{number}]")
    return found


def _of_mapping(value: dict[str, Any], schema: Any, root: Any, path: str) -> list[str]:
    found = [f"{path}: no {key}" for key in schema.get("required", ()) if key not in value]
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 10_000):
        found.append(f"{path}: its length")
    for key, each in value.items():
        held = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
        found += complaints(each, held, root, f"{path}.{key}")
        found += complaints(key, schema.get("propertyNames", True), root, f"{path}.{key}")
    return found
