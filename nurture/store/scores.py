"""The score ledger: what each event and each fit rule is worth, booked set-wise, and corrected by new lines only.

A line's `at` is the moment from which it fades, so a correction carries the time of the event that it corrects, and the
lines of a lead add up to its score at any moment. An event stays booked once: a batch books what `react` has claimed in
the same transaction, and whatever was booked before is subtracted from what it is worth now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from nurture.domain.event import Verdict
from nurture.domain.lifecycle import Engagement, PointsRule
from nurture.domain.scoring import SAME, Scored, bounded_fit, matches, rule_names, say_bound, sums_of, worth_of
from nurture.store import tables as t
from nurture.store.database import one_of

ENGAGEMENT, FIT = "engagement", "fit"
BOUND = "bound"
"""The fit line that stands for the bounds 0 and 40."""


@dataclass(frozen=True, kw_only=True)
class HappenedEvent:
    """What of an event decides its points. `booked_before`: it may have lines in the ledger already."""

    id: int
    lead_id: int
    kind: str
    at: datetime
    path: str | None
    is_human: bool
    booked_before: bool


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line to be written; `at` is the moment from which its points fade."""

    lead_id: int
    at: datetime
    rule: str
    points: float
    event_id: int | None = None
    note: str | None = None


def book_engagement(
    connection: Connection, engagement: Engagement, events: Sequence[HappenedEvent]
) -> dict[int, list[Line]]:
    """Book what these events are worth by every rule that they match; a machine's are worth nothing.

    Where a bound acts on a rule, lines of later events are corrected too. Returns the new lines by lead.
    """
    rules = dict(zip(rule_names(engagement.points), engagement.points, strict=True))
    touched: dict[tuple[int, str], list[HappenedEvent]] = defaultdict(list)
    for event in events:
        for name, rule in rules.items():
            if (event.is_human or event.booked_before) and matches(rule, event.kind, event.path):
                touched[(event.lead_id, name)].append(event)
    known = _known(connection, touched, rules)
    lines: dict[int, list[Line]] = defaultdict(list)
    for (lead_id, name), changed in touched.items():
        for line in _lines(lead_id, name, rules[name], changed, known.get((lead_id, name), {})):
            lines[lead_id].append(line)
    _write(connection, ENGAGEMENT, [line for each in lines.values() for line in each])
    return lines


def _known(
    connection: Connection,
    touched: Mapping[tuple[int, str], Sequence[HappenedEvent]],
    rules: Mapping[str, PointsRule],
) -> dict[tuple[int, str], dict[int, Scored]]:
    """(lead, rule) -> event id -> what is booked for it: of the stretch that a bound looks at, and of events again."""
    known: dict[tuple[int, str], dict[int, Scored]] = defaultdict(dict)
    bounds = {name: rule.at_most.within for name, rule in rules.items() if rule.at_most is not None}
    capped = {key: events for key, events in touched.items() if key[1] in bounds}
    again = [event.id for events in touched.values() for event in events if event.booked_before]
    line, event = t.score_ledger.c, t.event.c
    booked = (
        select(line.lead_id, line.rule, line.event_id, line.at, func.sum(line.points).label("points"), event.verdict)
        .join(t.event, event.id == line.event_id)
        .where(line.kind == ENGAGEMENT)
        .group_by(line.lead_id, line.rule, line.event_id, line.at, event.verdict)
    )
    asked = []
    if capped:
        since = min(event.at - bounds[name] for (_, name), events in capped.items() for event in events)
        names = sorted({name for _, name in capped})
        leads = one_of(line.lead_id, sorted({lead_id for lead_id, _ in capped}))
        asked.append(booked.where(leads, line.rule.in_(names), line.at > since))
    if again:
        leads = one_of(line.lead_id, sorted({lead_id for lead_id, _ in touched}))
        asked.append(booked.where(leads, one_of(line.event_id, again)))
    for query in asked:
        for row in connection.execute(query):
            known[(row.lead_id, row.rule)][row.event_id] = Scored(
                event_id=row.event_id, at=row.at, booked=row.points, counts=row.verdict == Verdict.HUMAN
            )
    return known


def _lines(
    lead_id: int, name: str, rule: PointsRule, changed: Sequence[HappenedEvent], known: Mapping[int, Scored]
) -> list[Line]:
    events = dict(known)
    for each in changed:
        before = events.get(each.id) or Scored(event_id=each.id, at=each.at, booked=None)
        events[each.id] = replace(before, counts=each.is_human)
    since = min((each.at, each.id) for each in changed)
    if rule.at_most is None:
        events = {each.id: events[each.id] for each in changed}
    lines = []
    for event_id, points in worth_of(rule, list(events.values()), since=since).items():
        event = events[event_id]
        first = event.booked is None
        if (first and not event.counts) or (not first and abs(points - (event.booked or 0.0)) <= SAME):
            continue
        note = _note(rule, event, points)
        added = points - (event.booked or 0.0)
        lines.append(Line(lead_id=lead_id, at=event.at, rule=name, points=added, event_id=event_id, note=note))
    return lines


def _note(rule: PointsRule, event: Scored, points: float) -> str | None:
    """Why the line is not simply the rule's points."""
    if not event.counts:
        return "taken back: it was no person"
    said = [] if event.booked is None else ["booked again: another event changed"]
    if rule.at_most is not None and abs(points) < abs(rule.points) - SAME:
        said.append(say_bound(rule.at_most))
    return ", ".join(said) or None


def book_fit(connection: Connection, wanted: Mapping[int, Mapping[str, float]], *, now: datetime) -> dict[int, float]:
    """lead id -> rule -> points that hold now: the ledger gets the differences. Returns each lead's bounded fit."""
    line = t.score_ledger.c
    booked: dict[int, dict[str, float]] = defaultdict(dict)
    rows = connection.execute(
        select(line.lead_id, line.rule, func.sum(line.points).label("points"))
        .where(one_of(line.lead_id, sorted(wanted)), line.kind == FIT)
        .group_by(line.lead_id, line.rule)
    )
    for row in rows:
        booked[row.lead_id][row.rule] = row.points
    lines, fits = [], {}
    for lead_id, points in wanted.items():
        fits[lead_id], bound = bounded_fit(points)
        target = {**points, BOUND: bound}
        for rule in {**booked[lead_id], **target}:
            added = target.get(rule, 0.0) - booked[lead_id].get(rule, 0.0)
            if abs(added) > SAME:
                note = "fit is 0 to 40" if rule == BOUND else None if rule in points else "holds no more"
                lines.append(Line(lead_id=lead_id, at=now, rule=rule, points=added, note=note))
    _write(connection, FIT, lines)
    return fits


def _write(connection: Connection, kind: str, lines: Sequence[Line]) -> None:
    if lines:
        connection.execute(insert(t.score_ledger), [{**line.__dict__, "kind": kind} for line in lines])


def rebuild_sums(connection: Connection, lead_ids: Sequence[int], *, half_life: timedelta) -> None:
    """Gains and losses from the ledger, for another half-life than the one they were kept by."""
    line = t.score_ledger.c
    rows = connection.execute(
        select(line.lead_id, line.at, line.points).where(one_of(line.lead_id, lead_ids), line.kind == ENGAGEMENT)
    )
    lines: dict[int, list[tuple[datetime, float]]] = {lead_id: [] for lead_id in lead_ids}
    for row in rows:
        lines[row.lead_id].append((row.at, row.points))
    sums = {lead_id: sums_of(each, half_life) for lead_id, each in lines.items()}
    connection.execute(
        update(t.lead)
        .where(t.lead.c.id == bindparam("lead"))
        .values(gains=bindparam("new_gains"), losses=bindparam("new_losses")),
        [{"lead": lead_id, "new_gains": gains, "new_losses": losses} for lead_id, (gains, losses) in sums.items()],
    )


def unbooked_events(connection: Connection, lead_ids: Iterable[int]) -> Sequence[Any]:
    """The events of people that were reacted to while these leads were visitors, who are not scored."""
    event, ids = t.event.c, sorted(lead_ids)
    if not ids:
        return []
    by_people = (event.verdict == Verdict.HUMAN.value) & event.reacted_at.is_not(None)
    return connection.execute(select(t.event).where(one_of(event.lead_id, ids), by_people)).all()
