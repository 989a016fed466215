"""Recipient domains that block a sender, that are ill, or that are gone: whose mail waits, who is left in peace."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from typer.testing import CliRunner

from nurture.cli.main import app
from nurture.delivery.replies import Reply, read_reply
from nurture.pipeline.group_commit import GroupCommit
from nurture.rehearsal.clock import VirtualClock
from nurture.store import tables as t
from nurture.store.domain_health import lift_pauses
from tests.engine.test_two_workers import all_at_once
from tests.engine.world import HEAD, MONDAY, World, add_leads, make_root, open_world, steps
from tests.migrated import SQLITE, emptied

BLOCK = read_reply(550, "5.7.1 <a@shut.example>: messages from you are on our block list")
CLOSED = read_reply(550, "5.7.133 sender not authenticated for this group")
HARD = read_reply(550, "5.1.1 no such user", at_rcpt=True)
NO_HOST = read_reply(550, "5.1.2 domain not found", at_rcpt=True)
BEN = '[senders.ben]\nfrom = "Ben <ben@acme.example>"\n'
Begin = Callable[..., World]


class Refusals(dict[str, Reply]):
    """Address -> the refusal it gets; `asked` is everybody for whom a server was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.append(key)
        return super().get(key, default)

    def told(self) -> list[str]:
        """Who was asked for since the last time."""
        asked, self.asked = self.asked, []
        return sorted(asked)


@pytest.fixture
def begin(tmp_path: Path, database_url: str) -> Iterator[Begin]:
    opened: list[World] = []

    def make(*said: str, config: str = "", **cadences: str) -> World:
        root = make_root(tmp_path / "workspace", url=database_url, config=config, tour=HEAD + steps(*said), **cadences)
        world = open_world(root)
        opened.append(world)
        world.hop.refuse = Refusals()
        return world

    yield make
    for world in opened:
        world.database.close()


def people(world: World, *addresses: str) -> None:
    names = [address.partition("@")[0] for address in addresses]
    ids = add_leads(world.database, *names)
    domains = dict(address.split("@") for address in addresses)
    with world.database.transaction() as connection:
        for row in connection.execute(select(t.lead.c.id, t.lead.c.email).where(t.lead.c.id.in_(ids))).all():
            name = row.email.partition("@")[0]
            address = f"{name}@{domains[name]}"
            said = {"email": address, "email_key": address, "email_domain": domains[name]}
            connection.execute(update(t.lead).where(t.lead.c.id == row.id).values(said))


def refusals(world: World) -> Refusals:
    assert isinstance(world.hop.refuse, Refusals)
    return world.hop.refuse


def statuses(world: World) -> dict[str, str]:
    """name -> how its last message stands."""
    return {row.to_address.partition("@")[0]: row.status for row in world.rows(t.message, "to_address", "status")}


def suppressed(world: World) -> dict[str, str]:
    s = t.suppression.c
    with world.database.reading() as connection:
        rows = connection.execute(select(s.address_key, s.reason).where(s.lifted_at.is_(None)))
        return {row.address_key: row.reason for row in rows}


def exits(world: World) -> Counter[str]:
    return Counter(row.exit_reason for row in world.rows(t.enrollment, "exit_reason") if row.exit_reason)


def pause_rows(world: World) -> list[Any]:
    with world.database.reading() as connection:
        return list(connection.execute(select(t.domain_pause)))


def reopened(world: World) -> World:
    """The same installation in a process that was just started."""
    again = open_world(world.installation.root, clock=world.clock)
    again.hop.refuse = refusals(world)
    return again


# --- a sender that is blocked

BLOCKED = ("a@shut.example", "b@shut.example", "c@shut.example", "d@shut.example", "e@shut.example")


def test_a_block_stops_that_sender_for_that_domain_and_the_operator_is_told(begin: Begin) -> None:
    world = begin("mail:a", "wait: 20 days")
    people(world, *BLOCKED, "zoe@fine.example")
    refusals(world).update(dict.fromkeys(BLOCKED, BLOCK))
    with capture_logs() as logs:
        world.once()
    told = [each for each in logs if each["event"] == "sender_blocked"]
    assert [(each["log_level"], each["sender"], each["domain"]) for each in told] == [
        ("warning", "anna", "shut.example")
    ]
    assert "nurture resume --domain shut.example --sender anna" in told[0]["cure"]
    assert "@" not in json.dumps(told), "logs name nobody"
    assert world.hop.arrived == [("zoe", "a")]
    assert 1 <= len([each for each in refusals(world).told() if each in BLOCKED]) <= 2, "no more than were under way"
    assert {statuses(world)[address[0]] for address in BLOCKED} == {"deferred"}
    assert suppressed(world) == {}
    assert exits(world) == Counter()
    world.advance(minutes=50)
    world.advance(minutes=9)
    again = reopened(world)
    again.once()
    assert refusals(world).told() == [], "nobody is asked for while it lasts, nor by a process that was just started"
    again.database.close()


def test_a_block_that_was_never_committed_keeps_nobody_waiting(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database went away with it for good; a server that is well again must not go on being shunned."""
    monkeypatch.setattr("nurture.pipeline.group_commit.TRIES_WHILE_CLOSING", 1)
    monkeypatch.setattr("nurture.pipeline.group_commit.RETRY_S", 0.01)
    world = begin("mail:a", "wait: 20 days")
    people(world, *BLOCKED)
    refusals(world).update(dict.fromkeys(BLOCKED, BLOCK))
    with monkeypatch.context() as away:
        away.setattr(GroupCommit, "_transact", _database_away)
        world.once()
    refusals(world).clear()
    world.advance(minutes=5)
    assert len(world.hop.arrived) == len(BLOCKED)


def _database_away(*_: object) -> None:
    raise OperationalError("COMMIT", {}, Exception("server closed the connection"))


def test_one_tries_after_a_pause_which_doubles_until_the_domain_takes_mail_again(begin: Begin) -> None:
    world = begin("mail:a", "wait: 20 days")
    people(world, *BLOCKED)
    refusals(world).update(dict.fromkeys(BLOCKED, BLOCK))
    world.once()
    refusals(world).told()
    for hours in (1, 2, 4):
        world.advance(hours=hours, seconds=-1)
        assert refusals(world).told() == []
        world.advance(seconds=1)
        assert len(refusals(world).told()) == 1
    refusals(world).clear()
    world.advance(hours=8)
    assert sorted(world.hop.arrived) == [(address[0], "a") for address in BLOCKED]
    assert pause_rows(world) == []
    world.advance(hours=1)
    assert len(world.hop.arrived) == 5


def test_another_senders_mail_to_the_same_domain_goes(begin: Begin) -> None:
    world = begin("mail:a", config=BEN, other=HEAD + "concurrent: true\nsender: ben\n" + steps("mail:b"))
    people(world, "a@shut.example")
    with world.database.transaction() as connection:
        values = {"domain": "shut.example", "sender": "anna", "since": world.clock(), "times": 1, "reply": "550 no"}
        connection.execute(t.domain_pause.insert().values(until=world.clock() + timedelta(hours=1), **values))
    world.once()
    assert world.hop.arrived == [("a", "b")]


@pytest.mark.parametrize("database_url", [SQLITE])
def test_a_person_sees_the_pause_and_lets_it_go(begin: Begin) -> None:
    world = begin("mail:a", "wait: 20 days")
    people(world, *BLOCKED)
    refusals(world).update(dict.fromkeys(BLOCKED, BLOCK))
    world.once()
    refusals(world).clear()
    command = ["--workspace", str(world.installation.root)]
    [shown] = json.loads(CliRunner().invoke(app, ["pause", "--json", *command]).stdout)
    assert shown["scope"] == "sender:anna domain:shut.example"
    assert shown["until"] == (world.clock() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "our block list" in shown["note"]
    assert "@" not in shown["note"], "a pause outlives those who are erased"
    with world.database.transaction() as connection:
        assert lift_pauses(connection, "shut.example", sender="anna", now=world.clock())
        assert not lift_pauses(connection, "shut.example", sender="anna", now=world.clock())
    world.once()
    assert len(world.hop.arrived) == 5


def test_a_block_of_one_mailbox_stops_nobody_elses_mail(begin: Begin) -> None:
    world = begin("mail:a", "wait: 20 days")
    people(world, *BLOCKED)
    refusals(world)["a@shut.example"] = CLOSED
    world.once()
    assert len(world.hop.arrived) == 4
    assert pause_rows(world) == []
    assert statuses(world)["a"] == "deferred"
    for _ in range(30):
        world.advance(hours=2)
    assert statuses(world)["a"] == "failed"
    assert suppressed(world) == {}


def test_mail_that_is_blocked_for_a_week_is_given_up_and_its_cadence_goes_on(begin: Begin) -> None:
    world = begin("mail:a", "mail:b")
    people(world, "a@shut.example", "b@shut.example")
    refusals(world).update({"a@shut.example": BLOCK, "b@shut.example": BLOCK})
    world.once()
    for _ in range(6):
        world.advance(days=1)
    assert set(statuses(world).values()) <= {"deferred", "queued"}
    for _ in range(5):
        world.advance(days=1)
    rows = world.rows(t.message, "step", "status")
    assert {row.status for row in rows if row.step == "a"} == {"failed"}
    assert [row.step for row in rows].count("b") == 2
    assert suppressed(world) == {}


def test_two_workers_share_what_is_blocked(tmp_path: Path, postgres_url: str) -> None:
    emptied(postgres_url)
    root = make_root(tmp_path / "workspace", url=postgres_url, tour=HEAD + steps("mail:a"))
    clock = VirtualClock(MONDAY)
    workers = [open_world(root, clock=clock, sole_worker=False) for _ in range(2)]
    names = [f"lead{number}@shut.example" for number in range(12)]
    people(workers[0], *names)
    for world in workers:
        world.hop.refuse = Refusals()
        refusals(world).update(dict.fromkeys(names, BLOCK))
    workers[0].once()
    for world in workers:
        refusals(world).told()
    all_at_once(workers)
    assert [refusals(world).told() for world in workers] == [[], []]
    clock.advance(timedelta(hours=1))
    all_at_once(workers)
    assert sum(len(refusals(world).told()) for world in workers) == 1
    for world in workers:
        world.database.close()


# --- a domain that is ill


def many(first: int, last: int) -> list[str]:
    return [f"p{number}@ill.example" for number in range(first, last)]


def test_where_a_domain_is_ill_nobody_is_suppressed_and_all_get_their_mail_later(begin: Begin) -> None:
    world = begin("mail:a", "wait: 20 days")
    people(world, *many(0, 45), "zoe@fine.example")
    refusals(world).update(dict.fromkeys(many(0, 30), HARD))
    with capture_logs() as logs:
        world.once()
    told = [each for each in logs if each["event"] == "domain_ill"]
    assert [(each["log_level"], each["domain"]) for each in told] == [("warning", "ill.example")]
    assert suppressed(world) == {}
    assert exits(world) == Counter()
    assert {statuses(world)[f"p{number}"] for number in range(30)} == {"deferred"}
    assert statuses(world)["zoe"] == "sent"
    refusals(world).told()
    world.advance(minutes=30)
    assert refusals(world).told() == [], "the others wait too, whoever the sender is"
    refusals(world).clear()
    world.advance(minutes=31)
    assert Counter(name for name, _ in world.hop.arrived) == Counter(
        {"zoe": 1, **{f"p{number}": 1 for number in range(45)}}
    )
    assert pause_rows(world) == []
    assert suppressed(world) == {}


def test_those_who_bounced_earlier_in_the_hour_come_back(begin: Begin) -> None:
    world = begin("mail:a", "wait: 1 day", "mail:b")
    people(world, *many(0, 15))
    refusals(world).update(dict.fromkeys(many(0, 40), HARD))
    world.once()
    world.once()
    assert len(suppressed(world)) == 15, "fifteen prove nothing yet"
    assert exits(world) == Counter(bounced=15)
    people(world, *many(15, 40))
    world.advance(minutes=30)
    assert suppressed(world) == {}
    assert exits(world) == Counter()
    assert set(statuses(world).values()) == {"deferred"}
    assert {row.verdict for row in world.rows(t.event, "verdict")} == {"machine"}
    refusals(world).clear()
    world.advance(hours=1, minutes=1)
    assert len(world.hop.arrived) == 40
    world.advance(days=1)
    assert Counter(world.hop.arrived).most_common(1)[0][1] == 1
    assert len(world.hop.arrived) == 80, "each went on where it stood, and once"


def test_a_few_or_a_tenth_that_are_refused_are_the_readers_affair(begin: Begin) -> None:
    world = begin("mail:a")
    people(world, *many(0, 200))
    refusals(world).update(dict.fromkeys(many(180, 200), HARD))
    world.once()
    assert Counter(statuses(world).values()) == Counter(sent=180, bounced=20)
    assert len(suppressed(world)) == 20
    assert pause_rows(world) == []


@pytest.mark.parametrize("database_url", [SQLITE])
def test_where_a_person_says_that_the_domain_is_well_its_refusals_are_meant(begin: Begin) -> None:
    world = begin("mail:a")
    people(world, *many(0, 25))
    refusals(world).update(dict.fromkeys(many(0, 25), HARD))
    world.once()
    assert suppressed(world) == {}
    result = CliRunner().invoke(
        app, ["resume", "--domain", "Ill.Example", "--workspace", str(world.installation.root)], catch_exceptions=False
    )
    assert result.stdout == "domain:ill.example goes on\n"
    with world.database.transaction() as connection:  # the command has the machine's clock
        connection.execute(update(t.message).values(not_before=world.clock()))
    world.advance(minutes=1)
    assert len(suppressed(world)) == 25
    assert set(statuses(world).values()) == {"bounced"}


# --- a domain that is gone


def test_a_domain_that_is_not_found_is_tried_for_two_days_and_believed_gone_after_three(begin: Begin) -> None:
    world = begin("mail:a", "wait: 1 day", "mail:b")
    people(world, "a@gone.example")
    refusals(world)["a@gone.example"] = NO_HOST
    world.once()
    assert statuses(world) == {"a": "deferred"}
    for _ in range(25):
        world.advance(hours=2)
    assert statuses(world) == {"a": "failed"}
    assert suppressed(world) == {}
    for _ in range(13):
        world.advance(hours=2)
    assert statuses(world) == {"a": "bounced"}
    assert suppressed(world) == {"a@gone.example": "bounced"}
    assert exits(world) == Counter(bounced=1)


def test_one_reply_from_it_and_the_days_are_counted_anew(begin: Begin) -> None:
    world = begin("mail:a", "wait: 5 days", "mail:b")
    people(world, "a@gone.example")
    refusals(world)["a@gone.example"] = NO_HOST
    world.once()
    world.advance(hours=1)
    refusals(world).clear()
    world.advance(hours=4)
    assert world.hop.arrived == [("a", "a")]
    refusals(world)["a@gone.example"] = NO_HOST
    world.advance(days=5)
    world.advance(hours=5)
    assert statuses(world) == {"a": "deferred"}
    assert suppressed(world) == {}
