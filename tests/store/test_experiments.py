"""Experiments on both databases: one assignment a lead for ever, tallies of people only, a proof that stays."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update

from nurture.domain import cadence as c
from nurture.domain.cadence import ANY_TIME, Cadence, Email
from nurture.pipeline.maintain import maintain
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.experiments import arms_for, experiments_in, generations, tallies
from nurture.store.reports import ReportRequest, run_report

NOW = datetime(2026, 11, 10, 9, tzinfo=UTC)
SENT = NOW - timedelta(days=5)
KEY = b"a key of this installation"


def cadence(*arms: str, test: c.Test | None = None) -> Cadence:
    step = Email(key="intro", next=None, template="x", subjects={arm: arm for arm in arms}, test=test)
    return Cadence(name="guide", title="Guide", sender="anna", window=ANY_TIME, first="intro", steps={"intro": step})


def draw(connection: Connection, lead_ids: range, *arms: str, now: datetime = SENT) -> dict[int, tuple[str, float]]:
    return arms_for(connection, "guide/intro", lead_ids, arms, seed_key=KEY, now=now)


def send(connection: Connection, arms: Mapping[int, str], *, at: datetime = SENT, status: str = "sent") -> None:
    connection.execute(
        insert(t.message),
        [
            {
                "id": lead_id,
                "intent_key": f"step:{lead_id}:intro:1",
                "lead_id": lead_id,
                "cadence": "guide",
                "step": "intro",
                "variant": arm,
                "to_address": f"{lead_id}@example.com",
                "recipient_domain": "example.com",
                "sender": "anna",
                "payload": {},
                "status": status,
                "created_at": at,
                "not_before": at,
                "sent_at": at,
            }
            for lead_id, arm in arms.items()
        ],
    )


def click(connection: Connection, lead_ids: list[int], *, at: datetime, verdict: str = "human") -> None:
    connection.execute(
        insert(t.event),
        [
            {
                "lead_id": lead_id,
                "kind": "clicked",
                "at": at,
                "recorded_at": at,
                "verdict": verdict,
                "source": "web",
                "source_id": f"{verdict}:{lead_id}:{at:%H%M}",
                "message_id": lead_id,
                "props": {},
            }
            for lead_id in lead_ids
        ],
    )


def run(database: Database, cadence: Cadence, *, now: datetime = NOW) -> tuple[str, ...]:
    return maintain(
        database=database, cadences={cadence.name: cadence}, senders=(), now=now, rng=random.Random(1)
    ).proven


def report(database: Database, *, now: datetime = NOW) -> dict[str, dict[str, Any]]:
    with database.reading() as connection:
        found = run_report(connection, "experiments", ReportRequest(now=now))
    return {row["arm"]: row for row in found.rows}


def populate(database: Database, clickers: Mapping[str, int], *, leads: int = 1_200) -> None:
    """`leads` get the mail on the same day; so many of each arm click an hour later."""
    with database.transaction() as connection:
        arms = {lead_id: arm for lead_id, (arm, _) in draw(connection, range(1, leads + 1), "a", "b").items()}
        send(connection, arms)
        for arm, count in clickers.items():
            of_arm = [lead_id for lead_id, drawn in arms.items() if drawn == arm]
            click(connection, of_arm[:count], at=SENT + timedelta(hours=1))


class TestAssignments:
    def test_asking_twice_answers_the_same_and_stores_once(self, database: Database) -> None:
        with database.transaction() as connection:
            first = draw(connection, range(1, 1_202), "a", "b")
        with database.transaction() as connection:
            assert draw(connection, range(600, 1_202), "a", "b") == {lead: first[lead] for lead in range(600, 1_202)}
            assert connection.scalar(select(func.count()).select_from(t.assignment)) == 1_201
        assert {odds for _, odds in first.values()} == {0.5}
        assert {arm for arm, _ in first.values()} == {"a", "b"}

    def test_new_odds_move_nobody_who_was_drawn(self, database: Database) -> None:
        with database.transaction() as connection:
            before = draw(connection, range(1, 101), "a", "b")
            connection.execute(update(t.experiment_state).values(odds={"a": 0.0, "b": 1.0}))
            after = draw(connection, range(1, 201), "a", "b")
        assert {lead: after[lead] for lead in before} == before
        assert {after[lead] for lead in range(101, 201)} == {("b", 1.0)}

    def test_changed_arms_begin_a_new_experiment_and_the_old_arms_go_on_with_theirs(self, database: Database) -> None:
        with database.transaction() as connection:
            old = draw(connection, range(1, 51), "a", "b")
            new = draw(connection, range(1, 51), "a", "c")
            assert draw(connection, range(1, 51), "b", "a") == old
            assert {arm for arm, _ in new.values()} == {"a", "c"}
            assert [each.key for each in generations(connection, "guide/intro")] == ["guide/intro", "guide/intro@2"]
            assert generations(connection, "guide/int") == []

    def test_a_second_worker_reads_what_the_first_one_drew(self, database: Database) -> None:
        """The race as its loser sees it: the row appears between its look and its write."""
        with database.transaction() as connection:
            draw(connection, range(1, 2), "a", "b")
            other = "b" if draw(connection, range(1, 2), "a", "b")[1][0] == "a" else "a"
            connection.execute(update(t.assignment).values(arm=other))
        with database.transaction() as connection:
            assert draw(connection, range(1, 3), "a", "b")[1][0] == other

    def test_only_steps_with_several_subjects_are_experiments(self) -> None:
        assert experiments_in([cadence("")]) == []
        assert [each.key for each in experiments_in([cadence("a", "b")])] == ["guide/intro"]


class TestTallies:
    def test_people_count_once_and_machines_and_bounces_not_at_all(self, database: Database) -> None:
        with database.transaction() as connection:
            arms = {lead: arm for lead, (arm, _) in draw(connection, range(1, 41), "a", "b").items()}
            bounced = [next(lead for lead, arm in arms.items() if arm == "a")]
            send(connection, {lead: arm for lead, arm in arms.items() if lead not in bounced})
            send(connection, {lead: arms[lead] for lead in bounced}, status="bounced")
            readers = [lead for lead, arm in arms.items() if arm == "a" and lead not in bounced][:3]
            scanned = [lead for lead, arm in arms.items() if arm == "b"][:5]
            click(connection, [*readers, *bounced], at=SENT + timedelta(hours=1))
            click(connection, readers, at=SENT + timedelta(hours=2))
            click(connection, scanned, at=SENT + timedelta(seconds=2), verdict="machine")
            (generation,) = generations(connection)
            found = {each.arm: each for each in tallies(connection, generation, sent_by=NOW, metric="click")}
        in_a = sum(arm == "a" for arm in arms.values()) - 1
        assert (found["a"].sent, found["a"].converted) == (in_a, 3)
        assert (found["b"].sent, found["b"].converted) == (40 - in_a - 1, 0)

    def test_a_send_counts_after_seventy_two_hours_by_what_happened_within_them(self, database: Database) -> None:
        populate(database, {})
        with database.transaction() as connection:
            click(connection, [1, 2], at=SENT + timedelta(hours=71))
            click(connection, [3, 4], at=SENT + timedelta(hours=72))
        early = report(database, now=SENT + timedelta(hours=71, minutes=30))
        late = report(database)
        assert sum(row["converted"] for row in early.values()) == 2
        assert [row["matured"] for row in early.values()] == [0, 0]
        assert sum(row["matured_converted"] for row in late.values()) == 2
        assert sum(row["matured"] for row in late.values()) == 1_200

    @pytest.mark.parametrize("metric", ["reply", "promotion", "demo requested"])
    def test_other_metrics(self, database: Database, metric: str) -> None:
        populate(database, {})
        kind = {"reply": "replied"}.get(metric, metric)
        with database.transaction() as connection:
            click(connection, [1, 2, 3], at=SENT + timedelta(hours=1))
            connection.execute(update(t.event).where(t.event.c.lead_id < 3).values(kind=kind))
            connection.execute(
                insert(t.stage_history),
                [
                    {"lead_id": lead, "at": at, "before": "lead", "after": "mql", "kind": kind, "because": ""}
                    for lead, at, kind in (
                        (4, SENT + timedelta(hours=9), "promotion"),
                        (5, SENT - timedelta(hours=9), "promotion"),
                        (6, SENT + timedelta(hours=9), "recycle"),
                    )
                ],
            )
            (generation,) = generations(connection)
            found = tallies(connection, generation, sent_by=NOW, metric=metric)
        assert sum(each.converted for each in found) == (1 if metric == "promotion" else 2)


class TestLearning:
    def test_leading_is_not_proven(self, database: Database) -> None:
        populate(database, {"a": 100, "b": 130})
        assert run(database, cadence("a", "b")) == ()
        rows = report(database)
        assert (rows["a"]["state"], rows["b"]["state"]) == ("open", "leading")
        assert rows["b"]["e_value"] == pytest.approx(2.157, rel=1e-3)
        assert rows["b"]["low"] < 0 < rows["b"]["high"]
        assert (rows["a"]["converted"], rows["b"]["converted"]) == (100, 130)

    def test_a_proof_is_found_once_and_stays(self, database: Database) -> None:
        populate(database, {"a": 300, "b": 390})
        assert run(database, cadence("a", "b")) == ("guide/intro: b",)
        later = NOW + timedelta(hours=1)
        assert run(database, cadence("a", "b"), now=later) == ()
        with database.transaction() as connection:
            # later signs make machines of some clicks: the evidence shrinks, the proof was valid when it was found
            connection.execute(update(t.event).where(t.event.c.lead_id % 2 == 0).values(verdict="machine"))
        run(database, cadence("a", "b"), now=later + timedelta(hours=1))
        rows = report(database)
        assert rows["b"]["e_value"] < 20
        assert rows["b"]["state"] == "proven"
        with database.reading() as connection:
            (generation,) = generations(connection)
        assert (generation.proven_arm, generation.proven_at) == ("b", NOW)

    def test_the_better_arm_gets_all_further_sends(self, database: Database) -> None:
        populate(database, {"a": 100, "b": 190})
        run(database, cadence("a", "b"))
        with database.transaction() as connection:
            assert set(draw(connection, range(5_000, 5_100), "a", "b").values()) == {("b", 1.0)}
        assert [row["share"] for row in report(database).values()] == [0, 1]

    def test_split_keeps_its_odds_whatever_happens(self, database: Database) -> None:
        populate(database, {"a": 100, "b": 190})
        run(database, cadence("a", "b", test=c.Test(send="split")))
        assert [row["share"] for row in report(database).values()] == [0.5, 0.5]

    def test_three_complaints_pause_an_arm_at_once(self, database: Database) -> None:
        with database.transaction() as connection:
            arms = {lead: arm for lead, (arm, _) in draw(connection, range(1, 101), "a", "b").items()}
            send(connection, arms, at=NOW - timedelta(hours=2))
            angry = [lead for lead, arm in arms.items() if arm == "a"][:3]
            click(connection, angry, at=NOW - timedelta(hours=1))
            connection.execute(update(t.event).values(kind="complained"))
        run(database, cadence("a", "b"))
        assert {arm: row["share"] for arm, row in report(database).items()} == {"a": 0, "b": 1}

    def test_a_look_is_taken_every_ten_minutes_at_most(self, database: Database) -> None:
        populate(database, {"a": 100, "b": 130})

        def looked(now: datetime) -> int:
            running = {"guide": cadence("a", "b")}
            return maintain(database=database, cadences=running, senders=(), now=now, rng=random.Random(1)).experiments

        moments = [NOW, NOW, NOW + timedelta(minutes=9), NOW + timedelta(minutes=10)]
        assert [looked(now) for now in moments] == [1, 0, 0, 1]

    def test_an_experiment_nobody_is_in_yet_is_left_alone(self, database: Database) -> None:
        assert run(database, cadence("a", "b")) == ()
        assert report(database) == {}
