"""From stage to stage: the conversion of a cohort, leads per sale, and how long a stage lasts."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from nurture.domain.stages import LADDER, Stage
from nurture.store import tables as t
from nurture.store.reports.cohort import by_value, cohort, reached, reaches
from nurture.store.reports.request import ReportRequest, Row, lookup, rate

STEPS = (
    (Stage.LEAD, Stage.MQL),
    (Stage.MQL, Stage.PQL),
    (Stage.PQL, Stage.SQL),
    (Stage.MQL, Stage.SQL),
    (Stage.SQL, Stage.OPPORTUNITY),
    (Stage.OPPORTUNITY, Stage.CUSTOMER),
)
"""`pql` is a side path, so both ways from `mql` to `sql` have a row."""
COHORT_MATURE_AFTER = timedelta(days=30)
"""A cohort whose youngest lead is younger still has conversions to come: its rates are marked as immature."""


def report_funnel(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{from, to, entered, converted, rate, mature, standing}`; `standing` is the snapshot: who is at `from` now."""
    leads = cohort(request)
    youngest = connection.scalar(select(func.max(leads.c.created_at)))
    mature = youngest is not None and youngest <= request.now - COHORT_MATURE_AFTER
    standing: Counter[tuple[Any, str]] = Counter()
    for value, stage, count in connection.execute(
        select(leads.c.value, leads.c.stage, func.count()).group_by(leads.c.value, leads.c.stage)
    ):
        standing[value, stage] = count
    rows: list[Row] = []
    groups = by_value(reaches(connection, request)) or {None: []}
    for value, found in groups.items():
        head = {} if request.by is None else {request.by: value}
        for before, after in STEPS:
            entered = reached(found, before)
            if before is Stage.PQL:
                converted = reached([each for each in found if each.pql], after)
            else:
                converted = reached(found, after)
            rows.append(
                {
                    **head,
                    "from": before.value,
                    "to": after.value,
                    "entered": entered,
                    "converted": converted,
                    "rate": rate(converted, entered),
                    "mature": mature,
                    "standing": standing[value, before.value],
                }
            )
    return rows


def report_sales(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{leads, sales, leads_per_sale}` of the cohort; None where nothing was sold."""
    groups = by_value(reaches(connection, request)) or {None: []}
    rows: list[Row] = []
    for value, found in groups.items():
        leads, sales = sum(each.count for each in found), reached(found, Stage.CUSTOMER)
        head = {} if request.by is None else {request.by: value}
        rows.append(
            {**head, "leads": leads, "sales": sales, "leads_per_sale": round(leads / sales, 2) if sales else None}
        )
    return rows


def report_time_in_stage(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{stage, left, median_days, p90_days, standing}`: how long the cohort's finished stays in each stage lasted."""
    leads, moves = cohort(request), t.stage_history.c
    stays: dict[str, list[float]] = defaultdict(list)
    since: dict[int, datetime] = {}
    entered = select(moves.lead_id, moves.at, moves.before, leads.c.created_at).join(leads, leads.c.id == moves.lead_id)
    for row in connection.execute(entered.order_by(moves.lead_id, moves.at, moves.id)):
        began = since.get(row.lead_id, row.created_at)
        stays[row.before].append((row.at - began) / timedelta(days=1))
        since[row.lead_id] = row.at
    standing: dict[str, int] = lookup(connection, select(leads.c.stage, func.count()).group_by(leads.c.stage))
    return [
        {
            "stage": stage.value,
            "left": len(stays[stage.value]),
            "median_days": _quantile(stays[stage.value], 0.5),
            "p90_days": _quantile(stays[stage.value], 0.9),
            "standing": standing.get(stage.value, 0),
        }
        for stage in (*LADDER[1:], Stage.DISQUALIFIED)
    ]


def _quantile(lengths: list[float], share: float) -> float | None:
    if not lengths:
        return None
    if len(lengths) == 1:
        return round(lengths[0], 2)
    cuts = statistics.quantiles(lengths, n=100, method="inclusive")
    return round(cuts[round(share * 100) - 1], 2)
