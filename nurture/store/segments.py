"""Conditions as SQL: the only execution they have, asked of a million leads or of one.

Logic is two-valued though SQL's is not: negation is pushed down to the single tests, and only a negated comparison is
also true where the value is missing (wrapping everything would cost the indexes). Tests of events, messages and tags
are `id [NOT] IN (SELECT …)` over a whole set, never correlated; where ids are asked, they stand inside as well.
Every value is a bound parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, false, or_, select, true

from nurture.domain.conditions import Condition
from nurture.domain.conditions.tree import (
    Always,
    Among,
    And,
    Compare,
    CompareDays,
    CustomField,
    Happened,
    HasTag,
    Holds,
    LeadField,
    Missing,
    Not,
    Or,
    TextTest,
    Tree,
    fields_in,
)
from nurture.domain.lifecycle import Engagement
from nurture.store import segment_events as events
from nurture.store import segment_fields as fields
from nurture.store import tables as t
from nurture.store.spellings import apart, one_of, outside

Since = Literal["enrollment", "ever"]
IDS_AT_ONCE = 10_000
JOINED_TESTS = 5


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What an answer depends on beside the rows: the moment, and how engagement is counted."""

    now: datetime
    half_life: timedelta
    engagement_cap: float

    @classmethod
    def by(cls, engagement: Engagement, *, now: datetime) -> Asking:
        """As the lifecycle counts it."""
        return cls(now=now, half_life=engagement.half_life, engagement_cap=engagement.cap)


def lead_clause(condition: Condition, asking: Asking, *, ids: Sequence[int] | None = None) -> ColumnElement[bool]:
    """True of the leads that meet the condition, for the WHERE of a query over `lead`; `ids` narrows what is looked at.

    It may be NULL where it is not true, so SQL's NOT does not turn it round: use `condition.negated()`. What counts
    from an enrollment on is false here, because there is none.
    """
    return _clause(condition.tree, _OfLeads(asking=asking, ids=ids, joins=_may_join(condition.tree)))


def triggered_clause(condition: Condition, asking: Asking) -> ColumnElement[bool]:
    """As `lead_clause`, of a query over `lead` joined with TRIGGER, the event that `event.X` speaks of."""
    place = _OfLeads(asking=asking, ids=None, joins=_may_join(condition.tree), trigger=TRIGGER)
    return _clause(condition.tree, place)


def leads_meeting(
    connection: Connection, condition: Condition, asking: Asking, *, ids: Sequence[int] | None = None
) -> set[int]:
    """The ids of the leads that meet the condition: of all, or of those asked."""
    if ids is None:
        return set(connection.scalars(select(t.lead.c.id).where(lead_clause(condition, asking))))
    found: set[int] = set()
    for some in _portions(ids):
        query = select(t.lead.c.id).where(one_of(t.lead.c.id, some), lead_clause(condition, asking, ids=some))
        found.update(connection.scalars(query))
    return found


def enrollments_meeting(
    connection: Connection, condition: Condition, asking: Asking, *, ids: Sequence[int], since: Since
) -> set[int]:
    """The ids of those of these enrollments whose lead meets the condition, in one query for the group.

    `since` is how tests of events count where they do not say: from the enrollment on, or ever. `clicked(step="x")`
    without `cadence=` speaks of the enrollment's own messages.
    """
    rows, found = t.enrollment.c, set[int]()
    for some in _portions(ids):
        place = _OfEnrollments(asking=asking, ids=some, since=since, joins=_may_join(condition.tree), trigger=TRIGGER)
        query = (
            select(rows.id)
            .join(t.lead, t.lead.c.id == rows.lead_id)
            .where(one_of(rows.id, some), _clause(condition.tree, place))
        )
        if speaks_of_event(condition.tree):
            query = query.outerjoin(TRIGGER, TRIGGER.c.id == rows.event_id)
        found.update(connection.scalars(query))
    return found


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]


# --- where a condition stands: what tests of events and tags are asked of


TRIGGER = t.event.alias("trigger_event")
"""The row of the event that started an enrollment."""


class _Place(fields.Asked, Protocol):
    """Where a condition is asked, and so what its fields and tests are read from."""

    def happened(self, test: Happened, *, holds: bool) -> ColumnElement[bool]: ...

    def tagged(self, tag: str, *, holds: bool) -> ColumnElement[bool]: ...


@dataclass(frozen=True, kw_only=True)
class _OfLeads:
    asking: Asking
    ids: Sequence[int] | None
    joins: bool
    trigger: FromClause | None = None

    @property
    def now(self) -> datetime:
        return self.asking.now

    @property
    def half_life(self) -> timedelta:
        return self.asking.half_life

    @property
    def engagement_cap(self) -> float:
        return self.asking.engagement_cap

    def happened(self, test: Happened, *, holds: bool) -> ColumnElement[bool]:
        if test.since == "enrollment":
            return false() if holds else true()
        return _within(
            t.lead.c.id, events.leads_with(test, now=self.asking.now, ids=self.ids), holds=holds, joins=self.joins
        )

    def tagged(self, tag: str, *, holds: bool) -> ColumnElement[bool]:
        tagged = select(t.lead_tag.c.lead_id).where(t.lead_tag.c.tag == tag)
        if self.ids is not None:
            tagged = tagged.where(one_of(t.lead_tag.c.lead_id, self.ids))
        return _within(t.lead.c.id, tagged, holds=holds, joins=self.joins)


@dataclass(frozen=True, kw_only=True)
class _OfEnrollments(_OfLeads):
    ids: Sequence[int]
    since: Since

    def happened(self, test: Happened, *, holds: bool) -> ColumnElement[bool]:
        from_it_on = (test.since or self.since) == "enrollment"
        with_it = events.enrollments_with(test, now=self.asking.now, ids=self.ids, since_enrollment=from_it_on)
        return _within(t.enrollment.c.id, with_it, holds=holds, joins=self.joins)

    def tagged(self, tag: str, *, holds: bool) -> ColumnElement[bool]:
        own = select(t.enrollment.c.lead_id).where(one_of(t.enrollment.c.id, self.ids))
        tagged = select(t.lead_tag.c.lead_id).where(t.lead_tag.c.tag == tag, t.lead_tag.c.lead_id.in_(own))
        return _within(t.lead.c.id, tagged, holds=holds, joins=self.joins)


def _within(column: ColumnElement[Any], chosen: Select[tuple[int]], *, holds: bool, joins: bool) -> ColumnElement[bool]:
    clause = column.in_(chosen) if holds else outside(column, chosen)
    return clause if joins else apart(clause)


def speaks_of_event(tree: Tree) -> bool:
    """Whether `event.X` is in it."""
    match tree:
        case Not(part=part):
            return speaks_of_event(part)
        case And(parts=parts) | Or(parts=parts):
            return any(map(speaks_of_event, parts))
        case _:
            return any(isinstance(each, CustomField) and each.of == "event" for each in fields_in(tree))


def _may_join(tree: Tree) -> bool:
    """Whether there are few enough set tests for a planner to weigh every order of joining them."""
    return _set_tests(tree) <= JOINED_TESTS


def _set_tests(tree: Tree) -> int:
    match tree:
        case Not(part=part):
            return _set_tests(part)
        case And(parts=parts) | Or(parts=parts):
            return sum(map(_set_tests, parts))
        case _:
            return isinstance(tree, HasTag | Happened)


# --- the tree


def _clause(tree: Tree, place: _Place, *, holds: bool = True) -> ColumnElement[bool]:
    """True where the tree is true (`holds`), or where it is not; NULL never stands for true."""
    match tree:
        case Not(part=part):
            return _clause(part, place, holds=not holds)
        case And(parts=parts) | Or(parts=parts):
            together = and_ if isinstance(tree, And) is holds else or_
            return together(*(_clause(part, place, holds=holds) for part in sorted(parts, key=_effort)))
        case Always(holds=value):
            return true() if value is holds else false()
        case HasTag(tag=tag):
            return place.tagged(tag, holds=holds)
        case Happened():
            return place.happened(tree, holds=holds)
        case _:
            return _comparison(tree, place, holds=holds)


def _effort(tree: Tree) -> int:
    """How much a row costs, roughly: SQLite asks in the order of the text, so the plain comparisons go first."""
    match tree:
        case Not(part=part):
            return _effort(part)
        case And(parts=parts) | Or(parts=parts):
            return max(map(_effort, parts))
        case Compare(left=LeadField(name="score" | "engagement")):
            return 3
        case TextTest() | Compare(left=CustomField()) | Among(field=CustomField()):
            return 2
        case HasTag() | Happened():
            return 1
        case _:
            return 0


def _comparison(
    tree: Holds | Compare | CompareDays | Among | Missing | TextTest, asking: fields.Asked, *, holds: bool
) -> ColumnElement[bool]:
    match tree:
        case Holds(field=field):
            return fields.truth(fields.column(field, asking), wanted=True, holds=holds)
        case Compare():
            return fields.compare(tree, asking, holds=holds)
        case CompareDays():
            return fields.compare_days(tree, asking, holds=holds)
        case Among():
            return fields.among(tree, asking, holds=holds)
        case Missing(field=field, negated=negated):
            return fields.missing(fields.column(field, asking), holds=holds is not negated)
        case TextTest():
            return fields.text_test(tree, asking, holds=holds)
