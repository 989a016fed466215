"""A made-up lead for letters that are only looked at: with every field, or with those that nobody lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from nurture.settings import Settings
from nurture.store.lead_facts import LEAD_FIELDS

SOME_DAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
OF_EVERY_LEAD = ("email", "stage", "created_at")
SAMPLES: Mapping[str, Any] = {
    "email": "zoe@example.com",
    "first_name": "Zoe",
    "last_name": "Marchetti",
    "title": "Head of Marketing",
    "company": "Helio Analytics",
    "phone": "+49 30 1234567",
    "country": "DE",
    "timezone": "Europe/Berlin",
    "language": "en",
    "source": "website",
    "channel": "content",
    "campaign": "Spring",
    "persona": "marketer",
    "stage": "lead",
    "fit": "A",
    "created_at": SOME_DAY,
}
EVENT_SAMPLES: Mapping[str, Any] = {
    "title": "Three numbers, live",
    "name": "Three numbers, live",
    "starts_at": "2026-01-08T16:00:00+01:00",
    "ends_at": "2026-01-08T17:00:00+01:00",
    "duration": 60,
    "location": "Online",
    "url": "https://www.example.com/seat",
    "form": "guide",
    "plan": "pro",
    "value": 100,
    "currency": "EUR",
}
"""Properties of events, as their names suggest them."""
_OF_A_TYPE: Mapping[str, Any] = {
    "number": 42,
    "boolean": True,
    "date": "2026-01-05",
    "datetime": "2026-01-05T09:00:00Z",
}


def sample_lead(settings: Settings, used: Iterable[str], *, full: bool) -> dict[str, Any]:
    """LEAD_FIELDS and `custom`, as a lead's row has them; `used` are the dotted names that a template speaks of."""
    samples = {name: SAMPLES.get(name, f"Some {name}") for name in LEAD_FIELDS}
    if not full:
        return {**dict.fromkeys(LEAD_FIELDS), **{name: samples[name] for name in OF_EVERY_LEAD}, "custom": {}}
    owner = next(iter(settings.reps), None)
    return {**samples, "owner": owner, "custom": _custom(settings, used)}


def _custom(settings: Settings, used: Iterable[str]) -> dict[str, Any]:
    declared = {name: kind if isinstance(kind, str) else kind[0] for name, kind in (settings.fields or {}).items()}
    asked = {name.split(".")[2]: "text" for name in used if name.startswith("lead.custom.")}
    return {
        name: _OF_A_TYPE.get(kind, "sample" if kind == "text" else kind) for name, kind in {**asked, **declared}.items()
    }


def sample_event(used: Iterable[str], *, full: bool = True) -> dict[str, Any]:
    """Properties of an event that would have begun the run: those that `used` names as `event.X`, and a moment.

    Not `full`: none, as of an enrollment that no event began.
    """
    if not full:
        return {}
    asked = {name.split(".")[1] for name in used if name.startswith("event.") and name.count(".") >= 1}
    return {name: EVENT_SAMPLES.get(name, f"Some {name}") for name in {"title", "starts_at", *asked}}
