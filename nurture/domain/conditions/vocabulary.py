"""What a condition may speak of: the lead's fields, the functions, and the names that a workspace adds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from nurture.domain.stages import Stage
from nurture.domain.task import TaskOutcome

CustomType = Literal["text", "number", "date", "datetime", "boolean"] | list[str]
"""As `[fields]` of config.toml declares a custom field; a list names the only texts it may hold."""


class Kind(StrEnum):
    """What a value is. Only like is compared with like; `OPEN`, an undeclared custom value, follows its neighbour."""

    TEXT = "text"
    NUMBER = "number"
    MOMENT = "date"
    TRUTH = "truth value"
    GRADE = "grade"
    CHOICE = "choice"
    OPEN = "custom value"


GRADES = ("D", "C", "B", "A")
"""From worst to best."""
UNKNOWN_GRADE = "unknown"
STAGES = tuple(stage.value for stage in Stage)
TASK_OUTCOMES = tuple(outcome.value for outcome in TaskOutcome)

_TEXTS = (
    *(
        "email",
        "email_domain",
        "first_name",
        "last_name",
        "title",
        "company",
        "phone",
        "country",
        "timezone",
        "language",
    ),
    *("source", "channel", "campaign", "offer", "persona", "partner", "owner", "external_id"),
)
_MOMENTS = (
    *("created_at", "last_engaged_at", "contacted_at", "consented_at", "consent_until", "stage_at"),
    *("email_verified_at", "phone_verified_at"),
)

LEAD_FIELDS: Mapping[str, Kind] = {
    **dict.fromkeys(_TEXTS, Kind.TEXT),
    **dict.fromkeys(_MOMENTS, Kind.MOMENT),
    "stage": Kind.CHOICE,
    "fit": Kind.GRADE,
    "fit_points": Kind.NUMBER,
    "engagement": Kind.NUMBER,
    "score": Kind.NUMBER,
    "prospect": Kind.TRUTH,
}
"""Every name that a condition may use by itself, and what it holds."""

_OF_A_STEP = frozenset({"step", "cadence"})
_COUNTED = frozenset({"within", "times", "since"})

EVENT_FUNCTIONS: Mapping[str, frozenset[str]] = {
    "opened": _OF_A_STEP | _COUNTED | {"verdict"},
    "clicked": _OF_A_STEP | _COUNTED | {"verdict", "link"},
    "replied": _OF_A_STEP | _COUNTED | {"verdict"},
    "visited": _COUNTED | {"verdict", "path"},
    "did": _OF_A_STEP | _COUNTED | {"verdict", "link", "path"},
    "sent": _OF_A_STEP | _COUNTED,
    "bounced": _OF_A_STEP | _COUNTED,
    "task": _OF_A_STEP | _COUNTED | {"outcome"},
}
"""Function -> its keywords; `did` takes properties of the event beside them."""

FUNCTIONS = frozenset(
    {*EVENT_FUNCTIONS, "tag", "days_since", "days_until", "contains", "starts_with", "matches", "in_segment"}
)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The names that a workspace adds; what is None is not checked.

    `custom`: the declared custom fields (None: any, read as what it is compared with). `segments`: name -> text.
    `cadences`: name -> the ids of its steps. `cadence`: the one in which the condition stands, whose steps
    `clicked(step=…)` means when no `cadence=` is said. `trigger`: it may speak of `event.X`, because an event starts
    the enrollment.
    """

    custom: Mapping[str, CustomType] | None = None
    segments: Mapping[str, str] = field(default_factory=dict)
    cadences: Mapping[str, frozenset[str]] | None = None
    cadence: str | None = None
    trigger: bool = False

    def steps(self, cadence: str | None) -> frozenset[str] | None:
        """The step ids that may be meant: of the cadence that is named or stood in, else of any; None: unknown."""
        if self.cadences is None:
            return None
        named = cadence or self.cadence
        if named is not None:
            return self.cadences.get(named)
        return frozenset[str]().union(*self.cadences.values())


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """': did you mean X?' for the nearest known name, or nothing."""
    nearest = difflib.get_close_matches(wrong[:80], sorted(known), n=1, cutoff=0.6)
    return f": did you mean '{nearest[0]}'?" if nearest else ""
