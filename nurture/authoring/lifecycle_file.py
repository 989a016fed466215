"""The form of cadences/_lifecycle.yaml: stages, scoring, the hot line, alerts and routing."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nurture.authoring.cadence_file import Condition, Filled
from nurture.documents.strict import Strict
from nurture.documents.values import AlertHours, Clock, Duration, Name, SomeTime, SpanText
from nurture.domain.lifecycle import Engagement, Hot, Lifecycle
from nurture.domain.stages import LADDER, Stage

DECLARABLE = tuple(stage.value for stage in LADDER if stage is not Stage.VISITOR)


class StageBody(Strict):
    when: Condition | None = None
    demote_when: Condition | None = None
    demote_after: Duration | None = None
    requires: list[Filled] = Field(default=[])
    alert: Literal["now", "digest", "none"] = "none"


def _stage(value: Any) -> Any:
    """`- lead` is short for `- lead: {}`."""
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, dict) and len(value) == 1:
        return {key: {} if body is None else body for key, body in value.items()}
    raise ValueError("a stage is a name, or one name with its rules: '- mql: {when: …}'")


class _StageNames:
    """Says in the JSON Schema which stages there are, and that one may stand alone or without rules."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names: JsonSchemaValue = {"type": "string", "enum": list(DECLARABLE)}
        rules = {"anyOf": [handler(schema)["additionalProperties"], {"type": "null"}]}
        one = {"minProperties": 1, "maxProperties": 1, "propertyNames": names, "additionalProperties": rules}
        return {"anyOf": [names, {"type": "object", **one}]}


StageEntry = Annotated[dict[str, StageBody], BeforeValidator(_stage), _StageNames()]


class FitBody(Strict):
    when: Condition
    points: float


_AT_MOST = r"^\d+(\.\d+)? per (day|week|month)$"


def _at_most(value: str) -> str:
    if not re.match(_AT_MOST, value):
        raise ValueError(f"'{value}': use e.g. '60 per week'")
    return value


AtMostText = Annotated[str, AfterValidator(_at_most), WithJsonSchema({"type": "string", "pattern": _AT_MOST})]
"""Points at most, '60 per week'."""


class PointsBody(Strict):
    event: Filled
    points: float
    at_most: (
        Annotated[str, AfterValidator(_at_most), WithJsonSchema({"type": "string", "pattern": _AT_MOST})] | None
    ) = None
    path: Filled | None = None


class EngagementBody(Strict):
    half_life: SomeTime = Engagement.half_life
    cap: float = Field(default=Engagement.cap, gt=0)
    points: list[PointsBody] = Field(default=[])


class HotBody(Strict):
    when: Condition
    fit: Literal["A", "B", "C", "D"] | None = None
    unknown_fit: Literal["pass", "block"] = Hot.unknown_fit
    hysteresis: float = Field(default=Hot.hysteresis, ge=0)
    cool_down: Duration = Hot.cool_down
    always: list[Filled] | None = None


class AlertsBody(Strict):
    channels: list[Filled] = Field(default=["email"])
    hours: AlertHours | None = None


class RouteBody(Strict):
    when: Condition | None = None
    reps: Annotated[list[Filled], Field(min_length=1)]


class SlaBody(Strict):
    respond: SpanText
    escalate: Filled | None = None


class RecycleBody(Strict):
    after: Duration = Lifecycle.recycle_after
    into: Filled | None = None


class HoldBody(Strict):
    claim: Duration = Lifecycle.hold_claim
    reply: Duration = Lifecycle.hold_reply


class ColdBody(Strict):
    when: Condition
    sunset_after: Duration | None = None
    min_delivered: int | None = Field(default=None, ge=1)


class PersonaBody(Strict):
    name: Name
    when: Condition


class LifecycleFile(Strict):
    stages: list[StageEntry] | None = None
    fit: list[FitBody] = Field(default=[])
    engagement: EngagementBody = EngagementBody()
    hot: HotBody | None = None
    alerts: AlertsBody = AlertsBody()
    routing: list[RouteBody] = Field(default=[])
    sla: SlaBody | None = None
    recycle: RecycleBody = RecycleBody()
    hold: HoldBody = HoldBody()
    cold: ColdBody | None = None
    personas: list[PersonaBody] = Field(default=[])
    digest: Clock = Lifecycle.digest
