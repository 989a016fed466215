"""Consent is proof: rows are appended, never changed. The lead's `consented_at` mirrors the permission by e-mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from nurture.domain.stages import MoveKind, Stage
from nurture.store import tables as t
from nurture.store.bulk import insert_many
from nurture.store.events import wake_enrollments
from nurture.store.suppressions import CHUNK, lift, suppressed_among

EMAIL = "email"
DOUBLE_OPT_IN = "double_opt_in"
# What a newly confirmed opt-in undoes; never a complaint, a bounce, an erasure or what a person blocked.
_LIFTED_BY_OPT_IN = ("unsubscribed", "cold")
_PROOF = (
    "lead_id",
    "at",
    "kind",
    "granted",
    "basis",
    "text",
    "source",
    "channel",
    "topics",
    "network_address",
    "expires_at",
)


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
    append_proofs(connection, given, now=now)
    newest: dict[int, NewConsent] = {}
    for lead_id, consent in given:
        if consent.kind == EMAIL and (
            lead_id not in newest or given_at(newest[lead_id], now) <= given_at(consent, now)
        ):
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


def given_at(consent: NewConsent, now: datetime) -> datetime:
    """When it was given; nobody can have agreed in the future."""
    return min(consent.at, now) if consent.at is not None else now


def append_proofs(connection: Connection, given: Sequence[tuple[int, NewConsent]], *, now: datetime) -> None:
    """The rows alone; the lead's mirror of them is for the caller to write in the same transaction."""
    rows = [
        (
            lead_id,
            given_at(each, now),
            each.kind,
            True,
            each.basis,
            each.text,
            each.source,
            each.channel,
            list(each.topics),
            each.network_address,
            each.expires_at,
        )
        for lead_id, each in given
    ]
    insert_many(connection, t.consent, _PROOF, rows)


def append_first_moves(connection: Connection, given: Sequence[tuple[int, NewConsent]], *, now: datetime) -> None:
    """The history of visitors who became leads by these consents."""
    before, after, kind = Stage.VISITOR.value, Stage.LEAD.value, MoveKind.CONSENT.value
    rows = [(lead_id, given_at(each, now), before, after, kind, _because(each)) for lead_id, each in given]
    insert_many(connection, t.stage_history, ("lead_id", "at", "before", "after", "kind", "because"), rows)


def _because(consent: NewConsent) -> str:
    return f"consent ({consent.source})" if consent.source else "consent"


def _mirror(connection: Connection, newest: Mapping[int, NewConsent], *, now: datetime) -> None:
    if not newest:
        return
    stages = _stages(connection, newest)
    lead = t.lead.c
    rows = [
        {"lead": lead_id, "given": given_at(consent, now), "until": consent.expires_at}
        for lead_id, consent in sorted(newest.items())
    ]
    mirror = {
        "consented_at": bindparam("given"),
        "consent_until": bindparam("until"),
        "last_engaged_at": func.coalesce(lead.last_engaged_at, bindparam("given")),
    }
    connection.execute(update(t.lead).where(lead.id == bindparam("lead")).values(mirror), rows)
    visitors = [(lead_id, consent) for lead_id, consent in newest.items() if stages.get(lead_id) == Stage.VISITOR]
    if visitors:
        moves = [{"lead": lead_id, "given": given_at(consent, now)} for lead_id, consent in visitors]
        guarded = update(t.lead).where(lead.id == bindparam("lead"), lead.stage == Stage.VISITOR.value)
        change = guarded.values(stage=Stage.LEAD.value, stage_at=bindparam("given"), rescore=True)
        connection.execute(change, moves)
        append_first_moves(connection, visitors, now=now)


def _stages(connection: Connection, lead_ids: Iterable[int]) -> dict[int, str]:
    """Locked, so that two consents at once move the stage once."""
    lead, ids, stages = t.lead.c, sorted(lead_ids), {}
    for start in range(0, len(ids), CHUNK):
        some = select(lead.id, lead.stage).where(lead.id.in_(ids[start : start + CHUNK])).order_by(lead.id)
        stages.update({row.id: row.stage for row in connection.execute(some.with_for_update())})
    return stages
