"""JSON Schemas of all files, generated from the models that validate them, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from nurture.authoring.cadence_file import CadenceFile
from nurture.authoring.forms_file import FormsFile
from nurture.authoring.lifecycle_file import LifecycleFile
from nurture.authoring.segments_file import SegmentsFile
from nurture.authoring.test_file import TestFile
from nurture.settings import Settings

MODELS: Mapping[str, tuple[type[BaseModel], str]] = {
    "cadence": (CadenceFile, "A cadence: cadences/NAME.yaml"),
    "segments": (SegmentsFile, "Named segments: cadences/_segments.yaml"),
    "lifecycle": (LifecycleFile, "Stages, scoring, alerts, routing: cadences/_lifecycle.yaml"),
    "forms": (FormsFile, "Hosted forms and offers: cadences/_forms.yaml"),
    "test": (TestFile, "Tests of a cadence: cadences/NAME.test.yaml"),
    "config": (Settings, "How an installation runs: config.toml"),
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsWritten(GenerateJsonSchema):
    """What may be written, which is a little else than what the models hold."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A key that may be left out may not be left without a value (`when:` would hold for everyone)."""
        if schema["schema"]["type"] == "nullable" and schema.get("default") is None:
            return self.generate_inner(schema["schema"]["schema"])
        return super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A name of another form is a mistake, where pydantic would let anything stand beside the right ones."""
        written = super().dict_schema(schema)
        names = written.pop("patternProperties", {})
        for pattern, held in names.items():
            written |= {"propertyNames": {"pattern": pattern}, "additionalProperties": held}
        return written


def schemas() -> dict[str, dict[str, Any]]:
    """Name -> schema; `cadence` is written to `cadence.json`."""
    return {name: {**_schema(model), "title": title} for name, (model, title) in MODELS.items()}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **model.model_json_schema(by_alias=True, schema_generator=_AsWritten)}
