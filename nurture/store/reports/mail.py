"""Mail by receiving domain, and links by what people did with them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from nurture.domain.event import EventName, Verdict
from nurture.domain.message import MessageKind, MessageStatus, ReplyClass
from nurture.store import tables as t
from nurture.store.reports.request import ReportRequest, Row, lookup, rate

DELIVERABILITY_FRACTIONS = {"hard_rate": ("hard", "sent"), "complaint_rate": ("complained", "sent")}


def report_deliverability(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{domain, sent, hard, soft, block, complained, …}` of mail to leads made in the period, by recipient domain.

    `sent` was accepted by the next hop, also where a bounce came later; the others are the last reply's class.
    """
    m, e = t.message, t.event
    in_period = and_(m.c.kind != MessageKind.ALERT.value, request.period.holds(m.c.created_at))
    accepted = and_(m.c.status.in_([MessageStatus.SENT.value, MessageStatus.BOUNCED.value]), m.c.sent_at.is_not(None))
    rows = connection.execute(
        select(
            m.c.recipient_domain,
            _count(accepted).label("sent"),
            _count(m.c.status == MessageStatus.BOUNCED.value).label("hard"),
            _count(m.c.reply_class == ReplyClass.SOFT.value).label("soft"),
            _count(m.c.reply_class == ReplyClass.BLOCK.value).label("block"),
        )
        .where(in_period)
        .group_by(m.c.recipient_domain)
    ).all()
    complained: dict[str, int] = lookup(
        connection,
        select(m.c.recipient_domain, func.count(func.distinct(m.c.id)))
        .join(e, e.c.message_id == m.c.id)
        .where(in_period, e.c.kind == EventName.COMPLAINED.value)
        .group_by(m.c.recipient_domain),
    )
    return [
        {
            "domain": row.recipient_domain,
            "sent": row.sent,
            "hard": row.hard,
            "hard_rate": rate(row.hard, row.sent),
            "soft": row.soft,
            "block": row.block,
            "complained": complained.get(row.recipient_domain, 0),
            "complaint_rate": rate(complained.get(row.recipient_domain, 0), row.sent),
        }
        for row in sorted(rows, key=lambda row: (-row.sent, row.recipient_domain))
    ]


def report_links(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{cadence, step, link, people, clicks, machine}`: clicks in the period; `machine` ones are in neither number."""
    e = t.event.c
    machine = e.verdict == Verdict.MACHINE.value
    people = case((e.verdict == Verdict.HUMAN.value, e.lead_id))
    rows = connection.execute(
        select(
            e.cadence,
            e.step,
            e.link,
            func.count(func.distinct(people)).label("people"),
            _count(e.verdict == Verdict.HUMAN.value).label("clicks"),
            _count(machine).label("machine"),
        )
        .where(e.kind == EventName.CLICKED.value, e.link.is_not(None), request.period.holds(e.at))
        .group_by(e.cadence, e.step, e.link)
    ).all()
    ordered = sorted(rows, key=lambda row: (row.cadence or "", row.step or "", -row.people, row.link))
    return [dict(row._mapping) for row in ordered]


def _count(clause: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((clause, 1), else_=0))
