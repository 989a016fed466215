"""The form of cadences/NAME.test.yaml: a lead, a start, timed events, and what its cadence is expected to do."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from nurture.authoring.cadence_file import Filled
from nurture.documents.strict import Strict
from nurture.documents.values import Duration, read_duration

_MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2} \d{1,2}:\d{2}$")


def _moment(value: str) -> str:
    if not _MOMENT.match(value):
        raise ValueError(f"'{value}' is no moment: use e.g. '2026-11-02 10:00'")
    try:
        datetime.strptime(value, "%Y-%m-%d %H:%M")  # noqa: DTZ007  local to the lead, by definition of the format
    except ValueError:
        raise ValueError(f"'{value}' is in no calendar: use e.g. '2026-11-02 10:00'") from None
    return value


def _moment_or_offset(value: str) -> str:
    if re.match(r"^\d{4}-", value):
        return _moment(value)
    try:
        read_duration(value)
    except ValueError:
        raise ValueError(f"'{value}': use an offset from the start such as '2 days', or '2026-11-02 10:00'") from None
    return value


_OFFSET = r"\d+(\.\d+)? (minute|hour|day|week|month|year)s?"
Moment = Annotated[str, AfterValidator(_moment), WithJsonSchema({"type": "string", "pattern": _MOMENT.pattern})]
MomentOrOffset = Annotated[
    str,
    AfterValidator(_moment_or_offset),
    WithJsonSchema({"type": "string", "pattern": rf"^({_MOMENT.pattern.strip('^$')}|{_OFFSET})$"}),
]
Plain = str | int | float | bool | None


class HappeningBody(Strict):
    """Something that happens to the lead: exactly one of the step events, `unsubscribed`, `event` and `set`."""

    at: MomentOrOffset
    opened: Filled | None = None
    clicked: Filled | None = None
    replied: Filled | None = None
    bounced: Filled | None = None
    unsubscribed: bool | None = None
    event: Filled | None = None
    value: float | None = None
    props: dict[str, Plain] | None = None
    set: dict[str, Plain] | None = None
    link: Filled | None = None
    verdict: Literal["human", "probable", "machine"] | None = None
    class_: Literal["hard", "soft", "block"] | None = Field(default=None, alias="class")


class ExpectedBody(Strict):
    """One thing that the cadence does, or its end."""

    at: Moment | None = None
    email: Filled | None = None
    variant: Filled | None = None
    subject: Filled | None = None
    promote: Filled | None = None
    notify: Filled | None = None
    task: Filled | None = None
    set: dict[str, Plain] | None = None
    tag: Filled | None = None
    untag: Filled | None = None
    enroll: Filled | None = None
    webhook: Filled | None = None
    exit: Filled | None = None
    completed: bool | None = None


class CaseBody(Strict):
    name: Filled
    lead: Annotated[dict[str, Any], Field(json_schema_extra={"required": ["email"]})]
    start: Moment
    trigger: dict[str, Plain] | None = None
    """The properties of the event that starts the run, where the cadence has a `trigger:`."""
    events: list[HappeningBody] = Field(default=[])
    expect: list[ExpectedBody]
    until: Duration | None = None


class TestFile(Strict):
    __test__ = False  # pytest would take it for a test

    tests: Annotated[list[CaseBody], Field(min_length=1)]


STEP_EVENTS = ("opened", "clicked", "replied", "bounced")
HAPPENINGS = (*STEP_EVENTS, "unsubscribed", "event", "set")
EFFECTS = ("email", "promote", "notify", "task", "set", "tag", "untag", "enroll", "webhook")
ENDS = ("exit", "completed")
