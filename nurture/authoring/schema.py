"""JSON Schemas of all files, generated from the models that validate them, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

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


def schemas() -> dict[str, dict[str, Any]]:
    """Name -> schema; `cadence` is written to `cadence.json`."""
    return {
        name: {"$schema": DIALECT, **model.model_json_schema(by_alias=True), "title": title}
        for name, (model, title) in MODELS.items()
    }
