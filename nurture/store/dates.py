"""What date fields hold for enrollments: a field of the lead, or a property of the event that started the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from nurture.domain.cadence import DateField
from nurture.domain.timing import field_moment
from nurture.store import tables as t

CHUNK = 500


def date_values(
    connection: Connection, zones: Mapping[int, ZoneInfo], fields: Collection[DateField]
) -> dict[tuple[int, DateField], datetime]:
    """(enrollment id, field) -> the moment; one that is missing or can't be read is absent.

    `zones`: enrollment id -> the lead's zone, in which a date without an offset is read.
    """
    e, lead, event = t.enrollment.c, t.lead.c, t.event.c
    moments = [lead[name] for name in sorted(fields) if "." not in name]
    values: dict[tuple[int, DateField], datetime] = {}
    ids = sorted(zones) if fields else []
    for start in range(0, len(ids), CHUNK):
        rows = connection.execute(
            select(e.id.label("enrollment"), lead.custom, event.props, *moments)
            .join(t.lead, lead.id == e.lead_id)
            .outerjoin(t.event, event.id == e.event_id)
            .where(e.id.in_(ids[start : start + CHUNK]))
        )
        for row in rows:
            for name in fields:
                moment = _moment(row._mapping, name, zones[row.enrollment])
                if moment is not None:
                    values[row.enrollment, name] = moment
    return values


def _moment(row: Mapping[Any, Any], name: DateField, zone: ZoneInfo) -> datetime | None:
    of, _, key = name.rpartition(".")
    value = (row["custom"] if of == "custom" else row["props"] if of == "event" else row) or {}
    found = value.get(key)
    if isinstance(found, datetime):
        return found.astimezone(UTC)
    return field_moment(found, zone) if isinstance(found, str) else None
