"""What happens to the leads of the company on one day, drawn by a seed: through the doors that real life takes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from nurture.domain.event import EventName
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import set_fields, tag_lead, untag_lead
from nurture.store.pauses import cadence_scope, pause, resume
from nurture.store.suppressions import suppress
from nurture.store.unsubscribes import unsubscribe

Happening = Callable[[Connection, datetime], object]


class Day:
    """The happenings of a day in their order."""

    def __init__(self, happenings: list[tuple[datetime, Happening]]) -> None:
        self._ahead = sorted(happenings, key=lambda each: each[0])

    def until(self, moment: datetime) -> Iterator[Happening]:
        while self._ahead and self._ahead[0][0] <= moment:
            yield self._ahead.pop(0)[1]


def a_day_of_life(database: Database, *, rng: random.Random, begins: datetime, day: int) -> Day:
    """Of the readers of the last days some act; some leads get trials, register, change their dates, or go."""
    happenings: list[tuple[datetime, Happening]] = []
    with database.reading() as connection:
        mails = _recent_mail(connection, begins)
        leads = list(connection.scalars(select(t.lead.c.id).order_by(t.lead.c.id)))
    for row in mails:
        act = _reaction(rng, row)
        if act is not None:
            happenings.append((begins + timedelta(seconds=rng.randrange(86_400)), act))
    for lead_id in rng.sample(leads, len(leads) // 50):
        happenings.append((begins + timedelta(seconds=rng.randrange(86_400)), _turn(rng, lead_id, begins, day)))
    if day % 7 == 3:
        happenings.append((begins + timedelta(hours=8), _stop))
        happenings.append((begins + timedelta(hours=20), _go))
    return Day(happenings)


def _recent_mail(connection: Connection, now: datetime) -> list[tuple[int, int, int, str, str]]:
    m = t.message.c
    found = select(m.id, m.lead_id, m.enrollment_id, m.cadence, m.step).where(m.sent_at > now - timedelta(days=1))
    return [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(found.order_by(m.id))]


def _reaction(rng: random.Random, mail: tuple[int, int, int, str, str]) -> Happening | None:
    luck = rng.random()
    message_id, lead_id, enrollment_id, cadence, step = mail
    kind = next(
        (
            kind
            for kind, below in (
                (EventName.CLICKED, 0.08),
                (EventName.REPLIED, 0.09),
                (EventName.BOUNCED, 0.10),
                (EventName.COMPLAINED, 0.101),
            )
            if luck < below
        ),
        None,
    )
    if kind is not None:
        return lambda connection, now: _record(
            connection,
            NewEvent(
                lead_id=lead_id,
                kind=kind.value,
                at=now,
                source="soak",
                source_id=f"{message_id}/{kind.value}",
                message_id=message_id,
                enrollment_id=enrollment_id,
                cadence=cadence,
                step=step,
                props={"class": "hard"} if kind is EventName.BOUNCED else {},
            ),
            now,
        )
    if luck < 0.115:
        return lambda connection, now: unsubscribe(connection, lead_id, message_id=message_id, source="soak", now=now)
    return None


def _turn(rng: random.Random, lead_id: int, begins: datetime, day: int) -> Happening:
    """Something new for a lead: a webinar, a trial, another date, a hold, a purchase, or none of marketing any more."""
    starts = begins + timedelta(days=rng.randrange(0, 9), hours=rng.randrange(8, 20))
    match rng.randrange(8):
        case 0 | 1:
            props = {"starts_at": starts.strftime("%Y-%m-%d %H:%M")}
            return lambda c, now: _tell(c, lead_id, "webinar registered", now, day, props)
        case 2:
            return lambda c, now: _tagged(c, lead_id, "trial", now)
        case 3:
            fields = {"custom.trial_ends_at": starts.strftime("%Y-%m-%d")}
            return lambda c, now: set_fields(c, lead_id, fields, now=now)
        case 4:
            until = begins + timedelta(days=rng.randrange(2, 10))
            return lambda c, now: _hold(c, lead_id, until, now)
        case 5:
            return lambda c, now: _tell(c, lead_id, "deal won", now, day, {})
        case 6:
            return lambda c, now: _suppressed(c, lead_id, now)
        case _:
            return lambda c, now: _untagged(c, lead_id, now)


def _record(connection: Connection, event: NewEvent, now: datetime) -> None:
    record_event(connection, event, now=now)


def _tell(connection: Connection, lead_id: int, kind: str, now: datetime, day: int, props: dict[str, str]) -> None:
    event = NewEvent(
        lead_id=lead_id, kind=kind, at=now, source="soak", source_id=f"{lead_id}/{kind}/{day}", props=dict(props)
    )
    record_event(connection, event, now=now)


def _tagged(connection: Connection, lead_id: int, tag: str, now: datetime) -> None:
    tag_lead(connection, lead_id, tag)
    wake_enrollments(connection, [lead_id], now=now)


def _untagged(connection: Connection, lead_id: int, now: datetime) -> None:
    untag_lead(connection, lead_id, "trial")
    tag_lead(connection, lead_id, "no-news")
    wake_enrollments(connection, [lead_id], now=now)


def _hold(connection: Connection, lead_id: int, until: datetime, now: datetime) -> None:
    held = update(t.lead).where(t.lead.c.id == lead_id)
    connection.execute(held.values(hold_until=until, hold_reason="claim"))
    wake_enrollments(connection, [lead_id], now=now)


def _suppressed(connection: Connection, lead_id: int, now: datetime) -> None:
    key = connection.scalar(select(t.lead.c.email_key).where(t.lead.c.id == lead_id))
    suppress(connection, str(key), reason="by_hand", now=now)
    wake_enrollments(connection, [lead_id], now=now)


def _stop(connection: Connection, now: datetime) -> None:
    pause(connection, cadence_scope("welcome"), now=now)


def _go(connection: Connection, now: datetime) -> None:
    resume(connection, cadence_scope("welcome"), now=now)
