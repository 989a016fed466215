"""The same leads and readers twice: played by a simulation, and by the daemon's own pass on a plain grid of minutes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, null, select

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import Rehearsed, build_stages
from nurture.domain.verdict import HitKind
from nurture.engines.stages import Stages
from nurture.rehearsal.behaviour import Act, Deed, Mail
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.next_hop import SimulatedHop
from nurture.rehearsal.simulation import World, play
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event
from nurture.store.hits import RawHit, record_hits
from nurture.store.migrate import upgrade
from nurture.store.unsubscribes import unsubscribe
from tests.engine.world import add_leads

BEGINS = datetime(2026, 11, 5, tzinfo=UTC)
"""A Thursday midnight: a weekend lies ahead."""
GRID = timedelta(minutes=30)
"""Of the passes."""
HABITS: dict[str, tuple[tuple[Deed, timedelta], ...]] = {
    "keen": ((Deed.OPEN, timedelta(minutes=90)), (Deed.CLICK, timedelta(minutes=90)), (Deed.VISIT, timedelta(hours=2))),
    "eager": ((Deed.CLICK, timedelta(hours=3)), (Deed.DEMO, timedelta(hours=4, minutes=30))),
    "chatty": ((Deed.OPEN, timedelta(hours=5)), (Deed.REPLY, timedelta(hours=29))),
    "leaver": ((Deed.OPEN, timedelta(hours=20)), (Deed.LEAVE, timedelta(hours=20))),
    "angry": ((Deed.COMPLAIN, timedelta(minutes=30)),),
    "quiet": (),
    "dead": (),
}
"""How a reader treats each mail, by the first part of its address: what, and how long after it came."""
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")


class Scripted:
    """Readers without luck, who act at half hours as well."""

    def is_dead(self, address: str) -> bool:
        return address.startswith("dead")

    def acts(self, mail: Mail) -> Iterator[Act]:
        habit, _, zone = mail.address.partition("@")[0].partition("-")
        if habit == "angry" and zone not in ("berlin", "kolkata"):
            return  # a third complaint would stop the sender
        for deed, after in HABITS[habit]:
            if deed is not Deed.CLICK or mail.links:
                path = "/pricing" if deed is Deed.VISIT else ""
                yield Act(at=mail.sent_at + after, deed=deed, message_id=mail.message_id, path=path)


@dataclass
class Ready:
    """A workspace with leads at midnight, before the first pass."""

    root: Path
    database: Database
    clock: VirtualClock
    stages: Stages
    hop: SimulatedHop


def get_ready(root: Path, *, readers: Scripted, **tags: Sequence[str]) -> Ready:
    """A lead of every habit in every zone; `tags` are given by zone's last word, in small letters."""
    files = load_workspace(root)
    database = Database(files.settings.database.url, root=root)
    upgrade(database)
    for zone in ZONES:
        short = zone.rpartition("/")[2].lower()
        created = BEGINS - timedelta(days=1, hours=len(zone))
        names = [f"{habit}-{short}" for habit in HABITS]
        ids = add_leads(database, *names, timezone=zone, created_at=created, consented_at=created)
        with database.transaction() as connection:
            rows = [{"lead_id": each, "tag": tag} for each in ids for tag in tags.get(short, ())]
            if rows:
                connection.execute(t.lead_tag.insert(), [{**row, "tagged_at": created} for row in rows])
    clock = VirtualClock(BEGINS)
    hop = SimulatedHop("primary", clock=clock, is_dead=readers.is_dead)
    installation = Rehearsed(
        root=root,
        settings=files.settings,
        database=database,
        clock=clock,
        rng=random.Random(5),
        seed="5",
    )
    stages = build_stages(installation, files, sole_worker=True, servers={"primary": hop})
    return Ready(root, database, clock, stages, hop)


def simulate(ready: Ready, readers: Scripted, until: datetime) -> None:
    files = load_workspace(ready.root)
    world = World(
        database=ready.database,
        clock=ready.clock,
        stages=ready.stages,
        hops=[ready.hop],
        readers=readers,
        settings=files.settings,
        cadences=files.cadences,
    )
    play(world, until=until, progress=lambda _: None)


def pass_by_pass(ready: Ready, readers: Scripted, until: datetime, *, every: timedelta) -> None:
    """The daemon's pass at each point of the grid, whether or not anything is due there."""

    async def passes() -> None:
        ahead: list[Act] = []
        while ready.clock() < until:
            due = [act for act in ahead if act.at <= ready.clock()]
            ahead = [act for act in ahead if act.at > ready.clock()]
            _do(ready, sorted(due, key=lambda act: act.at))
            await ready.stages.once()
            ahead += [act for mail in _arrived(ready) for act in readers.acts(mail)]
            ready.clock.advance(every)

    asyncio.run(passes())


def _arrived(ready: Ready) -> list[Mail]:
    taken = list(ready.hop.taken)
    ready.hop.taken.clear()
    m, lead = t.message.c, t.lead.c
    query = select(m.id, m.cadence, m.step, m.sent_at, lead.email_key, t.link_set.c.urls).where(
        m.id.in_(taken), m.kind == "step", lead.id == m.lead_id, t.link_set.c.digest == m.link_set
    )
    with ready.database.reading() as connection:
        return [
            Mail(
                message_id=row.id,
                address=row.email_key,
                cadence=row.cadence,
                step=row.step,
                visit=0,
                sent_at=row.sent_at,
                zone=None,  # type: ignore[arg-type]  # these readers look at no clock
                links=row.urls,
            )
            for row in connection.execute(query.order_by(m.id))
        ]


def _do(ready: Ready, acts: Sequence[Act]) -> None:
    with ready.database.transaction() as connection:
        for act in acts:
            _act(connection, act)


def _act(connection: Connection, act: Act) -> None:
    m = t.message
    row = connection.execute(select(m).where(m.c.id == act.message_id)).one()
    if act.deed in (Deed.OPEN, Deed.CLICK):
        opened = act.deed is Deed.OPEN
        hit = RawHit(
            kind=HitKind.OPEN if opened else HitKind.CLICK,
            method="GET",
            at=act.at,
            message_id=row.id,
            mode="consent" if opened else "always",
            link_index=None if opened else act.link,
            user_agent="Mozilla/5.0 (Windows NT 10.0) Firefox/140.0",
        )
        record_hits(connection, [hit], now=act.at)
        return
    if act.deed is Deed.LEAVE:
        unsubscribe(connection, row.lead_id, message_id=row.id, source="test", now=act.at)
        return
    names = {Deed.VISIT: "page viewed", Deed.DEMO: "demo requested", Deed.REPLY: "replied", Deed.COMPLAIN: "complained"}
    of_mail = act.deed in (Deed.REPLY, Deed.COMPLAIN)
    event = NewEvent(
        lead_id=row.lead_id,
        kind=names[act.deed],
        at=act.at,
        source="test",
        source_id=f"{act.deed} {row.id}",
        path=act.path or None,
        message_id=row.id if of_mail else None,
        enrollment_id=row.enrollment_id if of_mail else None,
        cadence=row.cadence if of_mail else None,
        step=row.step if of_mail else None,
    )
    record_event(connection, event, now=act.at)


def told(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """What was decided, lead by lead, with the moments; and what came of it: mails, ends, moves, alerts.

    Of each row: who, when, in which cadence if it is of one, and what.
    """
    d, m, e, s, a, key = t.decision.c, t.message.c, t.enrollment.c, t.stage_history.c, t.alert.c, t.lead.c.email_key
    queries = {
        "decision": (d.lead_id, d.at, d.cadence, d.step, d.code, d.detail),
        "message": (m.lead_id, m.sent_at, m.cadence, m.kind, m.step, m.status, m.variant),
        "enrollment": (e.lead_id, e.ended_at, e.cadence, e.step, e.status, e.exit_reason, e.due_at, e.blocked_by),
        "stage": (s.lead_id, s.at, null(), s.before, s.after, s.kind, s.because),
        "alert": (a.lead_id, a.told_at, null(), a.rep, a.status, a.rule),
    }
    found: dict[str, list[tuple[Any, ...]]] = {}
    with database.reading() as connection:
        for name, (lead_id, *columns) in queries.items():
            rows = connection.execute(select(key, *columns).where(t.lead.c.id == lead_id)).all()
            found[name] = sorted((_rounded(tuple(row)) for row in rows), key=repr)
    return found


def _rounded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a cadence does stays to the second. A pass is late for an alert, which waits two minutes for signs of a
    machine; and a simulation looks but once an hour at what follows from time alone.
    """
    if row[2] is not None:
        return row
    grid = timedelta(hours=1) if {"demoted", "demotion"} & {each for each in row if isinstance(each, str)} else GRID
    return tuple(_up_to(each, grid) if isinstance(each, datetime) else each for each in row)


def _up_to(moment: datetime, grid: timedelta) -> datetime:
    return BEGINS - (BEGINS - moment) // grid * grid
