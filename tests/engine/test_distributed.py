"""`nurture run` in several processes over one PostgreSQL: they share the work, and take up what another left.

The daemons are real and live in real time; leases are ended by hand. The receiver's disk says what happened.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from nurture.bootstrap import build_engine, system_clock
from nurture.engines.clock_check import ClockCheck
from nurture.engines.ticking import Engine
from nurture.store import tables as t
from nurture.store.database import Database, DatabaseUnavailable
from nurture.store.jobs import make_tables, tables_are_current
from nurture.store.migrate import upgrade
from nurture.store.presence import Presence, absent
from tests.chaos.ground import Ground
from tests.chaos.havoc import SECRET, Plan, let_in, make_workspace
from tests.engine.world import HEAD, World, add_leads, in_a_loop, make_root, open_world, steps
from tests.migrated import clear
from tests.receiving import Receiving, receiving

LEADS = 400
PACE_S = 0.1
CONNECTIONS = 8
"""For each of two hosts, which all share."""
PATIENCE_S = 120
"""Only so that a test that fails comes to an end."""

OPEN_FOR_LONG = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in%' AND state_change < clock_timestamp() - interval '0.05 s'
"""


@dataclass
class Hosts:
    """Daemons over one database, and what reached the receiver."""

    root: Path
    database: Database
    receiver: Receiving
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)
    leads: int = 0

    def let_in(self, count: int) -> None:
        let_in(self.root, self.database, self.leads, self.leads + count)
        self.leads += count

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.root / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-c", "from nurture.cli.main import main; main()", "run", "--only", "work"],
                cwd=self.root,
                env={**os.environ, "NURTURE_SECRET_KEY": SECRET},
                stderr=log,
                stdout=log,
            )
        self.daemons.append(daemon)
        return daemon

    def start(self, count: int) -> list[subprocess.Popen[bytes]]:
        """So many daemons, which find the work once all of them are there."""
        self._make_due(timedelta(hours=1))
        daemons = [self._start() for _ in range(count)]
        self.until(lambda: self.log().count("nurture: running") == count)
        self._make_due(timedelta())
        self.until(lambda: all(self.rows_of(daemon, status="sent") for daemon in daemons))
        return daemons

    def start_another(self) -> subprocess.Popen[bytes]:
        """One more, which takes part."""
        daemon = self._start()
        self.until(lambda: self.rows_of(daemon, status="sent") > 0)
        return daemon

    def _make_due(self, ahead: timedelta) -> None:
        due_at = system_clock() + ahead
        with self.database.transaction() as connection:
            connection.execute(update(t.enrollment).values(due_at=due_at))

    def statuses(self) -> Counter[str]:
        m = t.message.c
        with self.database.reading() as connection:
            rows = connection.execute(select(m.status, func.count()).group_by(m.status))
            return Counter({row[0]: row[1] for row in rows})

    def rows_of(self, daemon: subprocess.Popen[bytes], *, status: str, dotted: bool | None = None) -> int:
        m = t.message.c
        his = [m.lease_owner.contains(f":{daemon.pid}:"), m.status == status]
        if dotted is not None:
            his.append(m.dotted_at.is_not(None) if dotted else m.dotted_at.is_(None))
        with self.database.reading() as connection:
            return connection.scalar(select(func.count()).where(*his)) or 0

    def none_waits_for(self, daemon: subprocess.Popen[bytes]) -> bool:
        """Whatever is not decided is under way elsewhere."""
        return set(self.statuses()) <= {"sent", "sending"} and not self.rows_of(daemon, status="sending")

    def no_more_than_marks_are_left(self) -> bool:
        """One for each connection to the receiver, at most."""
        counts = self.statuses()
        return counts["queued"] + counts["deferred"] == 0 and counts["sending"] <= CONNECTIONS * len(self.daemons)

    def falls_asleep(self, daemon: subprocess.Popen[bytes]) -> bool:
        """But not in a transaction, whose rows others would wait for until the server ends it."""
        daemon.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        with self.database.reading() as connection:
            if not connection.scalar(text(OPEN_FOR_LONG)):
                return True
        daemon.send_signal(signal.SIGCONT)
        return False

    def end_leases(self) -> None:
        """Time moved by hand: whatever is under way was left long ago."""
        self.until(self._leases_ended)

    def _leases_ended(self) -> bool:
        past = system_clock() - timedelta(minutes=10)
        m = t.message
        under_way = (m.c.status == "sending") & (m.c.lease_until > past)
        free = select(m.c.id).where(under_way).with_for_update(skip_locked=True)  # who sleeps may hold rows for a while
        with self.database.transaction() as connection:
            connection.execute(update(m).where(m.c.id.in_(free)).values(lease_until=past))
            return not connection.scalar(select(func.count()).where(under_way))

    def log(self) -> str:
        return (self.root / "daemon.log").read_text()

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, f"{self.statuses()}\n{self.log()[-3000:]}"
            time.sleep(0.05)

    def all_decided(self) -> bool:
        counts = self.statuses()
        return counts["sent"] + counts["unknown"] == self.leads

    def stop(self, *daemons: subprocess.Popen[bytes]) -> None:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            assert daemon.wait(timeout=PATIENCE_S) == 0, self.log()[-3000:]

    def judge(self) -> None:
        """Nobody twice, nobody lost, and what arrived is known to have been sent, or may be."""
        m = t.message.c
        with self.database.reading() as connection:
            rows = connection.execute(select(m.message_id, m.status)).all()
        arrived = Counter(str(each["message_id"]) for each in self.receiver.received())
        assert len(rows) == self.leads
        assert [name for name, count in arrived.items() if count > 1] == []
        assert [row.message_id for row in rows if row.status == "sent" and not arrived[row.message_id]] == []
        assert arrived.keys() <= {row.message_id for row in rows if row.status in ("sent", "unknown", "sending")}


@pytest.fixture
def hosts(tmp_path: Path, postgres_url: str) -> Iterator[Hosts]:
    root = tmp_path / "workspace"
    root.mkdir()
    with receiving(tmp_path / "mail", "--pace", str(PACE_S), "--steered") as receiver:
        ground = Ground(url=postgres_url)
        plan = Plan(leads=LEADS, faults=0, workers=2, seed=1, ground=ground, connections=CONNECTIONS)
        found = Hosts(root, make_workspace(root, plan, receiver.port), receiver)
        found.let_in(LEADS)
        try:
            yield found
        finally:
            for daemon in found.daemons:
                daemon.kill()
                daemon.wait()
            found.database.close()


@pytest.mark.slow
def test_what_a_killed_one_had_is_taken_up_before_its_leases_end_and_who_is_told_to_stop_finishes(hosts: Hosts) -> None:
    killed, other = hosts.start(2)
    hosts.until(lambda: hosts.rows_of(killed, status="sending", dotted=False) > 0)
    killed.kill()
    killed.wait()
    sent = hosts.statuses()["sent"]
    # its leases run on for two minutes; only what may have a dot waits for their end
    hosts.until(lambda: not hosts.rows_of(killed, status="sending", dotted=False) and hosts.statuses()["sent"] > sent)
    hosts.stop(other)
    assert hosts.rows_of(other, status="sending") == 0
    assert set(hosts.statuses()) <= {"sent", "sending", "queued", "deferred"}
    with hosts.database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pgqueuer WHERE status = 'picked'")) == 0
    hosts.judge()


@pytest.mark.slow
def test_a_rolling_restart_leaves_nothing_undecided_and_nothing_to_its_leases(hosts: Hosts) -> None:
    first = hosts.start(2)
    hosts.receiver.told("pace", 5 * PACE_S)
    for old in first:
        hosts.let_in(700)  # the others claim some hundreds ahead
        hosts.start_another()
        hosts.stop(old)
        assert hosts.rows_of(old, status="sending") == 0
        assert not hosts.all_decided(), "too soon: the next one would restart nothing"
    hosts.receiver.told("pace", PACE_S / 10)
    hosts.until(hosts.all_decided)
    hosts.stop(*hosts.daemons[2:])
    assert hosts.statuses() == {"sent": hosts.leads}
    assert "drain_cut_off" not in hosts.log()
    assert max(int(str(each["links"])) for each in hosts.receiver.received()) == 2 * CONNECTIONS
    hosts.judge()


@pytest.mark.slow
def test_one_that_slept_past_its_leases_says_nothing_more_about_them(hosts: Hosts) -> None:
    sleeper, other = hosts.start(2)
    hosts.until(lambda: hosts.falls_asleep(sleeper))
    hosts.until(lambda: hosts.none_waits_for(other))
    had = hosts.rows_of(sleeper, status="sending")
    hosts.end_leases()
    hosts.until(hosts.all_decided)
    assert had
    sleeper.send_signal(signal.SIGCONT)
    hosts.stop(sleeper, other)
    hosts.judge()


@pytest.mark.slow
def test_a_database_that_is_away_for_a_while_ends_no_daemon_and_is_told_once(hosts: Hosts) -> None:
    daemons = hosts.start(2)
    with away(hosts.database):
        hosts.until(lambda: hosts.log().count("database_away") == 2)
        looks = hosts.log().count("commit_failed")  # they knock again and again
        hosts.until(lambda: hosts.log().count("commit_failed") > looks)
    hosts.until(lambda: hosts.log().count("database_back") == 2)
    hosts.until(hosts.no_more_than_marks_are_left)
    hosts.end_leases()  # of those whose mark the database did not confirm
    hosts.until(hosts.all_decided)
    assert [daemon.poll() for daemon in daemons] == [None, None]
    assert hosts.log().count("database_away") == 2
    hosts.stop(*daemons)
    hosts.judge()


@contextmanager
def away(database: Database) -> Iterator[None]:
    """Every connection is dropped, and nobody gets a new one."""
    url = database.engine.url
    beside = create_engine(url.set(database="template1"))
    name = url.database
    try:
        with beside.begin() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false'))
        with beside.begin() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
            )
        yield
    finally:
        with beside.begin() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true'))
        beside.dispose()


# --- parts


def test_a_worker_whose_clock_is_wrong_claims_nothing(tmp_path: Path, postgres_url: str) -> None:
    empty(postgres_url).close()
    root = make_root(tmp_path / "workspace", url=postgres_url, tour=HEAD + steps("mail:a"))
    right, wrong = (open_world(root, clock=clock, sole_worker=False) for clock in (system_clock, an_hour_ahead))
    names = [f"lead{number}" for number in range(40)]
    add_leads(right.database, *names)
    right.stages.enroll()

    async def both() -> None:
        engines = [engine_of(wrong), engine_of(right)]
        engines[0].start()
        await asyncio.sleep(3)  # alone with the work, it leaves it
        assert wrong.rows(t.message, "id") == []
        engines[1].start()
        await until(lambda: len(right.hop.arrived) >= len(names))
        for engine in engines:
            await engine.drain()

    in_a_loop(both)
    assert sorted(right.hop.arrived) == sorted((name, "a") for name in names)
    assert wrong.hop.arrived == []
    for world in (right, wrong):
        world.database.close()


def test_a_job_whose_process_is_silent_is_taken_over(tmp_path: Path, postgres_url: str) -> None:
    empty(postgres_url).close()
    world = open_world(make_root(tmp_path / "workspace", url=postgres_url), clock=system_clock, sole_worker=False)
    with world.database.transaction() as connection:
        silent = connection.scalar(text(SILENT))
    taken_over = text("SELECT count(*) FROM pgqueuer_log WHERE job_id = :job AND status = 'successful'")

    def done() -> bool:
        with world.database.reading() as connection:
            return connection.scalar(taken_over, {"job": silent}) == 1

    async def alone() -> None:
        engine = engine_of(world)
        engine.start()
        await until(done)
        await engine.drain()

    in_a_loop(alone)
    assert done()
    world.database.close()


SILENT = """
INSERT INTO pgqueuer (priority, queue_manager_id, heartbeat, status, entrypoint, dedupe_key, slot)
VALUES (0, gen_random_uuid(), now() - interval '7 seconds', 'picked', 'react', 'react:all', 0) RETURNING id
"""


def engine_of(world: World) -> Engine:
    return build_engine(world.installation, world.stages, reload=lambda: None)


async def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def an_hour_ahead() -> datetime:
    return system_clock() + timedelta(hours=1)


@pytest.mark.parametrize(("seconds", "agrees"), [(0, True), (8, True), (-8, True), (12, False), (-12, False)])
def test_clocks_agree_within_ten_seconds(postgres_database: Database, seconds: int, agrees: bool) -> None:
    check = ClockCheck(postgres_database, lambda: system_clock() + timedelta(seconds=seconds))
    assert check.agrees() is check.agreed is agrees


def gone(database: Database, *owners: str) -> list[str]:
    with database.reading() as connection:
        return absent(connection, owners)


def test_an_owner_is_seen_until_its_connection_ends(postgres_database: Database) -> None:
    here, there = Presence(postgres_database, "here:1"), Presence(postgres_database, "there:2")
    here.keep()
    there.keep()
    there.keep()
    there.end()
    assert gone(postgres_database, "here:1", "there:2") == ["there:2"]


def test_an_owner_ends_the_connection_that_the_server_still_believes_to_be_its(postgres_database: Database) -> None:
    lost, here = Presence(postgres_database, "here:1"), Presence(postgres_database, "here:1")
    lost.keep()  # its end never reached the server
    here.keep()
    lost.end()
    assert gone(postgres_database, "here:1") == []
    here.end()
    assert gone(postgres_database, "here:1") == ["here:1"]


def test_a_connection_that_may_not_be_ended_shows_its_owner_until_it_ends(postgres_database: Database) -> None:
    with postgres_database.transaction() as connection:
        connection.execute(text("DROP ROLE IF EXISTS weak"))
        connection.execute(text("CREATE ROLE weak LOGIN PASSWORD 'weak'"))
    weak = make_url(postgres_database.url).set(username="weak", password="weak")
    other = Database(weak.render_as_string(hide_password=False))
    lost, here = Presence(postgres_database, "here:1"), Presence(other, "here:1")
    lost.keep()
    with capture_logs() as told:
        here.keep()
        here.keep()
    assert [line["event"] for line in told] == ["earlier_connection_stays"]
    assert gone(postgres_database, "here:1") == []
    lost.end()
    here.keep()
    assert gone(postgres_database, "here:1") == []
    other.close()
    with postgres_database.transaction() as connection:
        connection.execute(text("DROP ROLE weak"))


def test_the_queues_tables_come_with_the_schema_and_come_back(postgres_url: str) -> None:
    database = empty(postgres_url)
    upgrade(database)
    with database.transaction() as connection:
        assert tables_are_current(connection)
        connection.execute(text("COMMENT ON TABLE pgqueuer IS 'of an older release'"))
        connection.execute(text("ALTER TABLE pgqueuer DROP COLUMN slot"))
    upgrade(database)
    with database.reading() as connection:
        assert tables_are_current(connection)
        assert connection.execute(text("SELECT slot FROM pgqueuer")).all() == []
    database.close()


def test_an_address_that_one_of_the_two_drivers_cannot_read_is_told(postgres_url: str) -> None:
    empty(postgres_url).close()
    strict = {"sslmode": "verify-full", "sslrootcert": "/nowhere/authority.pem"}
    url = make_url(postgres_url).update_query_dict(strict).render_as_string(hide_password=False)
    with pytest.raises(DatabaseUnavailable, match="as asyncpg reads it"):
        make_tables(Database(url))


def empty(url: str) -> Database:
    database = Database(url)
    clear(database)
    return database
