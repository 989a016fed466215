"""What a person does to leads at the command line: change one, record what happened, keep mail from an address."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Connection, select

from nurture.documents.nearest import suggest
from nurture.domain.addresses import ERASED
from nurture.domain.characters import is_safe
from nurture.domain.custom import read_moment, read_number, read_truth
from nurture.domain.enrollment import RUNNING
from nurture.domain.event import EventName
from nurture.domain.problem import Problem
from nurture.domain.stages import MoveKind, Stage
from nurture.store import tables as t
from nurture.store.consents import withdraw_consent
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import find_lead, set_fields, tag_lead, untag_lead
from nurture.store.stages import move_stage
from nurture.store.suppressions import lift, suppress, suppress_all, suppressed_among

SOURCE = "cli"
LONGEST_NAME = 100
LONGEST_VALUE = 2_000
_AHEAD = timedelta(minutes=5)
"""How far a script's clock may be ahead of ours."""
_ENDS_MAIL = {EventName.UNSUBSCRIBED.value: "unsubscribed", EventName.COMPLAINED.value: "complained"}
_PLACES = ("cadence", "step", "link", "link_name", "path", "currency")
"""Properties that are columns of an event, so that conditions find them."""


@dataclass(frozen=True, kw_only=True)
class GivenEvent:
    """`is_dated`: the person said when, so that saying it again is the same event."""

    name: str
    at: datetime
    is_dated: bool
    value: float | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    props: Mapping[str, Any] = field(default_factory=dict)


def read_event(
    name: str, *, at: str | None, value: float | None, props: Sequence[tuple[str, str]], zone: tzinfo, now: datetime
) -> GivenEvent:
    """An event as it was typed. A time without an offset is one of `zone`. Raises Problem."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not is_safe(name):
        raise Problem(f"an event's name has 1 to {LONGEST_NAME} printable characters, e.g. 'demo requested'")
    places: dict[str, str] = {}
    others: dict[str, Any] = {}
    for key, text in props:
        if len(key) > LONGEST_NAME or len(text) > LONGEST_VALUE or not is_safe(key) or not is_safe(text):
            raise Problem(f"--prop '{key[:40]}': up to {LONGEST_VALUE} printable characters, please")
        if key in _PLACES:
            places[key] = text
        else:
            others[key] = _value(text)
    moment = _moment(at, zone) if at is not None else now
    if moment > now + _AHEAD:
        raise Problem(f"--at '{at}' lies ahead: only what has happened is an event")
    return GivenEvent(name=name, at=moment, is_dated=at is not None, value=value, places=places, props=others)


def track_event(
    connection: Connection, address_key: str, event: GivenEvent, *, rng: random.Random, now: datetime
) -> int | None:
    """Record it as a person's doing; None when it stands there already. Raises Problem for an unknown address.

    `unsubscribed` and `complained` also end the mail, as they do wherever they come from.
    """
    lead = _known(connection, address_key)
    places: dict[str, Any] = dict(event.places)
    new = NewEvent(
        lead_id=lead.id,
        kind=event.name,
        at=event.at,
        source=SOURCE,
        source_id=_identity(lead.id, event) if event.is_dated else f"{lead.id}:{rng.getrandbits(96):024x}",
        verdict_reason="by hand",
        enrollment_id=_enrollment(connection, lead.id, places.get("cadence")),
        value=event.value,
        props=dict(event.props),
        **places,
    )
    event_id = record_event(connection, new, now=now)
    reason = _ENDS_MAIL.get(event.name)
    if event_id is not None and reason is not None:
        suppress(connection, address_key, reason=reason, now=now, note="by hand")
        withdraw_consent(connection, lead.id, source=SOURCE, now=now)
    wake_enrollments(connection, [lead.id], now=now)
    return event_id


def change_lead(connection: Connection, address_key: str, changes: Sequence[tuple[str, str]], *, now: datetime) -> bool:
    """Set fields, `custom.X`, `stage`, `tag` and `untag`; whether anything changed. Raises Problem: roll back then."""
    lead = _known(connection, address_key)
    fields: dict[str, str] = {}
    changed = False
    for name, value in changes:
        if name == "stage":
            moved = move_stage(
                connection, lead.id, _stage(value), kind=MoveKind.BY_HAND, because="set by hand", now=now
            )
            changed = moved or changed
        elif name in ("tag", "untag"):
            did = tag_lead if name == "tag" else untag_lead
            changed = did(connection, lead.id, value) or changed
        else:
            fields[name] = value
    changed = set_fields(connection, lead.id, fields, now=now) or changed
    wake_enrollments(connection, [lead.id] if changed else [], now=now)
    return changed


def require_declared(name: str, value: str, declared: Mapping[str, str | list[str]]) -> None:
    """A custom field that `[fields]` declares, and a value of its type ("" clears one). Raises Problem."""
    kind = declared.get(name)
    if kind is None:
        raise Problem(f"[fields] declares no custom.{name}{suggest(name, list(declared))}")
    readers = {"number": read_number, "date": read_moment, "datetime": read_moment, "boolean": read_truth}
    if isinstance(kind, list):
        if value and value not in kind:
            raise Problem(f"custom.{name} is one of {', '.join(kind)}, and '{value[:40]}' is none of them")
    elif value and kind in readers and readers[kind](value) is None:
        raise Problem(f"custom.{name} is a {kind}, and '{value[:40]}' is none")


def suppress_by_hand(
    connection: Connection, keys: Sequence[str], *, reason: str, note: str | None, now: datetime
) -> int:
    """How many of these address keys and @domains are new among those that get nothing. Raises Problem."""
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_NAME or not is_safe(reason) or reason == "erased":
        hint = "to erase, use 'nurture leads erase ADDRESS'" if reason == "erased" else "say why, e.g. by_hand"
        raise Problem(f"--reason '{reason[:40]}': {hint}")
    made = suppress_all(connection, dict.fromkeys(keys, reason), now=now, note=note)
    lead = t.lead.c
    domains = sorted(key.removeprefix("@") for key in made if key.startswith("@"))
    for column, values in ((lead.email_key, sorted(made)), (lead.email_domain, domains)):
        for start in range(0, len(values), 500):
            some = select(lead.id).where(column.in_(values[start : start + 500]))
            wake_enrollments(connection, connection.scalars(some), now=now)
    return len(made)


def lift_by_hand(connection: Connection, key: str, *, note: str, now: datetime) -> str:
    """Let mail through to this address or @domain again; the reason that stood. Raises Problem where none did."""
    reason = suppressed_among(connection, [key]).get(key)
    if reason is None or key.startswith(ERASED):
        raise Problem(f"{key} is not suppressed")
    if not lift(connection, key, now=now, note=note):
        raise Problem(f"{key} is suppressed by its domain: lift @{key.rpartition('@')[2]}")
    return reason


def _known(connection: Connection, address_key: str) -> Any:
    lead = find_lead(connection, address_key)
    if lead is None:
        raise Problem(f"no lead has the address {address_key}: 'nurture leads list' shows who is known")
    return lead


def _stage(text: str) -> Stage:
    if text not in list(Stage):
        raise Problem(f"unknown stage '{text}'{suggest(text, list(Stage))}")
    return Stage(text)


def _value(text: str) -> str | int | float | bool:
    """As JSON would have it: numbers and truth values are such, everything else is text."""
    if text in ("true", "false"):
        return text == "true"
    number = read_number(text)
    return text if number is None else number


def _moment(text: str, zone: tzinfo) -> datetime:
    found = read_moment(text)
    if found is None:
        raise Problem(f"--at '{text}' is no time: use e.g. '2026-11-02 10:00' or 2026-11-02T10:00:00Z")
    has_offset = text.strip()[10:].upper().endswith("Z") or any(sign in text.strip()[10:] for sign in "+-")
    return found if has_offset else found.replace(tzinfo=zone).astimezone(UTC)


def _identity(lead_id: int, event: GivenEvent) -> str:
    said = [event.name, event.at.isoformat(), event.value, sorted(event.places.items()), sorted(event.props.items())]
    return f"{lead_id}:{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}"


def _enrollment(connection: Connection, lead_id: int, cadence: str | None) -> int | None:
    """The run that an event of this cadence belongs to: the one under way, else the last."""
    e = t.enrollment.c
    if cadence is None:
        return None
    runs = select(e.id, e.status).where(e.lead_id == lead_id, e.cadence == cadence).order_by(e.id.desc())
    rows = connection.execute(runs).all()
    running = [row.id for row in rows if row.status in RUNNING]
    return next(iter([*running, *(row.id for row in rows)]), None)
