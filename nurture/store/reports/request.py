"""What a report is asked, and how its answer is built: a period of workspace-local days, and a field to group by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, true

from nurture.domain.problem import Problem

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Period:
    """Whole days in the workspace's zone, both named days included; None is open."""

    first: date | None = None
    last: date | None = None
    zone: tzinfo = UTC

    @property
    def start(self) -> datetime | None:
        """The first moment of the period, in UTC."""
        return None if self.first is None else self._midnight(self.first)

    @property
    def end(self) -> datetime | None:
        """The first moment after the period, in UTC."""
        return None if self.last is None else self._midnight(self.last + timedelta(days=1))

    def holds(self, column: Column[Any]) -> ColumnElement[bool]:
        """The clause that a time lies in the period."""
        start, end = self.start, self.end
        return and_(
            true() if start is None else column >= start,
            true() if end is None else column < end,
        )

    def month_holds(self, month: Column[Any]) -> ColumnElement[bool]:
        """The clause that a month (text, YYYY-MM) and the period share a day."""
        return and_(
            true() if self.first is None else month >= f"{self.first:%Y-%m}",
            true() if self.last is None else month <= f"{self.last:%Y-%m}",
        )

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(0), tzinfo=self.zone).astimezone(UTC)


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """`by` is a field that the report allows; `goals` are those of config.toml, by stage."""

    now: datetime
    period: Period = Period()
    by: str | None = None
    goals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Rows for a program and for a person alike. `fractions` names each rate's (numerator, denominator)."""

    report: str
    period: Period
    rows: Sequence[Row]
    fractions: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def read_period(first: str | None, last: str | None, zone: tzinfo) -> Period:
    """Days as people type them, YYYY-MM-DD. Raises Problem."""
    period = Period(first=_day("--from", first), last=_day("--to", last), zone=zone)
    if period.first is not None and period.last is not None and period.last < period.first:
        raise Problem(f"--to {period.last} lies before --from {period.first}: swap them")
    return period


def lookup(connection: Connection, query: Select[Any]) -> dict[Any, Any]:
    """The rows of a query of two columns: the first one's value -> the second one's."""
    return {row[0]: row[1] for row in connection.execute(query)}


def rate(numerator: float, denominator: float) -> float | None:
    """A share to four digits; None where there is nothing to divide by."""
    return round(numerator / denominator, 4) if denominator else None


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Problem(f"{option} {text!r} is no date: use YYYY-MM-DD, e.g. 2026-11-30") from None
    if not 1970 <= day.year <= 9000:
        raise Problem(f"{option} {text}: the year is out of range")
    return day
