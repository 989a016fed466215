"""What limits are counted by: allowances that workers share under a row's lock, and what is sent and under way.

An allowance is a row `rate:KEY` or `slots:KEY`. Whoever takes from it holds its lock until the commit, so that workers
on any number of hosts take one after the other; a killed worker's takings are free again with its leases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, func, or_, select, update

from nurture.domain.event import EventName, Verdict
from nurture.domain.limits import Standing
from nurture.domain.message import MessageStatus
from nurture.store import tables as t
from nurture.store.database import insert_ignore
from nurture.store.indexed import IS_BOUNCED, IS_SENDING, IS_UNKNOWN


def lock_allowances(connection: Connection, keys: Collection[str]) -> dict[str, datetime | None]:
    """Lock these rows, in one order for everybody, and tell from when on each is free."""
    a, wanted = t.allowance.c, sorted(keys)
    if not wanted:
        return {}
    known = set(connection.scalars(select(a.key).where(a.key.in_(wanted))))
    fresh = [{"key": key} for key in wanted if key not in known]
    if fresh:
        connection.execute(insert_ignore(connection, t.allowance), fresh)
    rows = connection.execute(select(a.key, a.free_at).where(a.key.in_(wanted)).order_by(a.key).with_for_update())
    return {row.key: row.free_at for row in rows}


def take_until(connection: Connection, free_at: Mapping[str, datetime]) -> None:
    """Allowances that are taken up to these moments."""
    for key, moment in sorted(free_at.items()):
        connection.execute(update(t.allowance).where(t.allowance.c.key == key).values(free_at=moment))


def under_way_to(connection: Connection, domains: Collection[str]) -> Counter[str]:
    """Messages that somebody has claimed, by recipient domain."""
    m = t.message.c
    rows = connection.execute(
        select(m.recipient_domain, func.count())
        .where(IS_SENDING, m.recipient_domain.in_(sorted(domains)))
        .group_by(m.recipient_domain)
    )
    return Counter(dict(rows.all()))


def sent_since(connection: Connection, sender: str, since: datetime) -> int:
    """Messages of a sender that went, may have gone, or are on their way.

    One statement: between two of them another worker's message goes from one count to the other, and is in neither.
    """
    m = t.message.c
    marked = (m.sender == sender, m.sent_at.is_(None), m.dotted_at >= since)
    counts = (
        select(func.count()).where(m.sender == sender, m.sent_at >= since),
        select(func.count()).where(IS_BOUNCED, *marked),
        select(func.count()).where(IS_UNKNOWN, *marked),
        select(func.count()).where(IS_SENDING, m.sender == sender),
    )
    return sum(connection.execute(select(*(each.scalar_subquery() for each in counts))).one())


def first_sent_at(connection: Connection, sender: str) -> datetime | None:
    """When a sender's first message went; None where none did."""
    m = t.message.c
    found: datetime | None = connection.scalar(select(func.min(m.sent_at)).where(m.sender == sender))
    return found


def any_harm(connection: Connection, *, since: datetime) -> bool:
    """Whether any bounce or complaint came since, of whosever mail: where none did, nobody need be judged."""
    event = t.event.c
    kinds = [EventName.BOUNCED.value, EventName.COMPLAINED.value]
    return connection.scalar(select(event.id).where(event.kind.in_(kinds), event.at >= since).limit(1)) is not None


def standing_of(connection: Connection, sender: str, *, since: datetime) -> Standing:
    """What came of the mail that a sender sent since."""
    m, event = t.message.c, t.event.c
    mail = select(m.id).where(m.sender == sender, m.sent_at >= since)
    bounced_at_once = select(m.id).where(
        m.sender == sender, m.status == MessageStatus.BOUNCED.value, m.ended_at >= since
    )
    sends = connection.scalar(select(func.count()).select_from(mail.union(bounced_at_once).subquery())) or 0

    def told(kind: EventName) -> int:
        rows = connection.execute(
            select(event.message_id, event.props).where(
                event.kind == kind.value,
                event.at >= since,
                event.verdict != Verdict.MACHINE.value,
                or_(event.message_id.in_(mail), event.message_id.in_(bounced_at_once)),
            )
        )
        hard = {row.message_id for row in rows if kind is not EventName.BOUNCED or row.props.get("class") == "hard"}
        return len(hard)

    return Standing(sends=int(sends), bounces=told(EventName.BOUNCED), complaints=told(EventName.COMPLAINED))


def judged_from(connection: Connection, sender: str) -> datetime | None:
    """Since when a sender is judged; None: as far as its mail goes back."""
    found: datetime | None = connection.scalar(
        select(t.sender_state.c.judged_from).where(t.sender_state.c.sender == sender)
    )
    return found


def judge_anew(connection: Connection, sender: str, *, now: datetime) -> None:
    """A person has looked: what was before counts against it no more."""
    _state_of(connection, sender)
    s = t.sender_state
    connection.execute(update(s).where(s.c.sender == sender).values(judged_from=now, warned_at=None))


def warn_once(connection: Connection, sender: str, *, again_after: datetime, now: datetime) -> bool:
    """Whether the operator is to be told now: not when it was told since `again_after`."""
    _state_of(connection, sender)
    s = t.sender_state
    unwarned = or_(s.c.warned_at.is_(None), s.c.warned_at < again_after)
    return connection.execute(update(s).where(s.c.sender == sender, unwarned).values(warned_at=now)).rowcount == 1


def _state_of(connection: Connection, sender: str) -> None:
    connection.execute(insert_ignore(connection, t.sender_state).values(sender=sender))
