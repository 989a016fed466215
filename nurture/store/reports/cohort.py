"""The leads of a period and how far they ever came: the base of the funnel, of costs and of sales.

A lead is in the cohort of the day it was created. Whoever has given no permission yet is a visitor and not counted.
A skipped stage counts as passed, except `pql`, which only its own condition gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, case, func, literal, null, select, union_all

from nurture.domain.problem import Problem
from nurture.domain.stages import LADDER, Stage
from nurture.store import tables as t
from nurture.store.reports.request import ReportRequest

LEAD_FIELDS = (
    "channel",
    "campaign",
    "source",
    "offer",
    "country",
    "language",
    "persona",
    "partner",
    "owner",
    "company",
    "fit",
    "stage",
)
CUSTOM = "custom."
RANKS: Mapping[str, int] = {stage.value: rank for rank, stage in enumerate(LADDER)}


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How many leads of a group came exactly this far; `pql` says whether by way of that stage."""

    value: Any
    rank: int
    pql: bool
    count: int


def group_column(by: str | None) -> ColumnElement[Any]:
    """The lead's value to group by; NULL groups all. Raises Problem for a field that is none."""
    if by is None:
        return null()
    if by in LEAD_FIELDS:
        return t.lead.c[by]
    if by.startswith(CUSTOM) and len(by) > len(CUSTOM):
        value: ColumnElement[Any] = t.lead.c.custom[by.removeprefix(CUSTOM)].as_string()
        return value
    raise Problem(f"--by {by}: use one of {', '.join(LEAD_FIELDS)}, or custom.NAME")


def cohort(request: ReportRequest) -> Subquery:
    """(id, value, stage, created_at) of the leads created in the period."""
    lead = t.lead.c
    return (
        select(lead.id, group_column(request.by).label("value"), lead.stage, lead.created_at)
        .where(lead.stage != Stage.VISITOR.value, request.period.holds(lead.created_at))
        .subquery("cohort")
    )


def reaches(connection: Connection, request: ReportRequest) -> list[Reach]:
    """The furthest stage that each lead of the cohort ever reached, counted by group."""
    leads, moves = cohort(request), t.stage_history.c
    stood = union_all(
        select(leads.c.id.label("lead_id"), leads.c.stage.label("stage")),
        select(moves.lead_id, moves.after),
        select(moves.lead_id, moves.before),
    ).subquery()
    rank = case(*((stood.c.stage == stage, place) for stage, place in RANKS.items()), else_=0)
    is_pql = case((stood.c.stage == Stage.PQL.value, 1), else_=0)
    furthest = (
        select(leads.c.value, func.max(rank).label("rank"), func.max(is_pql).label("pql"))
        .join(stood, stood.c.lead_id == leads.c.id)
        .group_by(leads.c.id, leads.c.value)
        .subquery()
    )
    columns = (furthest.c.value, furthest.c.rank, furthest.c.pql)
    rows = connection.execute(select(*columns, func.count(literal(1)).label("leads")).group_by(*columns))
    return [Reach(value=row.value, rank=row.rank, pql=bool(row.pql), count=row.leads) for row in rows]


def reached(found: Sequence[Reach], stage: Stage) -> int:
    """How many came to the stage or passed it; for `pql` how many were in it."""
    if stage is Stage.PQL:
        return sum(each.count for each in found if each.pql)
    return sum(each.count for each in found if each.rank >= RANKS[stage.value])


def by_value(found: Sequence[Reach]) -> dict[Any, list[Reach]]:
    """The groups, the largest first and those without a value last."""
    groups: dict[Any, list[Reach]] = {}
    for each in found:
        groups.setdefault(each.value, []).append(each)
    order = sorted(groups, key=lambda value: (value is None, -sum(each.count for each in groups[value]), str(value)))
    return {value: groups[value] for value in order}
