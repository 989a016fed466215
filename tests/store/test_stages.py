"""Stage moves: one row of history each, forward only where it is said, and guarded by where the lead stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, select

from nurture.domain.stages import MoveKind, Stage
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.stages import NewMove, move_stage, move_stages, recycle

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def a_lead(connection: Connection, stage: str, name: str = "zoe") -> int:
    row = {"email": name, "email_key": name, "email_domain": "x", "custom": {}, "readings": {}, "created_at": NOW}
    return connection.execute(insert(t.lead).values(**row, stage=stage).returning(t.lead.c.id)).scalar_one()


def moved(connection: Connection) -> list[tuple[str, str, str]]:
    h = t.stage_history.c
    return [tuple(row) for row in connection.execute(select(h.before, h.after, h.kind).order_by(h.id))]


def test_a_promotion_is_written_once_with_its_decision_and_wakes_the_lead(database: Database) -> None:
    with database.transaction() as connection:
        zoe = a_lead(connection, "lead")
        run = {"lead_id": zoe, "cadence": "welcome", "version": "v", "enrolled_at": NOW}
        connection.execute(insert(t.enrollment).values(**run, status="active", due_at=NOW + timedelta(days=2)))
        asked = {"kind": MoveKind.PROMOTION, "because": "score >= 50", "now": NOW}
        assert move_stage(connection, zoe, Stage.MQL, event_id=7, **asked)
        assert not move_stage(connection, zoe, Stage.MQL, **asked)
        assert moved(connection) == [("lead", "mql", "promotion")]
        (decision,) = connection.execute(select(t.decision)).all()
        assert (decision.code, decision.detail["because"]) == ("promoted", "score >= 50")
        assert connection.scalar(select(t.enrollment.c.due_at)) == NOW
        lead = connection.execute(select(t.lead)).one()
        assert (lead.stage, lead.stage_at, lead.set_back_at) == ("mql", NOW, None)


@pytest.mark.parametrize("before", ["sql", "customer", "disqualified", "mql"])
def test_a_promotion_only_climbs(database: Database, before: str) -> None:
    with database.transaction() as connection:
        zoe = a_lead(connection, before)
        assert not move_stage(connection, zoe, Stage.MQL, kind=MoveKind.PROMOTION, because="x", now=NOW)
        assert moved(connection) == []


@pytest.mark.parametrize(
    ("kind", "set_back"),
    [(MoveKind.DEMOTION, True), (MoveKind.RECYCLE, True), (MoveKind.BY_HAND, True), (MoveKind.CORRECTION, False)],
)
def test_a_move_down_is_a_new_beginning_but_a_correction_is_none(
    database: Database, kind: MoveKind, set_back: bool
) -> None:
    with database.transaction() as connection:
        zoe = a_lead(connection, "sql")
        assert move_stage(connection, zoe, Stage.LEAD, kind=kind, because="x", now=NOW)
        assert connection.scalar(select(t.lead.c.set_back_at)) == (NOW if set_back else None)


def test_many_move_at_once_each_from_where_it_stands(database: Database) -> None:
    with database.transaction() as connection:
        stages = ("lead", "mql", "customer", "sql")
        ids = [a_lead(connection, stage, f"lead{number}") for number, stage in enumerate(stages)]
        moves = [NewMove(lead_id=each, after=Stage.SQL, because="x") for each in [*ids, 999]]
        assert move_stages(connection, moves, kind=MoveKind.PROMOTION, now=NOW) == set(ids[:2])
        down = [NewMove(lead_id=each, after=Stage.LEAD, because="x", only_from=Stage.SQL) for each in ids]
        assert move_stages(connection, down, kind=MoveKind.DEMOTION, now=NOW) == {ids[0], ids[1], ids[3]}
        assert move_stages(connection, [], kind=MoveKind.DEMOTION, now=NOW) == set()


@pytest.mark.parametrize(
    ("stage", "recycled"),
    [("mql", True), ("opportunity", True), ("lead", False), ("visitor", False), ("customer", False)],
)
def test_only_who_is_between_lead_and_customer_is_recycled(database: Database, stage: str, recycled: bool) -> None:
    with database.transaction() as connection:
        assert recycle(connection, a_lead(connection, stage), because="not now", now=NOW) is recycled
