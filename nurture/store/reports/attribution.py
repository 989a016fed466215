"""What brought the revenue: deals won in the period, credited to the touches before them by five models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from nurture.domain.attribution import MODELS, split_cents
from nurture.domain.event import EventName, Verdict
from nurture.domain.problem import Problem
from nurture.store import tables as t
from nurture.store.reports.request import ReportRequest, Row

CHUNK = 500
TOUCHES = (
    EventName.CLICKED,
    EventName.FORM_SUBMITTED,
    EventName.OFFER_DOWNLOADED,
    EventName.WEBINAR_REGISTERED,
    EventName.WEBINAR_ATTENDED,
)
"""What marketing did and a person took up. The first touch is the channel that the lead came by."""

Touch = tuple[datetime, str]


def report_attribution(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{model, touch, revenue, deals, currency}`; the credits of each model add up to the revenue, to the cent.

    `touch` is `channel/NAME`, `email/CADENCE`, `form/NAME`, `offer/NAME` or `webinar`, and None for a deal without
    any. `deals` had the touch. Raises Problem for mixed currencies.
    """
    won = _won(connection, request)
    currencies = sorted({row.currency or "" for row in won})
    if len(currencies) > 1:
        names = " and ".join(name or "no currency" for name in currencies)
        raise Problem(f"revenue is in {names}, which can't be added up: narrow --from and --to")
    touches = _touches(connection, sorted({row.lead_id for row in won}))
    rows: list[Row] = []
    for model in MODELS:
        cents, deals = _credits(model, won, touches)
        rows.extend(
            {
                "model": model,
                "touch": touch,
                "revenue": cents[touch] / 100,
                "deals": deals[touch],
                "currency": currencies[0] or None,
            }
            for touch in sorted(cents, key=lambda touch: (-cents[touch], touch or ""))
        )
    return rows


def _credits(
    model: str, won: Sequence[Any], touches: dict[int, list[Touch]]
) -> tuple[dict[str | None, int], dict[str | None, int]]:
    """touch -> cents, and touch -> deals."""
    cents: dict[str | None, int] = defaultdict(int)
    deals: dict[str | None, int] = defaultdict(int)
    for deal in won:
        before = sorted(touch for touch in touches[deal.lead_id] if touch[0] <= deal.at)
        amount = round(deal.value * 100)
        if not before:
            cents[None] += amount
            deals[None] += 1
            continue
        weights = MODELS[model]([moment for moment, _ in before], deal.at)
        for (_, touch), share in zip(before, split_cents(amount, weights), strict=True):
            cents[touch] += share
        for touch in {name for _, name in before}:
            deals[touch] += 1
    return cents, deals


def _won(connection: Connection, request: ReportRequest) -> list[Any]:
    e = t.event.c
    query = select(e.lead_id, e.at, e.value, e.currency).where(
        e.kind == EventName.DEAL_WON.value,
        e.verdict == Verdict.HUMAN.value,
        e.value > 0,
        request.period.holds(e.at),
    )
    return list(connection.execute(query))


def _touches(connection: Connection, lead_ids: list[int]) -> dict[int, list[Touch]]:
    lead, e = t.lead.c, t.event.c
    found: dict[int, list[Touch]] = defaultdict(list)
    for start in range(0, len(lead_ids), CHUNK):
        ids = lead_ids[start : start + CHUNK]
        channels = select(lead.id, lead.created_at, lead.channel).where(lead.id.in_(ids), lead.channel.is_not(None))
        for lead_id, created_at, channel in connection.execute(channels):
            found[lead_id].append((created_at, f"channel/{channel}"))
        events = select(e.lead_id, e.at, e.kind, e.cadence, e.props).where(
            e.lead_id.in_(ids), e.kind.in_([kind.value for kind in TOUCHES]), e.verdict == Verdict.HUMAN.value
        )
        for row in connection.execute(events):
            found[row.lead_id].append((row.at, _name(row)))
    return found


def _name(row: Any) -> str:
    match row.kind:
        case EventName.CLICKED.value:
            return f"email/{row.cadence}" if row.cadence else "email"
        case EventName.FORM_SUBMITTED.value:
            return f"form/{row.props['form']}" if "form" in row.props else "form"
        case EventName.OFFER_DOWNLOADED.value:
            return f"offer/{row.props['offer']}" if "offer" in row.props else "offer"
        case _:
            return "webinar"
