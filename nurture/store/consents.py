"""Consent is proof: rows are appended, never changed. The lead's `consented_at` mirrors the permission by e-mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from nurture.domain.stages import MoveKind, Stage
from nurture.store import tables as t
from nurture.store.events import wake_enrollments
from nurture.store.suppressions import CHUNK, lift, suppressed_among

EMAIL = "email"
DOUBLE_OPT_IN = "double_opt_in"
# What a newly confirmed opt-in undoes; never a complaint, a bounce, an erasure or what a person blocked.
_LIFTED_BY_OPT_IN = ("unsubscribed", "cold")


@dataclass(frozen=True, kw_only=True)
class NewConsent:
    """What was agreed to: the text word for word, where, and on which basis. `at` is when (None: just now)."""

    text: str
    source: str
    kind: str = EMAIL
    basis: str = "express"
    channel: str | None = None
    topics: Sequence[str] = ()
    network_address: str | None = None
    expires_at: datetime | None = None
    at: datetime | None = None


def give_consent(connection: Connection, lead_id: int, consent: NewConsent, *, now: datetime) -> None:
    """Append the proof. By e-mail it also makes a visitor a lead; a confirmed opt-in ends `unsubscribed` and `cold`."""
    give_consents(connection, [(lead_id, consent)], now=now)
    if consent.kind == EMAIL and consent.basis == DOUBLE_OPT_IN:
        key = connection.scalar(select(t.lead.c.email_key).where(t.lead.c.id == lead_id))
        if key is not None and suppressed_among(connection, [key]).get(key) in _LIFTED_BY_OPT_IN:
            lift(connection, key, now=now, note=f"a new opt-in was confirmed ({consent.source})")
    wake_enrollments(connection, [lead_id], now=now)


def give_consents(connection: Connection, given: Sequence[tuple[int, NewConsent]], *, now: datetime) -> None:
    """Append many proofs and mirror those by e-mail, set-wise."""
    if not given:
        return
    connection.execute(insert(t.consent), [_row(lead_id, consent, now) for lead_id, consent in given])
    newest: dict[int, NewConsent] = {}
    for lead_id, consent in given:
        if consent.kind == EMAIL and (lead_id not in newest or _at(newest[lead_id], now) <= _at(consent, now)):
            newest[lead_id] = consent
    _mirror(connection, newest, now=now)


def withdraw_consent(
    connection: Connection, lead_id: int, *, source: str, now: datetime, kind: str = EMAIL, text: str = ""
) -> None:
    """Append the withdrawal of what stands. Withdrawing twice adds nothing."""
    c = t.consent.c
    last = select(c.granted).where(c.lead_id == lead_id, c.kind == kind).order_by(c.id.desc()).limit(1)
    if connection.scalar(last) is False:
        return
    row = {"lead_id": lead_id, "at": now, "kind": kind, "granted": False, "source": source, "text": text, "topics": []}
    connection.execute(insert(t.consent).values(row))
    if kind == EMAIL:
        mirror = {"consented_at": None, "consent_until": None}
        connection.execute(update(t.lead).where(t.lead.c.id == lead_id).values(mirror))


def email_proofs(connection: Connection, lead_ids: Iterable[int]) -> dict[int, list[Any]]:
    """lead id -> its rows of consent by e-mail, oldest first, as (at, granted, basis, text, source)."""
    c, ids = t.consent.c, sorted(set(lead_ids))
    proofs: dict[int, list[Any]] = {}
    for start in range(0, len(ids), CHUNK):
        some = c.lead_id.in_(ids[start : start + CHUNK]) & (c.kind == EMAIL)
        columns = select(c.lead_id, c.at, c.granted, c.basis, c.text, c.source)
        for row in connection.execute(columns.where(some).order_by(c.id)):
            proofs.setdefault(row.lead_id, []).append(row)
    return proofs


def _at(consent: NewConsent, now: datetime) -> datetime:
    """When it was given; nobody can have agreed in the future."""
    return min(consent.at, now) if consent.at is not None else now


def _row(lead_id: int, consent: NewConsent, now: datetime) -> dict[str, Any]:
    return {
        "lead_id": lead_id,
        "at": _at(consent, now),
        "kind": consent.kind,
        "granted": True,
        "basis": consent.basis,
        "text": consent.text,
        "source": consent.source,
        "channel": consent.channel,
        "topics": list(consent.topics),
        "network_address": consent.network_address,
        "expires_at": consent.expires_at,
    }


def _mirror(connection: Connection, newest: Mapping[int, NewConsent], *, now: datetime) -> None:
    if not newest:
        return
    stages = _stages(connection, newest)
    rows, moves = [], []
    for lead_id, consent in sorted(newest.items()):
        at = _at(consent, now)
        rows.append({"lead": lead_id, "given": at, "until": consent.expires_at})
        if stages.get(lead_id) == Stage.VISITOR:
            because = f"consent ({consent.source})" if consent.source else "consent"
            moves.append({"lead_id": lead_id, "at": at, "because": because})
    lead = t.lead.c
    mirror = {
        "consented_at": bindparam("given"),
        "consent_until": bindparam("until"),
        "last_engaged_at": func.coalesce(lead.last_engaged_at, bindparam("given")),
    }
    connection.execute(update(t.lead).where(lead.id == bindparam("lead")).values(mirror), rows)
    if moves:
        _lift_visitors(connection, moves)


def _lift_visitors(connection: Connection, moves: Sequence[Mapping[str, Any]]) -> None:
    before, after = Stage.VISITOR.value, Stage.LEAD.value
    lead = t.lead.c
    guarded = update(t.lead).where(lead.id == bindparam("lead_id"), lead.stage == before)
    change = guarded.values(stage=after, stage_at=bindparam("at"), rescore=True)
    connection.execute(change, [{"lead_id": each["lead_id"], "at": each["at"]} for each in moves])
    history = {"before": before, "after": after, "kind": MoveKind.CONSENT.value}
    connection.execute(insert(t.stage_history), [{**history, **each} for each in moves])


def _stages(connection: Connection, lead_ids: Iterable[int]) -> dict[int, str]:
    """Locked, so that two consents at once move the stage once."""
    lead, ids, stages = t.lead.c, sorted(lead_ids), {}
    for start in range(0, len(ids), CHUNK):
        some = select(lead.id, lead.stage).where(lead.id.in_(ids[start : start + CHUNK])).order_by(lead.id)
        stages.update({row.id: row.stage for row in connection.execute(some.with_for_update())})
    return stages
