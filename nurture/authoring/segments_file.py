"""The form of cadences/_segments.yaml."""

from __future__ import annotations

from pydantic import Field

from nurture.authoring.cadence_file import Condition
from nurture.documents.strict import Strict
from nurture.documents.values import Name


class SegmentsFile(Strict):
    segments: dict[Name, Condition] = Field(default={})
