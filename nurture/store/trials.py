"""A changed cadence that is tried on its first enrollments (`canary:`), and judged by the harm its mail does.

Its leads are not drawn at random, so what is compared are shares of sends: were the change as harmless as what is in
force, whoever unsubscribes, complains or bounces would have got its mail in proportion to the sends of each. The same
e-value as of experiments speaks against that (spec 8), so it may be looked at as often as one likes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update

from nurture.domain.event import EventName
from nurture.domain.experiment import PROVEN_AT, Tally, e_value, leading_arm, paused_arms
from nurture.domain.message import MessageKind
from nurture.store import tables as t
from nurture.store.cadences import InForce, Trial, in_force, replace_version

JUDGED_AFTER = timedelta(hours=72)
"""How long after the last of its enrollments a change that did no harm is taken up for all."""
COMPARED_WITH = timedelta(days=90)
"""How far back the mail of what is in force is looked at."""
BEFORE, CHANGE = "before", "change"
HARM = (EventName.UNSUBSCRIBED, EventName.COMPLAINED, EventName.BOUNCED)


def room_in_trial(connection: Connection, trial: Trial) -> int:
    """How many more may enter the change."""
    entered, _ = _entered(connection, trial)
    return max(0, (trial.cadence.canary or 0) - entered)


def judge(connection: Connection, name: str, state: InForce, *, now: datetime) -> str | None:
    """Stop a change that does harm, take up one that did none. Returns "stopped", "taken up", or None: not yet."""
    trial = state.trial
    if trial is None or trial.is_stopped:
        return None
    if _is_harmful(connection, name, trial, now=now):
        s = t.cadence_state
        connection.execute(
            update(s)
            .where(s.c.cadence == name, s.c.canary_version == trial.version, s.c.canary_stopped_at.is_(None))
            .values(canary_stopped_at=now)
        )
        return "stopped"
    entered, last_at = _entered(connection, trial)
    if entered < (trial.cadence.canary or 0) or last_at is None or now < last_at + JUDGED_AFTER:
        return None
    return "taken up" if _take_up(connection, name, state.version, trial, now=now) else None


def stopped(connection: Connection) -> list[str]:
    """The cadences whose tried change was stopped."""
    s = t.cadence_state.c
    return list(connection.scalars(select(s.cadence).where(s.canary_stopped_at.is_not(None)).order_by(s.cadence)))


def take_up_trial(connection: Connection, name: str, *, now: datetime) -> bool:
    """Take up the change that is tried, or was stopped, for all. False: there is none."""
    state = in_force(connection).get(name)
    if state is None or state.trial is None:
        return False
    return _take_up(connection, name, state.version, state.trial, now=now)


def _take_up(connection: Connection, name: str, before: str, trial: Trial, *, now: datetime) -> bool:
    """False: an edit came first, and what is in force or tried is another version now."""
    s = t.cadence_state.c
    is_same = (s.version == before) & (s.canary_version == trial.version) & s.removed_at.is_(None)
    as_it_was = select(s.cadence).where(s.cadence == name, is_same)
    if connection.scalar(as_it_was.with_for_update()) is None:
        return False
    replace_version(connection, name, before, trial.version, trial.cadence, now=now)
    return True


def _entered(connection: Connection, trial: Trial) -> tuple[int, datetime | None]:
    e = t.enrollment.c
    found = select(func.count(), func.max(e.enrolled_at)).where(
        e.cadence == trial.cadence.name, e.version == trial.version, e.enrolled_at >= trial.began_at
    )
    count, last_at = connection.execute(found).one()
    return count, last_at


def _is_harmful(connection: Connection, name: str, trial: Trial, *, now: datetime) -> bool:
    by_kind = {kind: _tallies(connection, name, trial, kind, now=now) for kind in HARM}
    arms = (BEFORE, CHANGE)
    if CHANGE in paused_arms(by_kind[EventName.UNSUBSCRIBED], by_kind[EventName.COMPLAINED], arms):
        return True
    bounced = by_kind[EventName.BOUNCED]
    return leading_arm(bounced, arms) == CHANGE and e_value(bounced, arms) >= PROVEN_AT


def _tallies(connection: Connection, name: str, trial: Trial, kind: EventName, *, now: datetime) -> list[Tally]:
    """Sends of the change and of what was before, and after how many of them that happened."""
    m, e = t.message.c, t.event.c
    is_change = (m.version == trial.version) & (m.created_at >= trial.began_at)
    of_cadence = [
        m.kind == MessageKind.STEP.value,
        m.cadence == name,
        m.sent_at.is_not(None),
        m.sent_at >= now - COMPARED_WITH,
    ]
    sent = dict(connection.execute(select(is_change, func.count()).where(*of_cadence).group_by(is_change)).all())
    harmed = dict(
        connection.execute(
            select(is_change, func.count(e.message_id.distinct()))
            .join(t.event, e.message_id == m.id)
            .where(*of_cadence, e.kind == kind.value)
            .group_by(is_change)
        ).all()
    )
    total = sum(sent.values())
    return [
        Tally(arm=arm, odds=sent.get(said, 0) / total, sent=sent.get(said, 0), converted=harmed.get(said, 0))
        for arm, said in ((BEFORE, False), (CHANGE, True))
        if total
    ]
