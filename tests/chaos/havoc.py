"""Real daemons are killed, frozen, robbed and cut off while they send; the receiver's disk says what happened.

The receiver syncs each message before it answers, loses links after the final dot (with and without having recorded
the message) and defers. What it recorded is the truth. Time is moved by hand where something would have to be waited
for: what is deferred is due again, and the leases of the dead are over.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import OperationalError

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_stages, open_installation
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.migrate import upgrade
from tests.chaos.mortal import POINTS
from tests.receiving import Receiving, receiving

SECRET = "a secret for this test alone"
PAST = timedelta(minutes=10)
AT_MOST_S = 900
CONFIG = """
[workspace]
name = "Acme Analytics"
public_url = "http://127.0.0.1:8080"
postal_address = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
timezone = "Europe/Berlin"
secret_key = "env:NURTURE_SECRET_KEY"
[database]
url = "{url}"
[web]
public = "127.0.0.1:0"
private = "127.0.0.1:0"
[smtp.primary]
host = "127.0.0.1"
port = {port}
security = "none"
connections = 8
[senders.anna]
from = "Anna Meier <anna@acme.example>"
[sending]
sender = "anna"
"""
CADENCE = """
name: To everybody
segment: stage == "lead"
enroll: current_and_future
window: any
on_edit: restart
steps:
  - email: hello
    id: hello
    subject: "Hello {{{{ lead.first_name | default('there') }}}}"
  - wait: {edits} days
"""
TEMPLATE = """<mjml><mj-body><mj-section><mj-column>
<mj-text>Hello {{ lead.first_name | default('there') }},
<a href="https://www.acme.example/tour">take the tour</a>.</mj-text>
<mj-text>{{ workspace.postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""
FAULTS = ("kill", "point", "freeze", "links", "leave", "edit", "cut off")
"""What may happen. `links`: nothing but what the receiver does anyway."""


@dataclass(kw_only=True)
class Plan:
    """How much of what. `without` names a guard that the daemons lack."""

    leads: int
    faults: int
    workers: int
    seed: int
    url: str = "sqlite:///nurture.db"
    kinds: Sequence[str] = FAULTS
    points: Sequence[str] = POINTS
    without: str = ""
    goes_on: bool = False
    """Also when every message is decided."""
    pace: float = 0.01
    drop: float = 0.01
    defer: float = 0.02


@dataclass(kw_only=True)
class Verdict:
    """What came of it. `twice` and `lost` are promises broken, and so is mail to who had left."""

    faults: Counter[str]
    statuses: Counter[str]
    received: int
    twice: list[str]
    lost: list[str]
    after_leaving: list[str]
    undecided: list[str]

    @property
    def broken(self) -> list[str]:
        found = {
            "twice": self.twice,
            "lost": self.lost,
            "after leaving": self.after_leaving,
            "undecided": self.undecided,
        }
        return [f"{name}: {len(who)}" for name, who in found.items() if who]

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.statuses.items()))
        promise = ", ".join(self.broken) or "twice 0, lost 0, after leaving 0, undecided 0"
        return f"{sum(self.faults.values())} faults ({faults}); messages: {ends}; received {self.received}; {promise}"


@dataclass
class Havoc:
    """One run."""

    plan: Plan
    root: Path
    receiver: Receiving
    rng: random.Random = field(init=False)
    database: Database = field(init=False)
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    edits: int = 30
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.plan.seed)
        self.database = make_workspace(self.root, self.plan, self.receiver.port)

    def wreak(self) -> Verdict:
        try:
            while sum(self.done.values()) < self.plan.faults and (self.plan.goes_on or not self.finished()):
                self._keep_up()
                self._one_fault()
                self._move_time()
            self._to_the_end()
        finally:
            self._stop()
        return self.judge()

    # --- faults

    def _one_fault(self) -> None:
        kind = self.rng.choice(self.plan.kinds)
        {
            "kill": self._kill,
            "point": self._die_at_a_point,
            "freeze": self._freeze,
            "links": lambda: time.sleep(0.1),
            "leave": self._leave,
            "edit": self._edit,
            "cut off": self._cut_off,
        }[kind]()
        self.done[kind] += 1

    def _kill(self) -> None:
        """At a random moment after it has begun to send."""
        daemon = self.rng.choice(self.daemons)
        self._until_something_is_sent()
        time.sleep(self.rng.uniform(0, 0.05))
        self._put_down(daemon)

    def _die_at_a_point(self) -> None:
        """One daemon gives way to one that kills itself at a commit point."""
        self._put_down(self.rng.choice(self.daemons))
        fault = f"{self.rng.choice(self.plan.points)}:{self.rng.randrange(1, 30)}"
        doomed = self._start(fault)
        with _patience(15) as waiting:
            while doomed.poll() is None and next(waiting):
                self._move_time()
        self._put_down(doomed)

    def _freeze(self) -> None:
        """Stopped, robbed of its leases, and woken up: it must notice before it says anything more."""
        daemon = self.rng.choice(self.daemons)
        self._until_something_is_sent()
        daemon.send_signal(signal.SIGSTOP)
        try:
            self._end_leases_of(daemon.pid)
        except OperationalError:  # it was stopped while it wrote to SQLite: nobody gets past it
            daemon.send_signal(signal.SIGCONT)
            return
        beside = self._start()  # takes over what the frozen one had
        with _patience(4) as waiting:
            while beside.poll() is None and next(waiting):
                if not self._holds_leases(daemon.pid):
                    break
        time.sleep(self.rng.uniform(0.1, 0.6))
        daemon.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        self._put_down(daemon)

    def _leave(self) -> None:
        """Some people unsubscribe, most of them while their mail is on its way."""
        self._until_something_is_sent()
        m, now = t.message.c, datetime.now(UTC)  # noqa: TID251  the daemons under test live in real time
        with self.database.transaction() as connection:
            on_the_way = select(m.lead_id).where(m.status == "sending").limit(10)
            waiting = select(m.lead_id).where(m.status == "queued").limit(5)
            ids = {*connection.scalars(on_the_way), *connection.scalars(waiting)}
            keys = connection.scalars(select(t.lead.c.email_key).where(t.lead.c.id.in_(ids))).all()
            taken = set(connection.scalars(select(t.suppression.c.address_key)))
            for key in set(keys) - taken:
                connection.execute(insert(t.suppression).values(address_key=key, reason="unsubscribed", at=now))

    def _edit(self) -> None:
        """The cadence changes, and everybody begins again from the top."""
        self.edits += 1
        log = self.root / "daemon.log"
        before = log.read_text().count("files_taken_up")
        (self.root / "cadences" / "everybody.yaml").write_text(CADENCE.format(edits=self.edits))
        with _patience(10) as waiting:
            while log.read_text().count("files_taken_up") == before and next(waiting):
                self._move_time()
        time.sleep(2.5)  # until they are looked at again

    def _cut_off(self) -> None:
        """The database drops every connection; or somebody locks it for longer than anybody waits."""
        if self.database.is_sqlite:
            with self.database.transaction():
                time.sleep(self.rng.uniform(0.2, 1.5))
            return
        with self.database.transaction() as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))

    # --- daemons

    def _keep_up(self) -> None:
        self.daemons = [daemon for daemon in self.daemons if daemon.poll() is None]
        while len(self.daemons) < self.plan.workers:
            self._start()

    def _start(self, fault: str = "") -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "NURTURE_SECRET_KEY": SECRET,
            "NURTURE_FAULT": fault,
            "NURTURE_WITHOUT": self.plan.without,
        }
        with (self.root / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.mortal", "run", "--only", "work", "-C", str(self.root)],
                env=environment,
                cwd=Path(__file__).parents[2],
                stderr=log,
                stdout=log,
            )
        self.daemons.append(daemon)
        return daemon

    def _put_down(self, daemon: subprocess.Popen[bytes]) -> None:
        daemon.kill()
        daemon.wait()
        self._end_leases_of(daemon.pid)
        self.daemons = [each for each in self.daemons if each is not daemon]

    def _until_something_is_sent(self) -> None:
        before = self._settled()
        with _patience(15) as waiting:
            while self._settled() == before and not self.finished() and next(waiting):
                self._move_time()

    def _settled(self) -> int:
        counts = self.counts()
        return sum(counts.values()) - counts["queued"] - counts["deferred"] - counts["sending"]

    # --- time by hand

    def _move_time(self) -> None:
        now = datetime.now(UTC)  # noqa: TID251  as above
        m = t.message
        with self.database.transaction() as connection:
            connection.execute(update(m).where(m.c.status == "deferred").values(not_before=now))

    def _end_leases_of(self, pid: int) -> None:
        m = t.message
        with self.database.transaction() as connection:
            his = m.c.lease_owner.contains(f":{pid}:") & (m.c.status == "sending")
            over = datetime.now(UTC) - PAST  # noqa: TID251  as above
            connection.execute(update(m).where(his).values(lease_until=over))

    def _holds_leases(self, pid: int) -> bool:
        m = t.message.c
        held = select(func.count()).where(m.lease_owner.contains(f":{pid}:"), m.status == "sending")
        with self.database.reading() as connection:
            return bool(connection.scalar(held))

    # --- the end

    def counts(self) -> Counter[str]:
        m = t.message.c
        with self.database.reading() as connection:
            rows = connection.execute(select(m.status, func.count()).group_by(m.status))
            return Counter({row[0]: row[1] for row in rows})

    def finished(self) -> bool:
        """Everybody has a message, and each is decided; or the run takes too long."""
        counts = self.counts()
        if time.monotonic() - self.began > AT_MOST_S:
            return True
        left = sum(counts[name] for name in ("queued", "deferred", "sending"))
        return left == 0 and sum(counts.values()) >= self.plan.leads

    def _to_the_end(self) -> None:
        self._keep_up()
        with _patience(180) as waiting:
            while not self.finished() and next(waiting):
                self._keep_up()
                self._move_time()

    def _stop(self) -> None:
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGCONT)
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            try:
                daemon.wait(timeout=40)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def judge(self) -> Verdict:
        m, s, lead = t.message.c, t.suppression.c, t.lead.c
        with self.database.reading() as connection:
            rows = connection.execute(select(m.message_id, m.status, m.to_address, m.dotted_at)).all()
            left = dict(
                connection.execute(select(lead.email, s.at).join(t.suppression, s.address_key == lead.email_key)).all()
            )
        self.database.close()
        received = self.receiver.received()
        arrived = Counter(str(each["message_id"]) for each in received)
        people = Counter(str(each["to"]) for each in received)
        return Verdict(
            faults=self.done,
            statuses=Counter(row.status for row in rows),
            received=len(received),
            twice=[name for name, count in (*arrived.items(), *people.items()) if count > 1],
            lost=[row.to_address for row in rows if row.status == "sent" and not arrived[row.message_id]],
            after_leaving=[
                row.to_address
                for row in rows
                if row.status in ("sent", "unknown")
                and row.to_address in left
                and row.dotted_at is not None
                and row.dotted_at > left[row.to_address]
            ],
            undecided=[row.to_address for row in rows if row.status not in ("sent", "unknown", "canceled", "failed")],
        )


def wreak_havoc(folder: Path, plan: Plan) -> Verdict:
    """One run, in this folder."""
    options = ("--drop", plan.drop, "--defer", plan.defer, "--pace", plan.pace, "--seed", plan.seed)
    with receiving(folder / "mail", *map(str, options)) as receiver:
        root = folder / "workspace"
        root.mkdir(parents=True)
        return Havoc(plan, root, receiver).wreak()


def make_workspace(root: Path, plan: Plan, port: int) -> Database:
    (root / "cadences").mkdir()
    (root / "templates" / "email").mkdir(parents=True)
    (root / "config.toml").write_text(CONFIG.format(port=port, url=plan.url))
    (root / "cadences" / "everybody.yaml").write_text(CADENCE.format(edits=30))
    (root / "templates" / "email" / "hello.mjml").write_text(TEMPLATE)
    database = Database(plan.url, root=root)
    if not database.is_sqlite:
        with database.transaction() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    upgrade(database)
    if plan.without == "unique key":
        _drop_the_unique_key(database)
    now = datetime.now(UTC) - timedelta(days=1)  # noqa: TID251  as above
    given = {"custom": {}, "readings": {}, "fit": "unknown", "fit_points": 0.0, "hot_armed": True, "rescore": False}
    given |= {"stage": "lead", "consented_at": now, "created_at": now, "email_domain": "example.com"}
    rows = [
        {**given, "email": f"lead{n}@example.com", "email_key": f"lead{n}@example.com", "first_name": f"Lead {n}"}
        for n in range(plan.leads)
    ]
    with database.transaction() as connection:
        connection.execute(insert(t.lead), rows)
    _enroll(root)
    return database


def _enroll(root: Path) -> None:
    """Everybody is under way when the first daemon starts; which looks for new leads only now and then."""
    os.environ["NURTURE_SECRET_KEY"] = SECRET
    installation = open_installation(root)
    build_stages(installation, load_workspace(root), sole_worker=False).enroll()
    installation.database.close()


def _drop_the_unique_key(database: Database) -> None:
    """SQLite can't drop one; there the table is made anew without it."""
    with database.transaction() as connection:
        if not database.is_sqlite:
            connection.execute(text("ALTER TABLE message DROP CONSTRAINT message_intent"))
            return
        made = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = 'message'"))
        of_it = "SELECT sql FROM sqlite_master WHERE tbl_name = 'message' AND sql LIKE 'CREATE INDEX%'"
        indexes = connection.scalars(text(of_it)).all()
        connection.execute(text("DROP TABLE message"))
        connection.execute(text(str(made).replace("CONSTRAINT message_intent UNIQUE (intent_key)", "CHECK (1)")))
        for index in indexes:
            connection.execute(text(index))


@contextmanager
def _patience(seconds: float) -> Iterator[Iterator[bool]]:
    """`next()` is true until so many seconds are over, and takes a moment each time."""

    def waiting() -> Iterator[bool]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.02)
            yield True
        while True:
            yield False

    yield waiting()
