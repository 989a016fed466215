"""Leads by stage against their goals, or by a field: who stands where now, of those created in the period."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import Connection, case, func, select

from nurture.domain.problem import Problem
from nurture.domain.stages import LADDER, Stage
from nurture.store import tables as t
from nurture.store.reports.cohort import cohort
from nurture.store.reports.request import ReportRequest, Row, lookup

TYPE = "type"
STAGES = (*LADDER[1:], Stage.DISQUALIFIED)
_GOAL = re.compile(r"^\s*(\d+)\s+per\s+month\s*$")
_INTERESTED = (Stage.MQL, Stage.PQL, Stage.SQL, Stage.OPPORTUNITY)


def report_leads(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{stage, count, reached, goal}`; `{FIELD, count}`; by type lead, and of those prospect and contact.

    `reached` counts leads who entered the stage within the period, whenever they were created; it is what the goal,
    a number a month, speaks of.
    """
    if request.by == TYPE:
        return _by_type(connection, request)
    if request.by is not None and request.by != "stage":
        return _by_field(connection, request, request.by)
    return _by_stage(connection, request)


def _by_stage(connection: Connection, request: ReportRequest) -> list[Row]:
    leads, moves = cohort(request), t.stage_history.c
    standing: dict[str, int] = lookup(connection, select(leads.c.stage, func.count()).group_by(leads.c.stage))
    entered: dict[str, int] = lookup(
        connection,
        select(moves.after, func.count(func.distinct(moves.lead_id)))
        .where(request.period.holds(moves.at))
        .group_by(moves.after),
    )
    return [
        {
            "stage": stage.value,
            "count": standing.get(stage.value, 0),
            "reached": entered.get(stage.value, 0),
            "goal": _goal(request.goals, stage),
        }
        for stage in STAGES
    ]


def _by_field(connection: Connection, request: ReportRequest, name: str) -> list[Row]:
    leads = cohort(request)
    count = func.count().label("leads")
    rows = connection.execute(select(leads.c.value, count).group_by(leads.c.value)).all()
    ordered = sorted(rows, key=lambda row: (row.value is None, -row.leads, str(row.value)))
    return [{name: row.value, "count": row.leads} for row in ordered]


def _by_type(connection: Connection, request: ReportRequest) -> list[Row]:
    lead = t.lead.c
    prospect = lead.fit.in_(["A", "B"]) & lead.stage.in_([stage.value for stage in _INTERESTED])
    row = connection.execute(
        select(
            func.count().label("lead"),
            func.sum(case((prospect, 1), else_=0)).label("prospect"),
            func.sum(case((lead.contacted_at.is_not(None), 1), else_=0)).label("contact"),
        ).where(lead.stage != Stage.VISITOR.value, request.period.holds(lead.created_at))
    ).one()
    return [
        {TYPE: "lead", "count": row.lead},
        {TYPE: "prospect", "count": row.prospect or 0},
        {TYPE: "contact", "count": row.contact or 0},
    ]


def _goal(goals: Mapping[str, str], stage: Stage) -> int | None:
    text = goals.get(stage.value)
    if text is None:
        return None
    match = _GOAL.match(text)
    if not match:
        raise Problem(f"config.toml: [goals] {stage.value} = {text!r}: use e.g. '60 per month'")
    return int(match[1])
