"""What a lead and a qualified lead cost, by channel and overall. No spend known is no number, never 0."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select

from nurture.domain.folding import fold
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.reports.cohort import Reach, reached, reaches
from nurture.store.reports.request import ReportRequest, Row

FIELDS = ("channel", "campaign")
ALL = "all"
QUALIFIED = Stage.MQL


def report_cost(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{channel, spend, leads, cost_per_lead, qualified, cost_per_qualified, currency}`, the row `all` last.

    Leads are those created in the period; qualified are those of them who came to `mql` or further. Spend is that of
    every month which the period touches, whole. Channels match in any case. Raises Problem for mixed currencies.
    """
    name = request.by or "channel"
    spent, currency = _spent(connection, request, name)
    names: dict[str, str | None] = {key: text for key, (text, _) in spent.items()}
    groups: dict[str, list[Reach]] = defaultdict(list)
    found = reaches(connection, replace(request, by=name))
    for each in found:
        key = fold(each.value or "").strip()
        groups[key].append(each)
        names.setdefault(key, each.value)
    order = sorted(names, key=lambda key: (key == "", -sum(each.count for each in groups[key]), key))
    rows = [
        _row(name, names[key] or None, spent[key][1] if key in spent else None, groups[key], currency) for key in order
    ]
    total = sum(amount for _, amount in spent.values()) if spent else None
    return [*rows, _row(name, ALL, total, found, currency)]


def _row(name: str, value: str | None, spend: float | None, leads: list[Reach], currency: str | None) -> Row:
    count, qualified = sum(each.count for each in leads), reached(leads, QUALIFIED)
    return {
        name: value,
        "spend": None if spend is None else round(spend, 2),
        "leads": count,
        "cost_per_lead": _each(spend, count),
        "qualified": qualified,
        "cost_per_qualified": _each(spend, qualified),
        "currency": None if spend is None else currency,
    }


def _each(spend: float | None, count: int) -> float | None:
    return None if spend is None or count == 0 else round(spend / count, 2)


def _spent(
    connection: Connection, request: ReportRequest, name: str
) -> tuple[dict[str, tuple[str, float]], str | None]:
    """folded channel -> (as written, amount), and the one currency."""
    s = t.spend.c
    column: Any = s[name]
    rows = connection.execute(
        select(column.label("value"), s.currency, func.sum(s.amount).label("amount"))
        .where(request.period.month_holds(s.month))
        .group_by(column, s.currency)
        .order_by(column)
    ).all()
    currencies = sorted({row.currency for row in rows})
    if len(currencies) > 1:
        raise Problem(
            f"spend is in {' and '.join(currencies)}, which can't be added up: "
            "import it in one currency, or narrow --from and --to"
        )
    spent: dict[str, tuple[str, float]] = {}
    for row in rows:
        key = fold(row.value).strip()
        text, before = spent.get(key, (row.value, 0.0))
        spent[key] = (text, before + row.amount)
    return spent, currencies[0] if currencies else None
