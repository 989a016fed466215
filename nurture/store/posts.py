"""Posts as rows: what goes to a channel, claimed under a lease, in the order of their lead, until it is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from nurture.domain.post import PostStatus
from nurture.store import tables as t
from nurture.store.database import insert_ignore, one_of, with_lock_skipped

_QUEUED = PostStatus.QUEUED.value


@dataclass(frozen=True, kw_only=True)
class NewPost:
    """`post_key` is unique for ever, and the receiver tells repeats apart by what is derived from it.

    `channel` is an [alerts.…] of config.toml, `kind` the type in the body (`cadence.step`). `body` is the `data` of a
    webhook's body, or the whole body of a message to a chat room; it holds what JSON can hold.
    """

    post_key: str
    channel: str
    lead_id: int | None
    kind: str
    body: Mapping[str, Any]


def queue_posts(connection: Connection, posts: Sequence[NewPost], *, now: datetime) -> None:
    """Commit these posts; one whose key stands there already is left as it is."""
    if not posts:
        return
    rows = [
        {
            **each.__dict__,
            "body": dict(each.body),
            "status": _QUEUED,
            "created_at": now,
            "not_before": now,
            "attempt": 0,
        }
        for each in posts
    ]
    connection.execute(insert_ignore(connection, t.post), rows)


def due_channels(connection: Connection, *, now: datetime) -> list[str]:
    """The channels that have something to post now."""
    p = t.post.c
    return sorted(connection.scalars(select(p.channel).where(_is_due(now)).distinct()))


def claim_posts(
    connection: Connection, channel: str, *, now: datetime, lease_until: datetime, limit: int
) -> Sequence[Any]:
    """The next posts of a channel, taken for one attempt each; of a lead the oldest that is still queued, alone."""
    p = t.post.c
    free = select(p.id).where(_is_due(now), p.channel == channel, ~_waits_for_another())
    ids = list(connection.scalars(with_lock_skipped(free.order_by(p.not_before, p.id).limit(limit))))
    if not ids:
        return []
    taken = (
        update(t.post)
        .where(one_of(p.id, ids), _is_due(now))
        .values(attempt=p.attempt + 1, lease_until=lease_until)
        .returning(t.post)
    )
    return sorted(connection.execute(taken).all(), key=lambda row: row.id)


def _is_due(now: datetime) -> ColumnElement[bool]:
    p = t.post.c
    return and_(p.status == _QUEUED, p.not_before <= now, or_(p.lease_until.is_(None), p.lease_until <= now))


def _waits_for_another() -> ColumnElement[bool]:
    """An earlier post of the same lead to the same channel is still queued."""
    p, before = t.post.c, t.post.alias("before")
    return exists(
        select(before.c.id).where(
            before.c.lead_id == p.lead_id,
            before.c.channel == p.channel,
            before.c.id < p.id,
            before.c.status == _QUEUED,
        )
    )


def deliver_post(connection: Connection, row: Any, *, reply: str, now: datetime) -> bool:
    """The receiver has it; that holds also where the lease was over, and somebody else is trying it again."""
    return _settle(connection, row, PostStatus.DELIVERED, reply=reply, now=now, any_attempt=True)


def fail_post(connection: Connection, row: Any, *, reply: str, now: datetime) -> bool:
    """It is given up."""
    return _settle(connection, row, PostStatus.FAILED, reply=reply, now=now, any_attempt=False)


def _settle(
    connection: Connection, row: Any, status: PostStatus, *, reply: str, now: datetime, any_attempt: bool
) -> bool:
    p = t.post.c
    guard = and_(p.id == row.id, p.status == _QUEUED)
    if not any_attempt:
        guard = and_(guard, p.attempt == row.attempt)
    values = {"status": status.value, "ended_at": now, "lease_until": None, "reply": reply}
    return connection.execute(update(t.post).where(guard).values(values)).rowcount == 1


def retry_post(connection: Connection, row: Any, *, at: datetime, reply: str) -> bool:
    """It is tried again at `at`, and what waits behind it is not looked at before."""
    p = t.post.c
    mine = and_(p.id == row.id, p.status == _QUEUED, p.attempt == row.attempt)
    changed = connection.execute(update(t.post).where(mine).values(not_before=at, lease_until=None, reply=reply))
    behind = and_(p.lead_id == row.lead_id, p.channel == row.channel, p.id > row.id, p.status == _QUEUED)
    if changed.rowcount and row.lead_id is not None:
        connection.execute(update(t.post).where(behind, p.not_before < at).values(not_before=at))
    return changed.rowcount == 1
