"""Numbers for people, each report one family a file: `run_report(connection, "funnel", request)`.

To add one: write `report_NAME(connection, request) -> list[Row]` and name it in `REPORTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from nurture.domain.problem import Problem
from nurture.store.reports import alerts, cadence, cost, experiments, forms, mail
from nurture.store.reports.alerts import report_alerts
from nurture.store.reports.attribution import report_attribution
from nurture.store.reports.cadence import report_cadence
from nurture.store.reports.cohort import CUSTOM, LEAD_FIELDS
from nurture.store.reports.cost import report_cost
from nurture.store.reports.experiments import report_experiments
from nurture.store.reports.forms import report_forms
from nurture.store.reports.funnel import report_funnel, report_sales, report_time_in_stage
from nurture.store.reports.leads import TYPE, report_leads
from nurture.store.reports.mail import report_deliverability, report_links
from nurture.store.reports.request import Period, Report, ReportRequest, Row, read_period

__all__ = ["REPORTS", "Period", "Report", "ReportRequest", "Row", "read_period", "run_report"]


@dataclass(frozen=True, kw_only=True)
class ReportKind:
    """`by`: the fields it may be grouped by. `fractions`: each rate's numerator and denominator."""

    rows: Callable[[Connection, ReportRequest], list[Row]]
    by: tuple[str, ...] = ()
    fractions: Mapping[str, tuple[str, str]] = field(default_factory=dict)


_LEAD_FIELDS = (*LEAD_FIELDS, f"{CUSTOM}NAME")

REPORTS: Mapping[str, ReportKind] = {
    "leads": ReportKind(rows=report_leads, by=(TYPE, *_LEAD_FIELDS)),
    "funnel": ReportKind(rows=report_funnel, by=_LEAD_FIELDS, fractions={"rate": ("converted", "entered")}),
    "time-in-stage": ReportKind(rows=report_time_in_stage),
    "cost": ReportKind(rows=report_cost, by=cost.FIELDS),
    "sales": ReportKind(rows=report_sales, by=_LEAD_FIELDS),
    "cadence": ReportKind(rows=report_cadence, fractions=cadence.FRACTIONS),
    "experiments": ReportKind(rows=report_experiments, fractions=experiments.FRACTIONS),
    "deliverability": ReportKind(rows=report_deliverability, fractions=mail.DELIVERABILITY_FRACTIONS),
    "attribution": ReportKind(rows=report_attribution),
    "alerts": ReportKind(rows=report_alerts, by=alerts.FIELDS, fractions=alerts.FRACTIONS),
    "forms": ReportKind(rows=report_forms, fractions=forms.FRACTIONS),
    "links": ReportKind(rows=report_links),
}


def run_report(connection: Connection, name: str, request: ReportRequest) -> Report:
    """The report of that name. Raises Problem for a name or a field that is none."""
    kind = REPORTS.get(name)
    if kind is None:
        raise Problem(f"no report '{name}': use one of {', '.join(REPORTS)}")
    if request.by is not None and request.by not in kind.by and not _is_custom(request.by, kind):
        can = f"use one of {', '.join(kind.by)}" if kind.by else "it has no --by"
        raise Problem(f"report {name} --by {request.by}: {can}")
    rows = kind.rows(connection, request)
    return Report(report=name, period=request.period, rows=rows, fractions=kind.fractions)


def _is_custom(by: str, kind: ReportKind) -> bool:
    return f"{CUSTOM}NAME" in kind.by and by.startswith(CUSTOM) and len(by) > len(CUSTOM)
