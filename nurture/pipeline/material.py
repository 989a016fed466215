"""What letters need from the database beyond their row, read for a whole claim; writing one is then computation alone.

What can't be had for one letter is that letter's fault alone: it is told when the letter is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture.domain.cadence import Cadence, DateField, Email
from nurture.domain.message import MessageKind
from nurture.notify.alert_mail import AlertMail
from nurture.store.dates import date_values
from nurture.store.letter_facts import EarlierMail, earlier_mails, event_props, tracking_agreed

STARTS, ENDS = "event.starts_at", "event.ends_at"

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Material:
    """Of one letter. `problem` is what keeps it from being written, where that is known already."""

    event: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the event that triggered the enrollment."""
    dates: Mapping[DateField, datetime] = field(default_factory=dict)
    earlier: Sequence[EarlierMail] = ()
    """What the enrollment sent before, the latest last; read for a step that replies in its thread."""
    agreed: bool = False
    """The lead agreed to be tracked; read where that decides."""
    alert: AlertMail | None = None
    problem: str | None = None


NOTHING = Material()


@dataclass(frozen=True, kw_only=True)
class Wants:
    """How the rows are understood by whoever writes the letters."""

    step_of: Callable[[Any], tuple[Cadence, Email] | None]
    zone_of: Callable[[Any], ZoneInfo]
    asks_consent: Callable[[Cadence], bool]
    """Whether a cadence's tracking depends on what the lead agreed to."""
    alert_of: Callable[[Connection, Any], AlertMail]
    """Raises LookupError for one that is not there any more."""


def gather(connection: Connection, rows: Sequence[Any], wants: Wants) -> dict[int, Material]:
    """message row -> its material. Only the database's own errors are raised."""
    steps = {row.id: of for row in rows if row.kind == MessageKind.STEP.value and (of := wants.step_of(row))}
    of_steps = [row for row in rows if row.id in steps]
    events = event_props(connection, {row.event_id for row in of_steps if row.event_id is not None})
    answering = {row.enrollment_id: row.lead_id for row in of_steps if steps[row.id][1].reply_in_thread}
    earlier = earlier_mails(connection, answering)
    dates = _dates(connection, [row for row in of_steps if steps[row.id][1].ics], steps, wants)
    asked = {row.lead_id for row in of_steps if wants.asks_consent(steps[row.id][0])}
    agreed = tracking_agreed(connection, asked)
    found = dict.fromkeys((row.id for row in rows), NOTHING)
    for row in of_steps if events or earlier or dates or agreed else ():
        found[row.id] = Material(
            event=events.get(row.event_id, {}),
            dates=dates.get(row.enrollment_id, {}),
            earlier=earlier.get(row.enrollment_id, ()),
            agreed=row.lead_id in agreed,
        )
    for row in rows:
        if row.kind == MessageKind.ALERT.value:
            found[row.id] = _alert(connection, row, wants)
    return found


def date_fields(step: Email) -> set[DateField]:
    """Where the moment of a step's calendar entry may stand."""
    return {STARTS, ENDS, *([step.expires.field] if step.expires is not None else [])}


def _dates(
    connection: Connection, rows: Sequence[Any], steps: Mapping[int, tuple[Cadence, Email]], wants: Wants
) -> dict[int, dict[DateField, datetime]]:
    """enrollment -> field -> moment."""
    fields = {name for row in rows for name in date_fields(steps[row.id][1])}
    zones = {row.enrollment_id: wants.zone_of(row) for row in rows if row.enrollment_id is not None}
    found: dict[int, dict[DateField, datetime]] = {}
    for (enrollment_id, name), moment in (date_values(connection, zones, fields) if zones else {}).items():
        found.setdefault(enrollment_id, {})[name] = moment
    return found


def _alert(connection: Connection, row: Any, wants: Wants) -> Material:
    try:
        return Material(alert=wants.alert_of(connection, row))
    except SQLAlchemyError:
        raise  # the transaction is over
    except LookupError:
        return Material(problem="the alert is no longer there")  # erased meanwhile
    except Exception as error:  # one odd alert must not keep all other mail from being claimed
        log.exception("alert_not_written", message=row.id)
        return Material(problem=f"the alert can't be written: {type(error).__name__}")
