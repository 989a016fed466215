"""JSON Schemas: every key of the documented files is in them, shorthands too, and unknown keys are refused."""

from __future__ import annotations

import json

from nurture.authoring.cadence_file import STEP_KINDS
from nurture.authoring.schema import schemas


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
    stage = made["lifecycle"]["properties"]["stages"]["anyOf"][0]["items"]
    field = made["forms"]["$defs"]["FormBody"]["properties"]["fields"]["items"]
    assert {"type": "string"} in stage["anyOf"]
    assert {"type": "string"} in field["anyOf"]
