"""Events in: one normalised row for whatever happened, unique by source and source id, and never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, insert, select, update

from nurture.domain.custom import read_props
from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.event import Verdict
from nurture.store import tables as t
from nurture.store.database import insert_ignore, one_of


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """What happened, as any door hands it in. `source` and `source_id` together make it unique."""

    lead_id: int
    kind: str
    at: datetime
    source: str
    source_id: str
    verdict: Verdict = Verdict.HUMAN
    verdict_reason: str | None = None
    message_id: int | None = None
    enrollment_id: int | None = None
    cadence: str | None = None
    step: str | None = None
    link: str | None = None
    link_name: str | None = None
    path: str | None = None
    value: float | None = None
    currency: str | None = None
    props: dict[str, Any] = field(default_factory=dict)


def record_event(connection: Connection, new: NewEvent, *, now: datetime) -> int | None:
    """Append the event and return its id, or None when it stands there already. `react` draws the consequences."""
    said = _storable(new.__dict__)
    row = {**said, "verdict": new.verdict.value, "recorded_at": now, "readings": read_props(said["props"])}
    statement = insert_ignore(connection, t.event).values(row).returning(t.event.c.id)
    event_id: int | None = connection.execute(statement).scalar_one_or_none()
    return event_id


def take_back(connection: Connection, reasons: Mapping[int, str], *, now: datetime) -> int:
    """Events (by id) that were no person's doing after all, each with the reason; returns how many were revised.

    Guarded by the verdict read: an event that is a machine's already stays as it is. Each revision is a
    `verdict_change` row for `react` to draw the consequences.
    """
    e = t.event.c
    if not reasons:
        return 0
    statement = select(e.id, e.verdict).where(one_of(e.id, sorted(reasons)), e.verdict != Verdict.MACHINE.value)
    by_change: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in connection.execute(statement):
        by_change[(row.verdict, str(reasons[row.id]))].append(row.id)
    revised = 0
    for (before, reason), ids in by_change.items():
        change = (
            update(t.event)
            .where(one_of(e.id, ids), e.verdict == before)
            .values(verdict=Verdict.MACHINE.value, verdict_reason=reason)
            .returning(e.id)
        )
        rows = [
            {"event_id": id_, "at": now, "before": before, "after": Verdict.MACHINE.value, "reason": reason}
            for id_ in connection.scalars(change)
        ]
        if rows:
            connection.execute(insert(t.verdict_change), rows)
        revised += len(rows)
    return revised


def _storable(value: Any) -> Any:
    """Text from outside as both databases take it: PostgreSQL keeps no NUL, and UTF-8 no lone surrogate."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_storable(name): _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


def wake_enrollments(connection: Connection, lead_ids: Iterable[int], *, now: datetime) -> None:
    """Have `advance` look at these leads' enrollments at once: something about the lead changed.

    Waking early is harmless: `ready_at` still says when the present wait ends. Rows that are due already are written
    as well: somebody may be looking at them right now without having seen the change, and settle them till later.
    """
    ids: Sequence[int] = sorted(set(lead_ids))
    rows = t.enrollment.c
    due_at = case((rows.due_at <= now, rows.due_at), else_=now)
    for start in range(0, len(ids), 500):
        connection.execute(
            update(t.enrollment)
            .where(
                rows.lead_id.in_(ids[start : start + 500]),
                rows.status == EnrollmentStatus.ACTIVE.value,
            )
            .values(due_at=due_at)
        )
