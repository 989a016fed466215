"""Addresses that get nothing, and why. Lifted, never deleted; a stronger reason takes the place of a weaker one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, literal, or_, select, update

from nurture.store import tables as t
from nurture.store.database import insert_ignore
from nurture.store.prepared import Prepared
from nurture.store.spellings import as_given, given_rows

CHUNK = 500
# What a weaker reason may not hide: an opt-in lifts the first two, a person the next ones, nothing an erasure.
_ERASED = "erased"
COLD = "cold"
"""Let go because nothing was heard of it; a human event or new consent lifts it."""
_OUTDONE = "a stronger reason took its place"
_STRENGTH = (COLD, "unsubscribed", "imported", "by_hand", "bounced", "complained", _ERASED)


def suppress(connection: Connection, address_key: str, *, reason: str, now: datetime, note: str | None = None) -> bool:
    """Suppress an address key, an "@domain" or an erased hash. False when an equal or stronger reason acts already."""
    return bool(suppress_all(connection, {address_key: reason}, now=now, note=note))


def suppress_all(
    connection: Connection, reasons: Mapping[str, str], *, now: datetime, note: str | None = None
) -> set[str]:
    """key -> reason, set-wise; the keys of which a row was written."""
    keys = sorted(reasons)
    acting = _acting(connection, keys)
    weaker = [key for key in keys if key in acting and _strength(acting[key]) < _strength(reasons[key])]
    _lift(connection, weaker, now=now, note=_OUTDONE)
    fresh = [key for key in keys if key not in acting or key in weaker]
    if not fresh:
        return set()
    rows = [{"address_key": key, "reason": reasons[key], "at": now, "note": note} for key in fresh]
    made = insert_ignore(connection, t.suppression).returning(t.suppression.c.address_key)
    return set(connection.execute(made, rows).scalars())


def lift(connection: Connection, address_key: str, *, now: datetime, note: str) -> bool:
    """Let mail through to it again. False when nothing was suppressed under this key."""
    return _lift(connection, [address_key], now=now, note=note) == 1


def unsuppress_bounced(
    connection: Connection, keys: Sequence[str], *, since: datetime, now: datetime, note: str
) -> None:
    """Of these address keys those that a bounce suppressed since then get mail again, unless a weaker reason acted
    before: that one acts again.
    """
    s = t.suppression.c
    for start in range(0, len(keys), CHUNK):
        some = s.address_key.in_(keys[start : start + CHUNK])
        acting = select(s.address_key, s.at).where(some, s.reason == "bounced", s.lifted_at.is_(None), s.at > since)
        since_when = {row.address_key: row.at for row in connection.execute(acting)}
        _lift(connection, since_when, now=now, note=note)
        outdone = select(s.address_key, s.reason, s.lifted_at, s.note).where(some, s.lifted_note == _OUTDONE)
        for row in connection.execute(outdone):
            if since_when.get(row.address_key) == row.lifted_at:
                suppress(connection, row.address_key, reason=row.reason, now=now, note=row.note)


def lift_cold(connection: Connection, signs: Mapping[str, datetime], *, now: datetime) -> None:
    """Of these address keys those that had gone cold before they gave a sign of life get mail again."""
    s, warm = t.suppression.c, []
    for start in range(0, len(keys := sorted(signs)), CHUNK):
        cold = select(s.address_key, s.at).where(
            s.address_key.in_(keys[start : start + CHUNK]), s.lifted_at.is_(None), s.reason == COLD
        )
        warm += [row.address_key for row in connection.execute(cold) if row.at <= signs[row.address_key]]
    _lift(connection, warm, now=now, note="gave a sign of life")


def acts_on_lead() -> ColumnElement[bool]:
    """True of a suppression that acts, and of a lead whose address or domain it names."""
    s, lead = t.suppression.c, t.lead.c
    return and_(
        s.lifted_at.is_(None),
        or_(s.address_key == lead.email_key, s.address_key == literal("@").concat(lead.email_domain)),
    )


def suppressed_among(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """address key -> reason, for those that get nothing, by their own row or by one of their domain."""
    domains = {key: "@" + key.rpartition("@")[2] for key in keys}
    acting = _acting(connection, sorted({*domains, *domains.values()}))
    found = {}
    for key, domain in domains.items():
        reason = acting.get(key) or acting.get(domain)
        if reason is not None:
            found[key] = reason
    return found


def has_erased(connection: Connection) -> bool:
    """Whether anyone was ever erased, so that hashes must be compared (and the secret key is needed)."""
    s = t.suppression.c
    erased = select(literal(1)).where(s.reason == _ERASED, s.lifted_at.is_(None)).limit(1)
    return connection.scalar(erased) is not None


def _acting(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    rows = _ACTING.run(connection, given=as_given([{"key": key} for key in keys]))
    return {row.address_key: row.reason for row in rows}


def _acting_now(_: Connection) -> Any:
    s, given = t.suppression.c, given_rows({"key": Text()})
    return select(s.address_key, s.reason).where(s.address_key == given.c.key, s.lifted_at.is_(None))


_ACTING = Prepared(_acting_now)


def _lift(connection: Connection, keys: Iterable[str], *, now: datetime, note: str) -> int:
    s, lifted, found = t.suppression.c, 0, list(keys)
    for start in range(0, len(found), CHUNK):
        acting = s.address_key.in_(found[start : start + CHUNK]) & s.lifted_at.is_(None)
        change = update(t.suppression).where(acting).values(lifted_at=now, lifted_note=note)
        lifted += connection.execute(change).rowcount
    return lifted


def _strength(reason: str) -> int:
    """An unknown reason was given by a person."""
    return _STRENGTH.index(reason) if reason in _STRENGTH else _STRENGTH.index("by_hand")
