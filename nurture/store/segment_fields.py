"""Fields and values as SQL: how each is read from a lead's row, when it is missing, and how it compares."""

from __future__ import annotations

import operator as op
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, FromClause, and_, func, null, or_

from nurture.domain.conditions.tree import (
    FLIPPED,
    NEGATED,
    Among,
    Compare,
    CompareDays,
    CustomField,
    FieldOperand,
    LeadField,
    Moment,
    Operator,
    TextTest,
    Value,
)
from nurture.domain.conditions.vocabulary import GRADES, UNKNOWN_GRADE, Kind
from nurture.domain.scoring import decay_exponent
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.spellings import (
    as_moment,
    by_code_point,
    contains_folded,
    greater,
    lesser,
    pattern_matches,
    read_number,
    read_text,
    read_truth,
    starts_folded,
    to_millionths,
)

PROSPECT_GRADES = ("A", "B")
PROSPECT_STAGES = (Stage.MQL.value, Stage.PQL.value, Stage.SQL.value, Stage.OPPORTUNITY.value)
_FARTHEST_EXPONENT = 600.0
"""e^±600 is as good as endless and nothing; PostgreSQL fails where a double overflows or underflows."""


class Asked(Protocol):
    """What a field's value depends on beside its row."""

    @property
    def now(self) -> datetime: ...

    @property
    def half_life(self) -> timedelta: ...

    @property
    def engagement_cap(self) -> float: ...

    @property
    def trigger(self) -> FromClause | None:
        """The row of the event that started the enrollment, where there may be one."""
        ...


@dataclass(frozen=True)
class Column:
    """A field in SQL. `may_lack`: NULL is possible; a text may be empty too, which counts as missing."""

    sql: ColumnElement[Any]
    kind: Kind
    may_lack: bool = True


def column(field: FieldOperand, asked: Asked) -> Column:
    """How the field is read from the row of `lead`."""
    if isinstance(field, CustomField):
        # a choice of a custom field may be blank, as a text may
        kind = Kind.TEXT if field.kind is Kind.CHOICE else field.kind
        return Column(_CUSTOM[kind](field.name) if field.of == "custom" else _of_event(field.name, kind, asked), kind)
    match field.name:
        case "engagement":
            return Column(engagement(asked), field.kind, may_lack=False)
        case "score":
            return Column(t.lead.c.fit_points + engagement(asked), field.kind, may_lack=False)
        case "prospect":
            return Column(_prospect(), field.kind, may_lack=False)
        case "stage" | "fit" | "fit_points" | "created_at" | "email" | "email_domain":
            return Column(t.lead.c[field.name], field.kind, may_lack=False)
        case _:
            return Column(t.lead.c[field.name], field.kind)


def engagement(asked: Asked) -> ColumnElement[float]:
    """min(cap, max(0, gains − losses)) as of now, to the millionth, so that 50 points just given are 50 (spec 9.2)."""
    exponent = decay_exponent(asked.half_life, asked.now)
    net = _worth(t.lead.c.gains, exponent) - _worth(t.lead.c.losses, exponent)
    return to_millionths(lesser(greater(net, 0.0), asked.engagement_cap))


def _worth(logarithm: ColumnElement[Any], exponent: float) -> ColumnElement[float]:
    bounded = lesser(greater(logarithm - exponent, -_FARTHEST_EXPONENT), _FARTHEST_EXPONENT)
    return func.coalesce(func.exp(bounded), 0.0)


def _prospect() -> ColumnElement[bool]:
    return and_(t.lead.c.fit.in_(PROSPECT_GRADES), t.lead.c.stage.in_(PROSPECT_STAGES))


_CUSTOM: Mapping[Kind, Callable[[str], ColumnElement[Any]]] = {
    Kind.TEXT: lambda name: read_text(t.lead.c.custom, name),
    Kind.NUMBER: lambda name: read_number(t.lead.c.readings, "number", name),
    Kind.TRUTH: lambda name: read_truth(t.lead.c.readings, "truth", name),
    Kind.MOMENT: lambda name: as_moment(read_text(t.lead.c.readings, "moment", name), t.lead.c.created_at.type),
}


def _of_event(name: str, kind: Kind, asked: Asked) -> ColumnElement[Any]:
    """A property of the triggering event; missing where no event can be meant."""
    if asked.trigger is None:
        return null()
    readings = asked.trigger.c.readings
    match kind:
        case Kind.NUMBER:
            return read_number(readings, "number", name)
        case Kind.TRUTH:
            return read_truth(readings, "truth", name)
        case Kind.MOMENT:
            return as_moment(read_text(readings, "moment", name), t.lead.c.created_at.type)
        case _:
            return read_text(readings, "text", name)


# --- tests, each true where it is true (`holds`), or where it is not


def missing(of: Column, *, holds: bool) -> ColumnElement[bool]:
    """NULL, an empty text, or an unknown grade (or there, where it does not hold)."""
    if of.kind is Kind.GRADE:
        return of.sql == UNKNOWN_GRADE if holds else of.sql != UNKNOWN_GRADE
    if of.kind is Kind.TEXT:
        # NULL <> '' is not true, so the positive test needs no other
        return or_(of.sql.is_(None), of.sql == "") if holds else of.sql != ""
    return of.sql.is_(None) if holds else of.sql.is_not(None)


def truth(of: Column, *, wanted: bool, holds: bool) -> ColumnElement[bool]:
    if not of.may_lack:
        return of.sql if wanted is holds else ~of.sql
    return of.sql.is_(wanted) if holds else or_(of.sql.is_(not wanted), of.sql.is_(None))


def compare(tree: Compare, asked: Asked, *, holds: bool) -> ColumnElement[bool]:
    left = column(tree.left, asked)
    if isinstance(tree.right, LeadField | CustomField):
        return _compare_fields(left, tree.operator, column(tree.right, asked), holds=holds)
    return _compare_value(left, tree.operator, tree.right, holds=holds)


def _compare_fields(left: Column, operator: Operator, right: Column, *, holds: bool) -> ColumnElement[bool]:
    if holds:
        there = [missing(each, holds=False) for each in (left, right) if each.kind is Kind.TEXT]
        return and_(_apply(left, operator, right.sql), *there)
    lacking = [missing(each, holds=True) for each in (left, right) if each.may_lack]
    return or_(_apply(left, NEGATED[operator], right.sql), *lacking)


def _compare_value(left: Column, operator: Operator, value: Value, *, holds: bool) -> ColumnElement[bool]:
    match left.kind, value:
        case Kind.GRADE, str() if operator not in ("==", "!="):
            grades = _grades(operator, value)
            return left.sql.in_(grades) if holds else left.sql.not_in(grades)
        case Kind.TRUTH, bool():
            return truth(left, wanted=value if operator == "==" else not value, holds=holds)
        case Kind.MOMENT, Moment(end=datetime()):
            return _compare_day(left, operator, value, holds=holds)
        case _:
            sql_value = value.start if isinstance(value, Moment) else value
            return _compare_plain(left, operator, sql_value, holds=holds)


def _compare_plain(left: Column, operator: Operator, value: Any, *, holds: bool) -> ColumnElement[bool]:
    if holds:
        clause = _apply(left, operator, value)
        # only what is equal to a text that is not empty can't be empty
        return and_(clause, left.sql != "") if left.kind is Kind.TEXT and operator != "==" else clause
    clause = _apply(left, NEGATED[operator], value)
    return or_(clause, missing(left, holds=True)) if left.may_lack else clause


def _compare_day(left: Column, operator: Operator, day: Moment, *, holds: bool) -> ColumnElement[bool]:
    """A bare date is a whole day: before it, in it, or after it."""
    start, end = day.start, day.end
    if operator in ("==", "!="):
        inside = (operator == "==") is holds
        clause = and_(left.sql >= start, left.sql < end) if inside else or_(left.sql < start, left.sql >= end)
        return clause if holds or not left.may_lack else or_(clause, left.sql.is_(None))
    if operator in ("<", ">="):
        return _compare_plain(left, operator, start, holds=holds)
    return _compare_plain(left, "<" if operator == "<=" else ">=", end, holds=holds)


def _grades(operator: Operator, grade: str) -> list[str]:
    """The grades that compare so; an unknown one compares with nothing."""
    place = GRADES.index(grade)
    match operator:
        case "<":
            return list(GRADES[:place])
        case "<=":
            return list(GRADES[: place + 1])
        case ">":
            return list(GRADES[place + 1 :])
        case _:
            return list(GRADES[place:])


def _apply(left: Column, operator: Operator, right: Any) -> ColumnElement[bool]:
    """SQL's own comparison: NULL where anything is NULL."""
    ordered = left.kind is Kind.TEXT and operator not in ("==", "!=")
    return _SQL[operator](by_code_point(left.sql) if ordered else left.sql, right)


_SQL: Mapping[Operator, Callable[[Any, Any], ColumnElement[bool]]] = {
    "==": op.eq,
    "!=": op.ne,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
}


def compare_days(tree: CompareDays, asked: Asked, *, holds: bool) -> ColumnElement[bool]:
    """Days are compared as moments: `days_since(x) < 30` is `x > now − 30 days`, so an index serves."""
    away = timedelta(days=tree.right)
    left = column(tree.left.field, asked)
    if tree.left.direction == "since":
        return _compare_plain(left, FLIPPED[tree.operator], asked.now - away, holds=holds)
    return _compare_plain(left, tree.operator, asked.now + away, holds=holds)


def among(tree: Among, asked: Asked, *, holds: bool) -> ColumnElement[bool]:
    of = column(tree.field, asked)
    if of.kind is Kind.MOMENT:
        return _among_moments(of, tree, holds=holds)
    inside = tree.negated is not holds
    clause = of.sql.in_(tree.values) if inside else of.sql.not_in(tree.values)
    if holds:
        return and_(clause, of.sql != "") if tree.negated and of.kind is Kind.TEXT else clause
    return or_(clause, missing(of, holds=True)) if of.may_lack else clause


def _among_moments(of: Column, tree: Among, *, holds: bool) -> ColumnElement[bool]:
    """Dates are days, so each is a comparison of its own."""
    inside = or_(*(_compare_value(of, "==", value, holds=True) for value in tree.values))
    outside = and_(*(_compare_value(of, "!=", value, holds=True) for value in tree.values))
    if holds:
        return outside if tree.negated else inside
    opposite = inside if tree.negated else outside
    return or_(opposite, of.sql.is_(None)) if of.may_lack else opposite


def text_test(tree: TextTest, asked: Asked, *, holds: bool) -> ColumnElement[bool]:
    of = column(tree.field, asked)
    found = _found(of.sql, tree)
    if tree.test != "matches":  # what holds some text is not empty
        return found if holds else or_(~found, of.sql.is_(None))
    return and_(found, missing(of, holds=False)) if holds else or_(~found, missing(of, holds=True))


def _found(sql: ColumnElement[Any], tree: TextTest) -> ColumnElement[bool]:
    if tree.pattern is not None:
        return pattern_matches(sql, tree.pattern)
    if tree.test == "starts_with":
        return starts_folded(sql, tree.needle)
    return contains_folded(sql, tree.needle)
