"""Stage 4: what follows from events: points, holds, exits, stage moves, alerts; and from verdicts that were revised.

One transaction a batch: claim events and revisions, lock their leads, draw every consequence, and mark them drawn. So
a batch happens whole or not at all, and a second pass finds nothing. Leads whose fields changed are scored first.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, update

from nurture.domain.conditions import Vocabulary
from nurture.domain.conditions.tree import CustomField, FieldOperand
from nurture.domain.conditions.vocabulary import UNKNOWN_GRADE
from nurture.domain.event import EventName, Verdict
from nurture.domain.hot import rearms
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.promotion import may_promote, shows_interest
from nurture.domain.scoring import add_points, grade
from nurture.domain.stages import Stage
from nurture.pipeline.exits import draw_exits
from nurture.pipeline.hot_alerts import alert_at_once, alert_hot, alert_stages, take_back_alerts
from nurture.pipeline.lifecycle_rules import LifecycleRules
from nurture.pipeline.promotions import correct_stages, promote, sweep_demotions
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import wake_enrollments
from nurture.store.lifecycle_state import LifecycleState, keep_state, read_state
from nurture.store.outbox import settle_unknown
from nurture.store.reactions import (
    Revision,
    claim_events,
    claim_rescored,
    claim_revisions,
    keep_leads,
    last_interest,
    lock_leads,
    look,
    rescore_all,
    scored_leads,
    settle,
)
from nurture.store.scores import HappenedEvent, book_engagement, book_fit, rebuild_sums, unbooked_events
from nurture.store.segments import leads_meeting

BATCH = 500
SWEEP_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class ReactReport:
    events: int = 0
    """Events and revised verdicts whose consequences were drawn."""
    promoted: int = 0
    demoted: int = 0
    alerts: int = 0


def react(
    *, database: Database, lifecycle: Lifecycle, vocabulary: Vocabulary, now: datetime, limit: int = 1000
) -> ReactReport:
    """Draw the consequences of everything that waits, in at most `limit` batches each of leads and of events."""
    total: Counter[str] = Counter()
    state = _take_up(database, lifecycle, limit)
    with database.reading() as connection:
        pending = look(connection)
    sweeps = state.sweeps_at(now, SWEEP_EVERY)
    if not (pending.events or pending.leads or sweeps):
        return ReactReport()
    rules = LifecycleRules(lifecycle, vocabulary, now)
    for draw, waits in ((_draw_of_leads, pending.leads), (_draw_of_events, pending.events)):
        for _ in range(limit if waits else 0):
            with database.transaction() as connection:
                done = draw(connection, rules, total)
            if not done:
                break
    if sweeps:
        with database.transaction() as connection:
            total["demoted"] += sweep_demotions(connection, rules)
            keep_state(connection, replace(state, swept_at=now.isoformat()))
    return ReactReport(**{name: total[name] for name in ReactReport.__dataclass_fields__})


# --- the rules in force


def _take_up(database: Database, lifecycle: Lifecycle, limit: int) -> LifecycleState:
    """Where the rules are not those of the last pass, have every lead looked at again, and sums kept anew."""
    seconds = lifecycle.engagement.half_life.total_seconds()
    digest = hashlib.sha256(repr((lifecycle.fit, lifecycle.stages)).encode()).hexdigest()[:16]
    with database.reading() as connection:
        state = read_state(connection)
    if state is not None and (state.half_life_seconds, state.rules, state.rebuilt_through) == (seconds, digest, None):
        return state
    with database.transaction() as connection:
        state = _adopted(connection, seconds, digest)
    for _ in range(limit):
        if state.rebuilt_through is None:
            break
        with database.transaction() as connection:
            state = _rebuild(connection, state)
    return state


def _adopted(connection: Connection, seconds: float, digest: str) -> LifecycleState:
    before = read_state(connection, locked=True)
    if before is None:
        state = LifecycleState(half_life_seconds=seconds, rules=digest)
    else:
        through = before.rebuilt_through if before.half_life_seconds == seconds else 0
        state = replace(before, half_life_seconds=seconds, rules=digest, rebuilt_through=through)
        if before.rules != digest:
            rescore_all(connection)
    keep_state(connection, state)
    return state


def _rebuild(connection: Connection, state: LifecycleState) -> LifecycleState:
    ids = scored_leads(connection, after=state.rebuilt_through or 0, limit=BATCH)
    if ids:
        rebuild_sums(connection, ids, half_life=state.half_life)
    state = replace(state, rebuilt_through=ids[-1] if len(ids) == BATCH else None)
    keep_state(connection, state)
    return state


# --- leads whose fields changed


def _draw_of_leads(connection: Connection, rules: LifecycleRules, total: Counter[str]) -> int:
    """Fit and grade of a batch of changed leads, and the stages that follow."""
    rows = claim_rescored(connection, limit=BATCH)
    if not rows:
        return 0
    leads = {row.id: dict(row._mapping) for row in rows}
    fits = book_fit(connection, _fit_points(connection, rules, leads), now=rules.now)
    changed = [lead_id for lead_id, lead in leads.items() if _grade(rules, lead, fits[lead_id])]
    connection.execute(
        update(t.lead)
        .where(t.lead.c.id == bindparam("lead"))
        .values(fit=bindparam("grade"), fit_points=bindparam("points"), rescore=False),
        [{"lead": lead_id, "grade": lead["fit"], "points": lead["fit_points"]} for lead_id, lead in leads.items()],
    )
    unscored = [lead_id for lead_id, lead in leads.items() if lead["gains"] is None and lead["losses"] is None]
    _book(connection, rules, leads, unbooked_events(connection, unscored))
    _rearm(rules, leads, dict.fromkeys(leads, rules.now))
    keep_leads(connection, leads)
    promoted = promote(connection, rules, leads, dict.fromkeys(leads))
    total.update(promoted=len(promoted), alerts=alert_stages(connection, rules, promoted))
    wake_enrollments(connection, changed, now=rules.now)
    return len(rows)


def _fit_points(
    connection: Connection, rules: LifecycleRules, leads: Mapping[int, Mapping[str, Any]]
) -> dict[int, dict[str, float]]:
    """lead id -> rule -> points, one query a rule; two rules of the same condition add up."""
    points: dict[int, dict[str, float]] = {lead_id: {} for lead_id in leads}
    for rule, condition in rules.fit:
        for lead_id in leads_meeting(connection, condition, rules.asking, ids=sorted(leads)):
            points[lead_id][rule.when] = points[lead_id].get(rule.when, 0.0) + rule.points
    return points


def _grade(rules: LifecycleRules, lead: dict[str, Any], fit_points: float) -> bool:
    """Whether the lead's fit or grade is another than before."""
    known = not rules.fit_fields or any(_is_known(lead, field) for field in rules.fit_fields)
    before = (lead["fit"], lead["fit_points"])
    lead["fit"], lead["fit_points"] = grade(fit_points, known and bool(rules.fit)), fit_points
    return before != (lead["fit"], lead["fit_points"])


def _is_known(lead: Mapping[str, Any], field: FieldOperand) -> bool:
    value = lead["custom"].get(field.name) if isinstance(field, CustomField) else lead.get(field.name)
    return value not in (None, "", UNKNOWN_GRADE)


# --- events and revisions


def _draw_of_events(connection: Connection, rules: LifecycleRules, total: Counter[str]) -> int:
    """Everything that follows from one batch of events and of revised verdicts."""
    events = claim_events(connection, limit=BATCH)
    revisions = claim_revisions(connection, limit=BATCH)
    if not events and not revisions:
        return 0
    fresh = {event.id for event in events}
    # an event that waits itself brings the verdict in force along: its revision has nothing to correct
    revised = [each for each in revisions if each.event.id not in fresh and each.event.reacted_at is not None]
    changed = [*events, *{each.event.id: each.event for each in revised}.values()]
    leads = lock_leads(connection, {event.lead_id for event in changed})
    changed = [event for event in changed if event.lead_id in leads]
    human = [event for event in changed if event.verdict == Verdict.HUMAN.value]
    taken_back = [each for each in revised if each.taken_back and each.event.lead_id in leads]

    draw_exits(connection, rules, leads, [event for event in human if event.id in fresh])
    settle_unknown(connection, [event.message_id for event in human if event.message_id is not None], now=rules.now)
    _engage(connection, leads, human, taken_back)
    _rearm(rules, leads, {event.lead_id: event.at for event in _in_order(human, latest_first=True)})
    _book(connection, rules, leads, changed)
    _rearm(rules, leads, dict.fromkeys(leads, rules.now))
    keep_leads(connection, leads)
    _move_and_alert(connection, rules, leads, human, taken_back, total)
    wake_enrollments(connection, leads, now=rules.now)
    settle(connection, sorted(fresh), [each.change_id for each in revisions], now=rules.now)
    total["events"] += len(events) + len(revisions)
    return len(events) + len(revisions)


def _engage(
    connection: Connection, leads: Mapping[int, dict[str, Any]], human: Sequence[Any], taken_back: Sequence[Revision]
) -> None:
    """When the person last did something, and when sales first reached it."""
    revised = sorted({each.event.lead_id for each in taken_back})
    if revised:
        latest = last_interest(connection, revised)
        for lead_id in revised:
            found = latest[lead_id].at if lead_id in latest else None
            leads[lead_id]["last_engaged_at"] = _later(leads[lead_id]["consented_at"], found)
    for event in human:
        lead = leads[event.lead_id]
        if shows_interest(event.kind) and lead["stage"] != Stage.VISITOR:
            lead["last_engaged_at"] = _later(lead["last_engaged_at"], event.at)
        if event.kind in (EventName.REPLIED, EventName.MEETING_BOOKED):
            lead["contacted_at"] = lead["contacted_at"] or event.at


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _book(
    connection: Connection, rules: LifecycleRules, leads: Mapping[int, dict[str, Any]], events: Sequence[Any]
) -> None:
    """Points into the ledger and into the two sums; a visitor is not scored until it is a lead."""
    engagement = rules.lifecycle.engagement
    scored = [_happened(event) for event in events if leads[event.lead_id]["stage"] != Stage.VISITOR]
    for lead_id, lines in book_engagement(connection, engagement, scored).items():
        lead = leads[lead_id]
        for line in lines:
            # a correction adds to the other sum: both fade alike, so their difference is what it should be
            lead["gains"] = add_points(lead["gains"], line.points, line.at, engagement.half_life)
            lead["losses"] = add_points(lead["losses"], -line.points, line.at, engagement.half_life)
    for lead in leads.values():
        lead["hot_until"] = rules.hot_until(lead)


def _happened(event: Any) -> HappenedEvent:
    return HappenedEvent(
        id=event.id,
        lead_id=event.lead_id,
        kind=event.kind,
        # a time that lies ahead, by a sender's wrong clock, would be worth more than its points
        at=min(event.at, event.recorded_at),
        path=event.path,
        is_human=event.verdict == Verdict.HUMAN.value,
        booked_before=event.reacted_at is not None,
    )


def _rearm(rules: LifecycleRules, leads: Mapping[int, dict[str, Any]], moments: Mapping[int, datetime]) -> None:
    """Crossing the line is news again for whoever has been far enough below it at that moment."""
    if rules.hot is None or rules.line is None:
        return
    for lead_id, moment in moments.items():
        lead = leads[lead_id]
        lead["hot_armed"] = lead["hot_armed"] or rearms(rules.hot, rules.line, rules.score(lead, moment))


def _move_and_alert(
    connection: Connection,
    rules: LifecycleRules,
    leads: Mapping[int, dict[str, Any]],
    human: Sequence[Any],
    taken_back: Sequence[Revision],
    total: Counter[str],
) -> None:
    """Stages and alerts, once the scores stand."""
    moving = [event for event in _in_order(human) if may_promote(event.kind)]
    correct_stages(connection, rules, leads, taken_back)
    promoted = promote(connection, rules, leads, {event.lead_id: event for event in moving})
    made, told = alert_at_once(connection, rules, human)
    made += alert_stages(connection, rules, promoted)
    causes = {event.lead_id: event for event in moving if shows_interest(event.kind)}
    causes = take_back_alerts(connection, leads, taken_back, rules=rules) | causes
    made += alert_hot(connection, rules, leads, causes, told)
    total.update(promoted=len(promoted), alerts=made)


def _in_order(events: Sequence[Any], *, latest_first: bool = False) -> list[Any]:
    return sorted(events, key=lambda event: (event.at, event.id), reverse=latest_first)
