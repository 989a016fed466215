"""`/metrics` over real HTTP, beside what the database and the receiving server counted themselves."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import OperationalError

from nurture.bootstrap import build_private_server, build_stages
from nurture.domain.problem import Problem
from nurture.pipeline.counters import Counters
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.pauses import pause, sender_scope
from nurture.web.metrics import METRICS
from nurture.web.private import PrivateParts, private_app
from nurture.web.server import make_server
from tests.engine.world import HEAD, MONDAY, World, add_leads, in_a_loop, make_root, open_world, steps
from tests.migrated import emptied
from tests.receiving import Receiving, receiving

TOUR = HEAD + steps("mail:a", "wait: 1 day", "mail:b")
Samples = dict[tuple[str, ...], float]


def read(page: str) -> Samples:
    """(name, label values…) -> value, as Prometheus reads the page."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@dataclass
class Watched:
    """A world whose process is watched."""

    world: World
    counters: Counters
    receiver: Receiving | None = None

    @asynccontextmanager
    async def served(self) -> AsyncIterator[httpx.AsyncClient]:
        server = build_private_server(self.world.installation, self.world.workspace, self.counters)
        serving = asyncio.create_task(server.serve())
        try:
            async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            await serving

    def deliver(self) -> Samples:
        """Everybody's first mail, and what is told afterwards."""
        self.world.stages.enroll()
        self.world.stages.advance()
        told: Samples = {}

        async def story() -> None:
            async with self.served() as client:
                await self.world.stages.work("deliver")()
                told.update(read((await client.get("/metrics")).text))
            await self.world.stages.deliverer.close()

        in_a_loop(story)
        return told


def watch(root: Path, *, in_memory: bool = True) -> Watched:
    world = open_world(root, in_memory=in_memory)
    counters = Counters()
    world.stages = build_stages(
        world.installation,
        world.workspace,
        sole_worker=True,
        servers={"primary": world.hop} if in_memory else None,
        counters=counters,
    )
    return Watched(world, counters)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = watch(make_root(tmp_path / "workspace", tour=TOUR))
    add_leads(found.world.database, "zoe", "max", "ada")
    yield found
    found.world.database.close()


@pytest.fixture
def sending(database_url: str, tmp_path: Path) -> Iterator[Watched]:
    """Over each database, with a real server to send to."""
    with receiving(tmp_path / "received", "--pace", "0.002") as receiver:
        root = make_root(tmp_path / "workspace", url=database_url, tour=TOUR)
        config = root / "config.toml"
        config.write_text(config.read_text().replace("port = 9", f"port = {receiver.port}"))
        found = watch(root, in_memory=False)
        found.receiver = receiver
        yield found
        found.world.database.close()


PEOPLE = {"zoe": 60, "unknown": 7, "blocked": 5, "greylisted": 11, "leaving": 2}


def test_it_counts_what_the_database_and_the_server_counted(sending: Watched) -> None:
    """2xx, 4xx and 5xx, watched all the while: no scrape waits for the sending, and none is in its way."""
    world, receiver = sending.world, sending.receiver
    assert receiver is not None
    for name, many in PEOPLE.items():
        for number in range(many):  # a domain that blocks gets no more mail, so each of these has its own
            at = f"domain{number}.example" if name == "blocked" else "example.com"
            add_leads(world.database, f"{name}{number}", at=at)
    world.stages.enroll()
    world.stages.advance()
    pages: list[Samples] = []

    async def story() -> None:
        async with sending.served() as client:

            async def scrape() -> Samples:
                answer = await client.get("/metrics")
                assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
                return read(answer.text)

            pages.append(await scrape())
            delivering = asyncio.create_task(world.stages.work("deliver")())
            while not delivering.done():
                pages.append(await scrape())
            await delivering
            pages.append(await scrape())
        await world.stages.deliverer.close()

    in_a_loop(story)
    before, *during, after = pages
    everybody = sum(PEOPLE.values())
    assert before["nurture_messages", "queued"] == before["nurture_messages_due",] == everybody
    assert before["nurture_message_outcomes_total", "sent"] == 0
    assert any(0 < page["nurture_message_outcomes_total", "sent"] < PEOPLE["zoe"] for page in during)
    assert any(page["nurture_workers_sending",] == 1 for page in during)
    totals = [key for key in before if key[0].endswith(("_total", "_count", "_bucket"))]
    assert all(one[key] <= other[key] for one, other in pairwise(pages) for key in totals)

    m = t.message.c
    with world.database.reading() as connection:
        rows = connection.execute(select(m.status, func.count()).group_by(m.status))
        statuses = Counter(dict(rows.all()))
        replies = connection.execute(select(m.reply_class, func.count()).group_by(m.reply_class))
        classes = Counter(dict(replies.all()))
    for status in ("sent", "bounced", "deferred", "failed", "unknown"):
        assert after["nurture_message_outcomes_total", status] == statuses[status]
    assert after["nurture_message_outcomes_total", "sent"] == len(receiver.received()) == PEOPLE["zoe"]
    assert after["nurture_replies_total", "accepted"] == classes["accepted"] == PEOPLE["zoe"]
    assert after["nurture_replies_total", "hard"] == classes["hard"] == PEOPLE["unknown"]
    assert after["nurture_replies_total", "block"] == classes["block"] == PEOPLE["blocked"]
    assert after["nurture_replies_total", "soft"] == PEOPLE["greylisted"] + PEOPLE["leaving"]
    assert after["nurture_messages", "deferred"] == statuses["deferred"]
    assert after["nurture_messages", "sending"] == after["nurture_messages", "queued"] == 0
    assert after["nurture_marks_total",] == PEOPLE["zoe"]
    assert after["nurture_outcomes_written_total",] == everybody
    assert after["nurture_outcomes_lost_total",] == after["nurture_marks_refused_total",] == 0
    assert 0 < after["nurture_group_commit_duration_seconds_count",] <= 2 * everybody
    assert after["nurture_stage_duration_seconds_count", "deliver"] == 1


def test_whoever_lost_a_claim_is_counted_and_says_nothing_more(watched: Watched) -> None:
    def another_takes_them() -> None:
        with watched.world.database.transaction() as connection:
            connection.execute(update(t.message).values(lease_epoch=t.message.c.lease_epoch + 1))

    watched.world.hop.before_dot = another_takes_them
    told = watched.deliver()
    assert told["nurture_marks_refused_total",] == told["nurture_outcomes_lost_total",] == 3
    assert told["nurture_marks_total",] == told["nurture_outcomes_written_total",] == 0
    assert watched.world.hop.kept == []


def test_what_another_left_behind_is_counted_as_what_it_became(watched: Watched) -> None:
    watched.world.stages.enroll()
    watched.world.stages.advance()
    m = t.message
    left = {"status": "sending", "lease_owner": "elsewhere:1:x", "lease_until": MONDAY - timedelta(hours=1)}
    with watched.world.database.transaction() as connection:
        first = connection.scalar(select(func.min(m.c.id)))
        connection.execute(update(m).values(**left))
        connection.execute(update(m).where(m.c.id == first).values(dotted_at=MONDAY - timedelta(hours=1)))
    told = watched.deliver()
    assert (told["nurture_leases_ended_total", "deferred"], told["nurture_leases_ended_total", "unknown"]) == (2, 1)
    assert told["nurture_messages", "unknown"] == told["nurture_message_outcomes_total", "unknown"] == 1
    assert told["nurture_message_outcomes_total", "sent"] == 2


def test_a_letter_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    text_of_it = "steps:\n  - email: hello\n    id: a\n    subject: 'For {{ lead.company }}'\n"
    found = watch(make_root(tmp_path / "workspace", tour=HEAD + text_of_it))
    add_leads(found.world.database, "zoe")
    add_leads(found.world.database, "max", "ada", company="Acme")
    told = found.deliver()
    assert told["nurture_render_errors_total",] == told["nurture_message_outcomes_total", "failed"] == 1
    assert told["nurture_message_outcomes_total", "sent"] == 2
    found.world.database.close()


def test_what_was_given_up_before_an_attempt_is_counted(watched: Watched) -> None:
    watched.world.stages.enroll()
    watched.world.stages.advance()
    with watched.world.database.transaction() as connection:
        connection.execute(update(t.enrollment).values(status="exited", exit_reason="goal"))
    told = watched.deliver()
    assert told["nurture_message_outcomes_total", "canceled"] == 3
    assert told["nurture_replies_total", "accepted"] == 0


def test_a_pass_that_ends_with_an_error_is_counted(watched: Watched) -> None:
    with watched.world.database.transaction() as connection:
        connection.execute(text("ALTER TABLE verdict_change RENAME TO elsewhere"))

    async def story() -> None:
        with pytest.raises(OperationalError):
            await watched.world.stages.work("react")()
        await watched.world.stages.work("advance")()
        async with watched.served() as client:
            told = read((await client.get("/metrics")).text)
        assert (told["nurture_stage_failures_total", "react"], told["nurture_stage_failures_total", "advance"]) == (
            1,
            0,
        )
        assert told["nurture_stage_duration_seconds_count", "react"] == 1

    in_a_loop(story)


def test_what_is_stopped_is_named(watched: Watched) -> None:
    watched.world.stages.enroll()
    watched.world.stages.advance()
    with watched.world.database.transaction() as connection:
        pause(connection, sender_scope("anna"), now=MONDAY)
        pause(connection, "all", now=MONDAY)
    told = watched.deliver()
    assert told["nurture_paused", "sender", "anna"] == told["nurture_paused", "all", ""] == 1
    assert (told["nurture_messages_due",], told["nurture_messages_held",]) == (0, 3)


def test_while_the_database_is_away_the_process_tells_what_it_counted() -> None:
    counters = Counters()
    counters.decided({"sent": 5})
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing")
    app = private_app(PrivateParts(database=nowhere, clock=lambda: MONDAY, counters=counters))

    async def story() -> None:
        server = make_server(app, "127.0.0.1:0")
        serving = asyncio.create_task(server.serve())
        async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=30) as client:
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            told = read(answer.text)
            assert told["nurture_database_up",] == 0
            assert told["nurture_message_outcomes_total", "sent"] == 5
            assert not any(key[0] == "nurture_messages" for key in told), "no number rather than a wrong one"
            assert (await client.get("/healthz")).text == "ok"
            assert (await client.get("/nothing")).status_code == 404
            assert (await client.post("/metrics")).status_code == 405
        server.should_exit = True
        await serving

    in_a_loop(story)
    nowhere.close()


def test_every_family_is_described_and_none_else_is_there(watched: Watched) -> None:
    add_leads(watched.world.database, "unusual")
    watched.deliver()
    pages: list[str] = []

    async def story() -> None:
        async with watched.served() as client:
            pages.append((await client.get("/metrics")).text)

    in_a_loop(story)
    families: dict[str, Any] = {family.name: family for family in text_string_to_metric_families(pages[0])}
    described = {each.name.removesuffix("_total"): each for each in METRICS}
    assert sorted(families) == sorted(described)
    for name, family in families.items():
        assert (family.type, family.documentation) == (described[name].kind, described[name].meaning)
        assert name.startswith("nurture_")
        if family.type != "counter":
            assert not name.endswith("_total")
        for sample in family.samples:
            assert tuple(label for label in sample.labels if label != "le") == described[name].labels
    assert "@" not in pages[0]
    assert "unusual" not in pages[0]
    assert "example.com" not in pages[0], "no recipient's domain"


def test_each_process_of_a_host_has_a_listener_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    """Whichever came first; those that only work and those that only serve pages."""
    emptied(postgres_url)
    root = make_root(tmp_path / "workspace", url=postgres_url, tour=TOUR)
    config = root / "config.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:  # somebody else's, or an earlier process
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace('private = "127.0.0.1:0"', f'private = "127.0.0.1:{port}"'))
        with running(root, "--only", "work") as worker, running(root, "--only", "web") as server:
            assert worker.private != server.private
            for each in (worker, server):
                assert port < int(each.private.rpartition(":")[2]) <= port + 31
                told = read(httpx.get(f"http://{each.private}/metrics", timeout=30).text)
                assert told["nurture_database_up",] == 1
            assert "public pages" in server.line
            assert "public pages" not in worker.line


@dataclass
class Process:
    line: str

    @property
    def private(self) -> str:
        return self.line.partition("metrics at http://")[2].strip().removesuffix("/metrics")


@contextmanager
def running(root: Path, *options: str) -> Iterator[Process]:
    """A daemon for the length of the block; it drains when it is told to."""
    command = [sys.executable, "-c", "from nurture.cli.main import main; main()", "run", *options]
    daemon = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    assert daemon.stderr is not None
    try:
        yield Process(next(line for line in daemon.stderr if line.startswith("nurture: running")))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0, daemon.stderr.read()
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stderr.close()


def test_a_port_that_nobody_may_take_is_told() -> None:
    app = private_app(PrivateParts(database=Database("sqlite:///x.db"), clock=lambda: MONDAY, counters=Counters()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Problem, match=f"cannot listen on {address}: .*: free it"):
            make_server(app, address)
