"""What letters need beyond their message and lead, read for a whole claim at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from nurture.domain.message import MessageKind, MessageStatus
from nurture.store import tables as t

CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class EarlierMail:
    """A mail that an enrollment sent before. `header` is its Message-ID without angle brackets."""

    step: str
    header: str
    subject: str


def event_props(connection: Connection, event_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """event -> its properties as templates see them: a blank one is absent."""
    e = t.event.c
    found: dict[int, dict[str, Any]] = {}
    ids = sorted(event_ids)
    for start in range(0, len(ids), CHUNK):
        for row in connection.execute(select(e.id, e.props).where(e.id.in_(ids[start : start + CHUNK]))):
            found[row.id] = {name: value for name, value in (row.props or {}).items() if value not in (None, "")}
    return found


def earlier_mails(connection: Connection, runs: Mapping[int, int]) -> dict[int, list[EarlierMail]]:
    """enrollment -> what it sent, the latest last; of unknown outcome counts as sent, as everywhere.

    `runs`: enrollment -> its lead, by whom messages are found.
    """
    m = t.message.c
    gone_out = (MessageStatus.SENT.value, MessageStatus.UNKNOWN.value)
    found: dict[int, list[EarlierMail]] = defaultdict(list)
    ids = sorted(runs)
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        rows = connection.execute(
            select(m.enrollment_id, m.step, m.message_id, m.subject)
            .where(
                m.lead_id.in_(sorted({runs[each] for each in some})),
                m.enrollment_id.in_(some),
                m.kind == MessageKind.STEP.value,
                m.status.in_(gone_out),
                m.message_id.is_not(None),
            )
            .order_by(m.dotted_at, m.id)
        )
        for row in rows:
            mail = EarlierMail(step=row.step, header=row.message_id, subject=row.subject or "")
            found[row.enrollment_id].append(mail)
    return found


def tracking_agreed(connection: Connection, lead_ids: Collection[int]) -> set[int]:
    """The leads whose latest word on being tracked is a yes."""
    c = t.consent.c
    latest: dict[int, bool] = {}
    ids = sorted(lead_ids)
    for start in range(0, len(ids), CHUNK):
        rows = connection.execute(
            select(c.lead_id, c.granted)
            .where(c.lead_id.in_(ids[start : start + CHUNK]), c.kind == "tracking")
            .order_by(c.at, c.id)
        )
        latest.update({row.lead_id: row.granted for row in rows})
    return {lead_id for lead_id, granted in latest.items() if granted}
