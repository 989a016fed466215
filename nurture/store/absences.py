"""Readers who are away: an automatic reply holds the enrollment that it answers until its sender is back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from nurture.domain.custom import read_moment
from nurture.domain.event import EventName
from nurture.store import tables as t

CHUNK = 500
AWAY = timedelta(days=5)
"""Where the reply does not say when its sender returns (the event's property `until`)."""
LONGEST = timedelta(days=365)


def absences(connection: Connection, enrollment_ids: Sequence[int], *, now: datetime) -> dict[int, datetime]:
    """enrollment id -> when its reader is back; those of whom nothing is known are absent."""
    event, back = t.event.c, dict[int, datetime]()
    for start in range(0, len(enrollment_ids), CHUNK):
        rows = connection.execute(
            select(event.enrollment_id, event.at, event.props).where(
                event.enrollment_id.in_(enrollment_ids[start : start + CHUNK]),
                event.kind == EventName.AUTO_REPLIED.value,
                event.at > now - LONGEST,
            )
        )
        for row in rows:
            until = min(_stated(row.props) or row.at + AWAY, row.at + LONGEST)
            if until > now:
                back[row.enrollment_id] = max(until, back.get(row.enrollment_id, until))
    return back


def _stated(props: dict[str, object]) -> datetime | None:
    text = props.get("until")
    return read_moment(text) if isinstance(text, str) else None
