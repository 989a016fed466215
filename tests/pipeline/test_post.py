"""Posts go to a real receiver, signed, in a lead's order, at least once, and are given up after three days."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from nurture.domain.post import RETRIES
from nurture.notify.carrier import HttpCarrier
from nurture.notify.channels import Channel, read_channels
from nurture.notify.webhook import read_secret
from nurture.pipeline.post import LEASE, PostEquipment, Poster, PostReport
from nurture.settings import Settings
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.posts import (
    NewPost,
    claim_posts,
    deliver_post,
    fail_post,
    queue_posts,
    retry_post,
)
from tests.pipeline.lifecycle_story import SETTINGS
from tests.receiver import SECRET, Receiver, Say, receiving

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)


class Office:
    """A database, a clock moved by hand, and a worker that posts; `passed` runs one pass of it."""

    def __init__(self, database: Database, receiver: Receiver) -> None:
        self.database = database
        self.receiver = receiver
        self.now = MONDAY
        self.channels = {
            "crm": Channel(name="crm", kind="webhook", url=receiver.url + "/hook?key=1", secret=read_secret(SECRET)),
            "room": Channel(name="room", kind="slack", url=receiver.url + "/services/T1/B2/x"),
        }
        self.poster = self.a_worker()

    def a_worker(self, *, patience_s: float = 15) -> Poster:
        return Poster(
            database=self.database,
            equipment=PostEquipment(channels=self.channels, id_key=b"ids"),
            carrier=HttpCarrier(patience_s=patience_s),
            clock=lambda: self.now,
            rng=random.Random(1),
        )

    def queue(self, *keys: str, lead: int | None = 1, channel: str = "crm", body: dict[str, Any] | None = None) -> None:
        posts = [
            NewPost(
                post_key=key,
                channel=channel,
                lead_id=lead,
                kind="cadence.step",
                body=body or {"lead": {"email": "zoe@example.com"}, "key": key},
            )
            for key in keys
        ]
        with self.database.transaction() as connection:
            queue_posts(connection, posts, now=self.now)

    def passed(self, worker: Poster | None = None) -> PostReport:
        # in a thread of its own: a browser test of the same process may have a loop running in this one
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run((worker or self.poster).post())).result()

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def rows(self) -> dict[str, Any]:
        with self.database.reading() as connection:
            return {row.post_key: row for row in connection.execute(select(t.post).order_by(t.post.c.id))}

    def arrived(self) -> list[str]:
        return [got.json["data"]["key"] for got in self.receiver.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def office(database: Database, receiver: Receiver) -> Office:
    return Office(database, receiver)


@pytest.fixture
def small_office(sqlite_database: Database, receiver: Receiver) -> Office:
    return Office(sqlite_database, receiver)


def test_a_post_is_signed_and_goes_once(office: Office) -> None:
    office.receiver.says(Say(status=201, body=b"thanks\x00\x1b[31m " + b"y" * 9_000))
    office.queue("step:1:hook:1")
    office.queue("step:1:hook:1", body={"another": True})
    office.later(seconds=30)
    assert office.passed() == PostReport(posted=1)
    assert office.passed() == PostReport()
    (got,) = office.receiver.got
    assert got.path == "/hook?key=1"
    assert got.is_signed_with(SECRET)
    assert not got.is_signed_with("another secret")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-timestamp"] == str(int(office.now.timestamp()))
    assert got.json == {
        "type": "cadence.step",
        "timestamp": "2026-11-02T09:00:00Z",
        "data": {"lead": {"email": "zoe@example.com"}, "key": "step:1:hook:1"},
    }
    row = office.rows()["step:1:hook:1"]
    assert (row.status, row.attempt, row.ended_at, row.lease_until) == ("delivered", 1, office.now, None)
    assert row.reply.startswith("201 thanks [31m yyy")
    assert len(row.reply) <= 300


def test_every_retry_bears_the_same_id_until_it_is_given_up(office: Office) -> None:
    office.receiver.says(Say(status=500, body=b"busy"))
    office.queue("a")
    tried_at = []
    for _ in range(400):
        report = office.passed()
        if report != PostReport():
            tried_at.append(office.now)
        row = office.rows()["a"]
        if row.status != "queued":
            break
        assert row.reply == "500 busy"
        office.now = row.not_before
    assert row.status == "failed"
    assert len(office.receiver.got) == len(tried_at) == len(RETRIES) + 1
    assert len({got.id for got in office.receiver.got}) == 1
    assert len({got.headers["webhook-signature"] for got in office.receiver.got}) == len(tried_at)
    assert all(got.is_signed_with(SECRET) for got in office.receiver.got)
    waited = [later - sooner for sooner, later in pairwise(tried_at)]
    assert all(RETRIES[n] <= each < RETRIES[n] * 1.2 for n, each in enumerate(waited))
    assert timedelta(days=3) < tried_at[-1] - tried_at[0] < timedelta(days=4)
    office.later(days=30)
    assert office.passed() == PostReport()


def test_410_ends_it_and_a_redirect_is_not_followed(small_office: Office) -> None:
    office = small_office
    office.receiver.answer = lambda got: (
        Say(status=410) if got.json["data"]["key"] == "gone" else Say(status=302, headers={"location": "/elsewhere"})
    )
    office.queue("gone")
    office.queue("moved", lead=2)
    assert office.passed() == PostReport(posts_failed=1, posts_deferred=1)
    assert {key: row.status for key, row in office.rows().items()} == {"gone": "failed", "moved": "queued"}
    assert [got.path for got in office.receiver.got] == ["/hook?key=1"] * 2


def test_one_leads_posts_to_a_channel_go_in_order(office: Office) -> None:
    refused = {"first"}
    office.receiver.answer = lambda got: Say(status=503 if got.json["data"]["key"] in refused else 204)
    office.queue("first", "second", "third")
    office.queue("of another", lead=2)
    office.queue("in a room", channel="room", body={"text": "hello", "data": {"key": "in a room"}})
    assert office.passed() == PostReport(posted=2, posts_deferred=1)
    office.later(seconds=7)
    assert office.passed() == PostReport(posts_deferred=1)
    assert "second" not in office.arrived()
    refused.clear()
    office.later(minutes=7)
    assert office.passed() == PostReport(posted=3)
    assert [key for key in office.arrived() if key in ("first", "second", "third")] == ["first"] * 3 + [
        "second",
        "third",
    ]


def test_what_waits_behind_a_post_that_is_given_up_goes_then(small_office: Office) -> None:
    office = small_office
    office.receiver.answer = lambda got: Say(status=410 if got.json["data"]["key"] == "first" else 204)
    office.queue("first", "second")
    assert office.passed() == PostReport(posted=1, posts_failed=1)
    assert office.arrived() == ["first", "second"]


def test_an_outage_costs_a_few_tries_and_the_other_channels_nothing(small_office: Office) -> None:
    office = small_office
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/hook"
        office.channels["crm"] = Channel(name="crm", kind="webhook", url=url, secret=b"x")
        for lead in range(40):
            office.queue(f"crm {lead}", lead=lead)
            office.queue(f"room {lead}", lead=lead, channel="room", body={"text": "hello"})
        assert office.passed() == PostReport(posted=40, posts_deferred=8)
        assert office.passed() == PostReport()
        assert sum(row.attempt for key, row in office.rows().items() if key.startswith("crm")) == 8
        office.later(seconds=6)
        assert office.passed().posts_deferred == 8
        office.later(seconds=6)
        assert office.passed() == PostReport()  # it is left alone for longer
    office.channels["crm"] = Channel(name="crm", kind="webhook", url=office.receiver.url, secret=b"x")
    office.later(hours=6)
    assert office.passed() == PostReport(posted=40)


def test_a_receiver_that_stalls_or_hangs_up_is_tried_again(small_office: Office) -> None:
    office = small_office
    office.receiver.says(Say(stalls=True), Say(hangs_up=True), Say())
    office.queue("a")
    assert office.passed(office.a_worker(patience_s=0.3)) == PostReport(posts_deferred=1)
    assert office.rows()["a"].reply == "no answer within 0.3 s"
    office.later(seconds=7)
    assert office.passed() == PostReport(posts_deferred=1)
    assert office.rows()["a"].reply.startswith("cannot be reached: ")
    office.later(minutes=10)
    assert office.passed() == PostReport(posted=1)
    assert len({got.id for got in office.receiver.got}) == 1


def test_a_receiver_may_ask_for_more_time(small_office: Office) -> None:
    office = small_office
    office.receiver.says(Say(status=429, headers={"retry-after": "120"}), Say(status=503, headers={"retry-after": "x"}))
    office.queue("a")
    office.passed()
    assert office.rows()["a"].not_before == office.now + timedelta(seconds=120)
    office.later(seconds=120)
    office.passed()
    assert office.rows()["a"].not_before >= office.now + RETRIES[1]


def test_a_worker_that_dies_while_posting_posts_again_under_the_same_id(office: Office) -> None:
    office.queue("a", "b")
    with office.database.transaction() as connection:  # killed between the post and its commit
        (taken,) = claim_posts(connection, "crm", now=office.now, lease_until=office.now + LEASE, limit=8)
    assert taken.post_key == "a"
    assert office.passed() == PostReport()
    office.later(seconds=121)
    assert office.passed() == PostReport(posted=2)
    assert office.arrived() == ["a", "b"]
    assert office.rows()["a"].attempt == 2


def test_two_workers_share_the_posts_and_try_none_twice(office: Office) -> None:
    for lead in range(12):
        office.queue(f"{lead} one", f"{lead} two", lead=lead)
    workers = [office.a_worker() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(office.passed, workers))
    while (report := office.passed()) != PostReport():
        reports.append(report)
    assert sum(report.posted for report in reports) == 24
    assert len(office.receiver.got) == 24
    assert office.receiver.most_at_once <= 3 * 8
    for lead in range(12):
        assert [key for key in office.arrived() if key.startswith(f"{lead} ")] == [f"{lead} one", f"{lead} two"]


def test_a_late_worker_does_not_undo_what_another_did(office: Office) -> None:
    office.queue("a")
    with office.database.transaction() as connection:
        (late,) = claim_posts(connection, "crm", now=office.now, lease_until=office.now + LEASE, limit=8)
    office.later(minutes=3)
    with office.database.transaction() as connection:
        (other,) = claim_posts(connection, "crm", now=office.now, lease_until=office.now + LEASE, limit=8)
        assert not retry_post(connection, late, at=office.now, reply="500")
        assert not fail_post(connection, late, reply="410", now=office.now)
        assert deliver_post(connection, late, reply="200", now=office.now)
        assert not retry_post(connection, other, at=office.now, reply="500")
    assert office.rows()["a"].status == "delivered"


def test_a_channel_that_is_not_ready_keeps_its_posts(small_office: Office) -> None:
    office = small_office
    office.channels["crm"] = Channel(name="crm", kind="webhook", problem="the environment variable HOOK is not set")
    office.queue("a")
    office.queue("b", channel="gone")
    assert office.passed() == PostReport(posts_deferred=2)
    replies = {key: row.reply for key, row in office.rows().items()}
    assert replies == {
        "a": "the environment variable HOOK is not set",
        "b": "there is no [alerts.gone] in config.toml any more",
    }
    assert office.receiver.got == []


def test_what_no_json_can_hold_does_not_block_what_is_behind_it(small_office: Office) -> None:
    office = small_office
    office.queue("a", body={"score": float("nan")})
    office.queue("b")
    assert office.passed() == PostReport(posted=1, posts_failed=1)
    assert "JSON" in office.rows()["a"].reply


def channels(**alerts: dict[str, str]) -> dict[str, Channel]:
    found = {"env:URL": "https://hooks.example.com/x", "env:HTTP": "http://hooks.example.com/x", "env:KEY": SECRET}
    settings = Settings.model_validate(SETTINGS | {"alerts": alerts})
    return read_channels(settings, secret_of=found.__getitem__, own_secret=lambda name: f"own {name}".encode())


def test_channels_are_read_with_their_secrets_and_show_none() -> None:
    read = channels(
        crm={"kind": "webhook", "url": "env:URL", "secret": "env:KEY"},
        plain={"kind": "webhook", "url": "https://hooks.example.com/y"},
        room={"kind": "slack", "url": "http://localhost:9000/services"},
    )
    assert read["crm"].url == "https://hooks.example.com/x"
    assert read["crm"].secret == read_secret(SECRET)
    assert read["plain"].secret == b"own plain"
    assert read["room"].problem == ""
    assert "hooks.example.com" not in repr(read)
    assert "own plain" not in repr(read)


@pytest.mark.parametrize(
    "url", ["env:HTTP", "http://10.0.0.7/x", "ftp://hooks.example.com", "https://", "//x", "https://h:99999/"]
)
def test_nothing_is_posted_in_the_clear_or_to_what_is_no_address(url: str) -> None:
    (channel,) = channels(crm={"kind": "webhook", "url": url}).values()
    assert channel.problem.startswith("[alerts.crm] url ")
    assert channel.url == ""


def test_the_id_of_a_post_tells_nothing_of_what_it_is(small_office: Office) -> None:
    small_office.queue("step:12:secret-plan:1")
    small_office.passed()
    assert "secret" not in small_office.receiver.got[0].id
