"""Tests of what happened, as sets: the leads or the enrollments with enough events of a kind, or messages sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, func, or_, select

from nurture.domain.conditions.tree import Happened
from nurture.domain.conditions.vocabulary import TASK_OUTCOMES
from nurture.domain.event import Verdict
from nurture.domain.message import MessageKind, MessageStatus
from nurture.store import tables as t
from nurture.store.spellings import glob_matches, json_number, json_text, json_truth, one_of


def leads_with(test: Happened, *, now: datetime, ids: Sequence[int] | None) -> Select[tuple[int]]:
    """The ids of the leads for which it happened often enough."""
    source = _source(test)
    query = select(source.c.lead_id).where(source.c.lead_id.is_not(None), *_told(test, now))
    if ids is not None:
        query = query.where(one_of(source.c.lead_id, ids))
    return _often_enough(query, source.c.lead_id, test.times)


def enrollments_with(
    test: Happened, *, now: datetime, ids: Sequence[int], since_enrollment: bool
) -> Select[tuple[int]]:
    """The ids of the enrollments for whose lead it happened often enough; a step is the enrollment's own."""
    source, run = _source(test), t.enrollment.alias("run")
    same = [source.c.lead_id == run.c.lead_id]
    if test.step is not None and test.cadence is None:
        same.append(source.c.enrollment_id == run.c.id)
    if since_enrollment:
        same.append(_moment(test) >= run.c.enrolled_at)
    query = select(run.c.id).join_from(run, source, and_(*same)).where(one_of(run.c.id, ids), *_told(test, now))
    return _often_enough(query, run.c.id, test.times)


def _often_enough(query: Select[tuple[int]], key: ColumnElement[int], times: int) -> Select[tuple[int]]:
    return query if times == 1 else query.group_by(key).having(func.count() >= times)


def _source(test: Happened) -> FromClause:
    match test.function:
        case "sent":
            return t.message
        case "task":
            return t.task
        case _:
            return t.event


def _moment(test: Happened) -> ColumnElement[Any]:
    """When: for a message whose outcome is unknown, when its end was written."""
    if test.function == "sent":
        return func.coalesce(t.message.c.sent_at, t.message.c.dotted_at, type_=t.message.c.sent_at.type)
    return t.task.c.closed_at if test.function == "task" else t.event.c.at


def _told(test: Happened, now: datetime) -> list[ColumnElement[bool]]:
    """What the test says of each event or message."""
    source = _source(test)
    match test.function:
        case "sent":
            clauses = _sent()
        case "task":
            clauses = _closed(test)
        case _:
            clauses = _of_event(test)
    if test.step is not None:
        clauses.append(source.c.step == test.step)
    if test.cadence is not None:
        clauses.append(source.c.cadence == test.cadence)
    if test.within_span is not None:
        clauses.append(_moment(test) >= now - test.within_span)
    return clauses


def _sent() -> list[ColumnElement[bool]]:
    """Accepted by the next hop once, or maybe (`unknown` counts as sent)."""
    m = t.message.c
    return [
        m.kind == MessageKind.STEP.value,
        or_(m.sent_at.is_not(None), m.status == MessageStatus.UNKNOWN.value),
    ]


def _closed(test: Happened) -> list[ColumnElement[bool]]:
    """Closed by a rep, in the way that is asked or in any."""
    status = t.task.c.status
    if test.outcome is not None:
        return [status == test.outcome]
    return [status.in_(TASK_OUTCOMES)]


def _of_event(test: Happened) -> list[ColumnElement[bool]]:
    e = t.event.c
    clauses: list[ColumnElement[bool]] = [e.kind == test.event]
    if not test.any_verdict:
        clauses.append(e.verdict == Verdict.HUMAN.value)
    if test.link is not None:
        clauses.append(or_(glob_matches(e.link, test.link), e.link_name == test.link))
    if test.path is not None:
        clauses.append(glob_matches(e.path, test.path))
    clauses.extend(_has_property(name, value) for name, value in test.properties)
    return clauses


def _has_property(name: str, value: str | float | bool) -> ColumnElement[bool]:
    """Props are text, numbers or truth values; a text counts as a number or a truth value where it is spelled so."""
    e = t.event.c
    if name == "value" and not isinstance(value, str | bool):
        return e.value == value
    if name == "currency" and isinstance(value, str):
        return e.currency == value
    if isinstance(value, str):
        return json_text(e.props, name) == value
    if isinstance(value, bool):
        return or_(json_truth(e.props, name).is_(value), json_text(e.props, name) == str(value).lower())
    return or_(json_number(e.props, name) == value, json_text(e.props, name).in_(_spellings(value)))


def _spellings(number: float) -> list[str]:
    """3 is also '3' and '3.0', as a command line or a form brings it."""
    return [f"{int(number)}", f"{number!r}"] if number == int(number) and abs(number) < 1e15 else [f"{number!r}"]
