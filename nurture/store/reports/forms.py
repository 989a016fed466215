"""Hosted forms: how many saw one, sent it, confirmed, and came to be qualified."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.reports.cohort import RANKS
from nurture.store.reports.request import ReportRequest, Row, lookup, rate

FRACTIONS = {"submit_rate": ("submits", "views"), "confirm_rate": ("confirmed", "submits")}
_QUALIFIED = [stage for stage, rank in RANKS.items() if rank >= RANKS[Stage.MQL.value]]


def report_forms(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{form, views, submits, confirmed, qualified, …}`: views and submits of the period, people counted once a form.

    `confirmed` and `qualified` (came to `mql` or further) are of those who submitted in the period.
    """
    o, view, moves = t.opt_in.c, t.form_view.c, t.stage_history.c
    views: dict[str, int] = lookup(
        connection, select(view.form, func.sum(view.views)).where(_day_holds(request)).group_by(view.form)
    )
    qualified_leads = select(moves.lead_id).where(moves.after.in_(_QUALIFIED))
    standing = select(t.lead.c.id).where(t.lead.c.stage.in_(_QUALIFIED))
    in_period = request.period.holds(o.at)

    def people(*clauses: ColumnElement[bool]) -> dict[str, int]:
        query = select(o.form, func.count(func.distinct(o.lead_id))).where(in_period, *clauses).group_by(o.form)
        return lookup(connection, query)

    submits, confirmed = people(), people(o.confirmed_at.is_not(None))
    qualified = people(o.lead_id.in_(qualified_leads) | o.lead_id.in_(standing))
    return [
        {
            "form": form,
            "views": views.get(form, 0),
            "submits": submits.get(form, 0),
            "submit_rate": rate(submits.get(form, 0), views.get(form, 0)),
            "confirmed": confirmed.get(form, 0),
            "confirm_rate": rate(confirmed.get(form, 0), submits.get(form, 0)),
            "qualified": qualified.get(form, 0),
        }
        for form in sorted(set(views) | set(submits))
    ]


def _day_holds(request: ReportRequest) -> ColumnElement[bool]:
    day, period = t.form_view.c.day, request.period
    return and_(
        true() if period.first is None else day >= period.first.isoformat(),
        true() if period.last is None else day <= period.last.isoformat(),
    )
