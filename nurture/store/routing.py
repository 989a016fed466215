"""What routing looks up: who owns a lead or its account, and what each rep was given so far."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from nurture.domain.alerts import STANDING
from nurture.domain.freemail import FREEMAIL
from nurture.store import tables as t
from nurture.store.database import insert_ignore, one_of

TURN = "routing"
"""The note whose row keeps two workers from giving out turns at the same time."""


def take_turn(connection: Connection) -> None:
    """Wait until nobody else routes; held until the commit."""
    connection.execute(insert_ignore(connection, t.note).values(name=TURN, value={}))
    connection.execute(select(t.note.c.name).where(t.note.c.name == TURN).with_for_update())


def account_owners(connection: Connection, leads: Sequence[Any], reps: Collection[str]) -> dict[int, str]:
    """lead id -> the rep who owns most of its colleagues: by e-mail domain, or by company behind a freemail address."""
    own = {row.id: row.email_domain for row in leads if row.email_domain and row.email_domain not in FREEMAIL}
    firms = {row.id: row.company for row in leads if row.id not in own and row.company}
    lead = t.lead.c
    found: dict[int, str] = {}
    for column, keys in ((lead.email_domain, own), (lead.company, firms)):
        if not keys:
            continue
        owners: dict[str, Counter[str]] = defaultdict(Counter)
        rows = connection.execute(
            select(column.label("account"), lead.owner, func.count().label("leads"))
            .where(column.in_(sorted(set(keys.values()))), lead.owner.in_(sorted(reps)))
            .group_by(column, lead.owner)
        )
        for row in rows:
            owners[row.account][row.owner] = row.leads
        for lead_id, key in keys.items():
            if owners.get(key):
                found[lead_id] = min(owners[key], key=lambda rep: (-owners[key][rep], rep))
    return found


def open_counts(connection: Connection) -> Counter[str]:
    """rep -> alerts that wait for an answer."""
    a = t.alert.c
    rows = connection.execute(
        select(a.rep, func.count().label("alerts"))
        .where(a.status.in_([status.value for status in STANDING]), a.rep != "", a.told_count > 0)
        .group_by(a.rep)
    )
    return Counter({row.rep: row.alerts for row in rows})


def given_by(
    connection: Connection, pool: str, *, reps: Sequence[str], back_at: Mapping[str, datetime | None]
) -> dict[str, int | None]:
    """rep -> alerts of this pool since all of `reps` have shared in it (None: never one). `back_at`: after an absence.

    Who never had one comes first anyway, and who was away is not made up to for it.
    """
    a = t.alert.c
    of_pool = (a.routed_by == pool) & a.rep.in_(list(reps))
    first = {
        row.rep: row.at
        for row in connection.execute(select(a.rep, func.min(a.created_at).label("at")).where(of_pool).group_by(a.rep))
    }
    if not first:
        return dict.fromkeys(reps)
    since = max([*first.values(), *(at for rep, at in back_at.items() if at is not None and rep in first)])
    rows = connection.execute(
        select(a.rep, func.count().label("alerts")).where(of_pool, a.created_at >= since).group_by(a.rep)
    )
    counts = {row.rep: row.alerts for row in rows}
    return {rep: counts.get(rep, 0) if rep in first else None for rep in reps}


def own_leads(connection: Connection, owners: Mapping[int, str]) -> None:
    """Give leads without an owner to the rep who was told of them."""
    for rep in sorted(set(owners.values())):
        ids = [lead_id for lead_id, owner in owners.items() if owner == rep]
        connection.execute(update(t.lead).where(one_of(t.lead.c.id, ids), t.lead.c.owner.is_(None)).values(owner=rep))
