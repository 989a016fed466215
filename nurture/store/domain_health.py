"""What recipient domains answered lately, mail to them that waits, and domains that are not found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, or_, select, update

from nurture.domain.domain_health import ANY_SENDER, FORGOTTEN_AFTER, JUDGED_BY, TRUSTED_FOR, is_gone, pause_length
from nurture.store import tables as t
from nurture.store.database import insert_ignore
from nurture.store.indexed import IS_SENDING, IS_WAITING
from nurture.store.pauses import let_mail_go

STEP = timedelta(minutes=5)
"""Replies are counted in steps of this length."""


@dataclass(frozen=True, kw_only=True)
class DomainPause:
    """`sender` is ANY_SENDER where the domain is ill. From `until` on a few messages may try."""

    domain: str
    sender: str
    since: datetime
    until: datetime
    reply: str

    def __str__(self) -> str:
        if self.sender == ANY_SENDER:
            return f"{self.domain} refuses so many that it must be ill itself ({self.reply})"
        return f"{self.domain} blocks mail of {self.sender} ({self.reply})"


def domain_scope(domain: str, sender: str) -> str:
    """What a pause is called in lists: `domain:NAME`, or `sender:NAME domain:NAME`."""
    return f"domain:{domain}" if sender == ANY_SENDER else f"sender:{sender} domain:{domain}"


# --- pauses


def domain_pauses(connection: Connection) -> list[DomainPause]:
    """All there are, also those that are over and wait for a message to try, in order."""
    p = t.domain_pause.c
    rows = connection.execute(select(t.domain_pause).where(p.until.is_not(None)).order_by(p.domain, p.sender))
    return [_pause(row) for row in rows]


def lock_pauses(connection: Connection, pauses: Collection[DomainPause]) -> None:
    """So that of two workers who would try a domain the second sees what the first does."""
    p = t.domain_pause.c
    domains = sorted({each.domain for each in pauses})
    statement = select(p.domain).where(p.domain.in_(domains)).order_by(p.domain, p.sender)
    connection.execute(statement.with_for_update()).all()


def begin_pause(connection: Connection, domain: str, sender: str, *, reply: str, now: datetime) -> DomainPause | None:
    """Let mail wait, for longer than the last time. None where it waits already, or a person trusts the domain."""
    p = t.domain_pause
    this = (p.c.domain == domain) & (p.c.sender == sender)
    fresh = {"domain": domain, "sender": sender, "since": now, "times": 0, "reply": reply}
    connection.execute(insert_ignore(connection, p).values(fresh))
    row = connection.execute(select(p).where(this).with_for_update()).one()
    if (row.until is not None and row.until > now) or (row.trusted_until is not None and row.trusted_until > now):
        return None
    since, times = (row.since, row.times + 1) if row.until is not None else (now, 1)
    until = now + pause_length(times)
    values = {"since": since, "until": until, "times": times, "reply": reply, "trusted_until": None}
    connection.execute(update(p).where(this).values(values))
    return DomainPause(domain=domain, sender=sender, since=since, until=until, reply=reply)


def end_pause(connection: Connection, domain: str, sender: str) -> bool:
    """The domain takes this mail again."""
    p = t.domain_pause
    return connection.execute(delete(p).where(p.c.domain == domain, p.c.sender == sender)).rowcount == 1


def is_ill_now(connection: Connection, domain: str) -> bool:
    """Whether the domain was found ill, and has not taken mail since."""
    p = t.domain_pause.c
    this = (p.domain == domain) & (p.sender == ANY_SENDER) & p.until.is_not(None)
    return connection.scalar(select(p.domain).where(this)) is not None


def is_trusted(connection: Connection, domain: str, *, now: datetime) -> bool:
    """Whether a person said that the domain is well, and its refusals are meant."""
    p = t.domain_pause.c
    this = (p.domain == domain) & (p.sender == ANY_SENDER) & (p.trusted_until > now)
    return connection.scalar(select(p.domain).where(this)) is not None


def lift_pauses(connection: Connection, domain: str, *, sender: str | None, now: datetime) -> bool:
    """A person lets mail to the domain go on: a sender's, or everybody's. False: none waited.

    Where the domain was ill it is not judged again for a day: what it refuses is meant.
    """
    p, m = t.domain_pause, t.message.c
    this = [p.c.domain == domain, *([p.c.sender == sender] if sender is not None else [])]
    waited = connection.scalars(select(p.c.sender).where(*this, p.c.until.is_not(None)).with_for_update()).all()
    if not waited:
        return False
    connection.execute(delete(p).where(*this, p.c.sender != ANY_SENDER))
    ill = update(p).where(*this, p.c.sender == ANY_SENDER, p.c.until.is_not(None))
    connection.execute(ill.values(until=None, times=0, trusted_until=now + TRUSTED_FOR))
    mail = [m.recipient_domain == domain, *([m.sender == sender] if sender is not None else [])]
    going = update(t.message).where(IS_WAITING, m.not_before > now, *mail)
    connection.execute(going.values(not_before=now))
    let_mail_go(connection, mail, now=now)
    return True


def sending_to(connection: Connection, domains: Collection[str]) -> Counter[tuple[str, str]]:
    """Messages under way to these domains: by sender, and of all together under ANY_SENDER."""
    m = t.message.c
    rows = connection.execute(
        select(m.recipient_domain, m.sender, func.count())
        .where(IS_SENDING, m.recipient_domain.in_(sorted(domains)))
        .group_by(m.recipient_domain, m.sender)
    )
    found = Counter[tuple[str, str]]()
    for domain, sender, count in rows:
        found[(domain, sender)] += count
        found[(domain, ANY_SENDER)] += count
    return found


def _pause(row: Row[Any]) -> DomainPause:
    return DomainPause(domain=row.domain, sender=row.sender, since=row.since, until=row.until, reply=row.reply)


# --- what domains answer


@dataclass(kw_only=True)
class Tally:
    """Replies, and those of them that were hard."""

    replies: int = 0
    hard: int = 0


def count_replies(connection: Connection, tallies: Mapping[str, Tally], *, now: datetime) -> None:
    """Add these to what the domains answered."""
    r = t.domain_replies
    at = now - (now - datetime.min.replace(tzinfo=now.tzinfo)) % STEP
    keys = [{"domain": domain, "at": at} for domain in sorted(tallies)]
    if keys:
        connection.execute(insert_ignore(connection, r), [{**key, "replies": 0, "hard": 0} for key in keys])
        more = {"replies": r.c.replies + bindparam("b_replies"), "hard": r.c.hard + bindparam("b_hard")}
        connection.execute(
            update(r).where(r.c.domain == bindparam("b_domain"), r.c.at == bindparam("b_at")).values(more),
            [
                {"b_domain": domain, "b_at": at, "b_replies": tallies[domain].replies, "b_hard": tallies[domain].hard}
                for domain in sorted(tallies)
            ],
        )


def replies_of(connection: Connection, domain: str, *, now: datetime) -> Tally:
    """What the domain answered in the hour before."""
    r = t.domain_replies.c
    within = (r.domain == domain) & (r.at > now - JUDGED_BY)
    row = connection.execute(select(func.sum(r.replies), func.sum(r.hard)).where(within)).one()
    return Tally(replies=int(row[0] or 0), hard=int(row[1] or 0))


def forget_replies(connection: Connection, domain: str) -> None:
    """The domain is judged by what it answers from now on."""
    connection.execute(delete(t.domain_replies).where(t.domain_replies.c.domain == domain))


# --- domains that are not found


def unknown_hosts(connection: Connection) -> frozenset[str]:
    """The domains that were not found when they were last asked for."""
    return frozenset(connection.scalars(select(t.unknown_host.c.domain)))


def note_unknown_host(connection: Connection, domain: str, *, now: datetime) -> bool:
    """The domain was not found. True where that has been so for so long that it is believed to be gone."""
    u = t.unknown_host
    this = u.c.domain == domain
    fresh = {"domain": domain, "since": now, "last_at": now, "failures": 0}
    connection.execute(insert_ignore(connection, u).values(fresh))
    row = connection.execute(select(u).where(this).with_for_update()).one()
    since, failures = row.since, row.failures + 1
    if row.last_at < now - FORGOTTEN_AFTER:
        since, failures = now, 1
    connection.execute(update(u).where(this).values(since=since, last_at=now, failures=failures))
    return is_gone(since=since, failures=failures, now=now)


def found_hosts(connection: Connection, domains: Sequence[str]) -> None:
    """These domains were found again."""
    connection.execute(delete(t.unknown_host).where(t.unknown_host.c.domain.in_(domains)))


# --- in order


def forget_old(connection: Connection, *, now: datetime) -> None:
    """What nobody asks for any more: replies of earlier hours, pauses and failures that nothing followed."""
    p, u = t.domain_pause.c, t.unknown_host.c
    connection.execute(delete(t.domain_replies).where(t.domain_replies.c.at <= now - JUDGED_BY))
    long_over = p.until < now - FORGOTTEN_AFTER
    connection.execute(delete(t.domain_pause).where(or_(long_over, p.until.is_(None) & (p.trusted_until <= now))))
    connection.execute(delete(t.unknown_host).where(u.last_at < now - FORGOTTEN_AFTER))
