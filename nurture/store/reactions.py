"""What `react` claims, events whose consequences are not drawn yet, and what it writes on the leads they are of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, literal, literal_column, or_, select, true, update

from nurture.domain.event import Verdict
from nurture.domain.message import MessageKind
from nurture.domain.promotion import NO_INTEREST
from nurture.domain.reasons import Reason
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.database import one_of, with_lock_skipped
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.messages import cancel_messages

LEAD_COLUMNS = (
    *("id", "email_key", "stage", "fit", "fit_points", "gains", "losses", "hot_armed", "owner"),
    *("consented_at", "last_engaged_at", "contacted_at", "hold_until", "hold_reason", "set_back_at"),
)
# What `react` writes back on a lead, whether or not it changed.
KEPT = ("gains", "losses", "hot_until", "hot_armed", "last_engaged_at", "contacted_at", "hold_until", "hold_reason")


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What there is to do, looked at without a write lock."""

    events: bool
    leads: bool


def look(connection: Connection) -> Pending:
    """Whether events or verdicts, and whether changed leads, wait for their consequences."""
    event, change = t.event.c.reacted_at.is_(None), t.verdict_change.c.reacted_at.is_(None)
    waits = or_(exists(select(literal(1)).where(event)), exists(select(literal(1)).where(change)))
    return Pending(
        events=bool(connection.scalar(select(waits))),
        leads=bool(connection.scalar(select(exists(select(literal(1)).where(_to_rescore()))))),
    )


def claim_events(connection: Connection, *, limit: int) -> Sequence[Any]:
    """The oldest events without consequences; locked until the commit, so nobody else draws them."""
    event = t.event
    statement = select(event).where(event.c.reacted_at.is_(None)).order_by(event.c.id).limit(limit)
    return connection.execute(with_lock_skipped(statement)).all()


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A verdict that was revised, and the event as it stands now."""

    change_id: int
    before: Verdict
    after: Verdict
    reason: str
    event: Any

    @property
    def taken_back(self) -> bool:
        """Consequences were drawn from it as a person's, and it is none."""
        return self.before is Verdict.HUMAN and self.event.verdict != Verdict.HUMAN


def claim_revisions(connection: Connection, *, limit: int) -> list[Revision]:
    """The oldest revisions without consequences, of events that have had theirs."""
    change, event = t.verdict_change, t.event
    statement = select(change).where(change.c.reacted_at.is_(None)).order_by(change.c.id).limit(limit)
    rows = connection.execute(with_lock_skipped(statement)).all()
    if not rows:
        return []
    found = connection.execute(select(event).where(one_of(event.c.id, sorted({row.event_id for row in rows}))))
    events = {row.id: row for row in found}
    return [
        Revision(
            change_id=row.id,
            before=Verdict(row.before),
            after=Verdict(row.after),
            reason=row.reason,
            event=events[row.event_id],
        )
        for row in rows
    ]


def lock_leads(connection: Connection, lead_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """id -> the columns that `react` reads, in rows locked in the order of their ids."""
    lead = t.lead
    statement = (
        select(*(lead.c[name] for name in LEAD_COLUMNS))
        .where(one_of(lead.c.id, sorted(lead_ids)))
        .order_by(lead.c.id)
        .with_for_update()
    )
    return {row["id"]: dict(row) for row in connection.execute(statement).mappings()}


def claim_rescored(connection: Connection, *, limit: int) -> Sequence[Any]:
    """Whole rows of leads whose fields changed since their fit was computed; visitors have none."""
    statement = select(t.lead).where(_to_rescore()).order_by(t.lead.c.id).limit(limit)
    return connection.execute(with_lock_skipped(statement)).all()


def _to_rescore() -> Any:
    # spelled as the partial index is, without bound values, so that both databases use it
    return (t.lead.c.rescore == true()) & (t.lead.c.stage != literal_column("'visitor'"))


def keep_leads(connection: Connection, leads: Mapping[int, Mapping[str, Any]]) -> None:
    """Write back what `react` worked out of these leads (the columns KEPT)."""
    if leads:
        connection.execute(
            update(t.lead)
            .where(t.lead.c.id == bindparam("lead"))
            .values({name: bindparam(f"new_{name}") for name in KEPT}),
            [{"lead": lead_id, **{f"new_{name}": row[name] for name in KEPT}} for lead_id, row in leads.items()],
        )


def settle(connection: Connection, event_ids: Sequence[int], change_ids: Sequence[int], *, now: datetime) -> None:
    """The consequences of these are drawn."""
    for table, ids in ((t.event, event_ids), (t.verdict_change, change_ids)):
        if ids:
            drawn = update(table).where(one_of(table.c.id, ids), table.c.reacted_at.is_(None))
            connection.execute(drawn.values(reacted_at=now))


def last_interest(connection: Connection, lead_ids: Sequence[int], *, besides: Sequence[str] = ()) -> dict[int, Any]:
    """lead id -> (id, at, kind) of the latest event in which the person itself showed interest, `besides` left out."""
    event = t.event.c
    rows = connection.execute(
        select(event.lead_id, event.id, event.at, event.kind)
        .where(
            one_of(event.lead_id, lead_ids),
            event.verdict == Verdict.HUMAN.value,
            event.kind.not_in([*sorted(NO_INTEREST), *besides]),
        )
        .order_by(event.at, event.id)
    )
    return {row.lead_id: row for row in rows}


def cancel_steps(
    connection: Connection,
    *,
    lead_ids: Collection[int] = (),
    enrollment_ids: Collection[int] = (),
    why: Mapping[int, str],
    now: datetime,
) -> None:
    """Cancel cadence mail that is not yet on its way: all of these leads', and these enrollments'. `why` is by lead."""
    m = t.message.c
    of_these = one_of(m.lead_id, sorted(lead_ids)) | one_of(m.enrollment_id, sorted(enrollment_ids))
    rows = cancel_messages(
        connection,
        m.kind == MessageKind.STEP.value,
        m.transactional.is_(None),
        one_of(m.lead_id, sorted(why)),
        of_these,
        now=now,
    )
    decisions = [
        NewDecision(
            lead_id=row.lead_id,
            enrollment_id=row.enrollment_id,
            cadence=row.cadence,
            step=row.step,
            code=Reason.CANCELED,
            at=now,
            detail={"why": why[row.lead_id]},
        )
        for row in rows
    ]
    record_decisions(connection, decisions)


def rescore_all(connection: Connection) -> None:
    """Have every lead's fit and stage looked at again: the rules changed."""
    due = t.lead.c.rescore.is_(False) & (t.lead.c.stage != Stage.VISITOR.value)
    connection.execute(update(t.lead).where(due).values(rescore=True))


def scored_leads(connection: Connection, *, after: int, limit: int) -> list[int]:
    """The next leads with any engagement, locked, in the order of their ids."""
    lead = t.lead.c
    any_sum = func.coalesce(lead.gains, lead.losses).is_not(None)
    statement = select(lead.id).where(lead.id > after, any_sum).order_by(lead.id).limit(limit).with_for_update()
    return list(connection.scalars(statement))
