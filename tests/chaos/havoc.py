"""Real daemons are killed, frozen, robbed, cut off and starved while they send; the receiver's disk says what happened.

The receiver syncs each message before it answers; it loses links after the final dot (with and without having recorded
the message), defers, and stalls. What it recorded is the truth. People come a few with each fault, so that there is
always something to send. Time is moved by hand where something would have to be waited for: what is deferred is due
again, and the leases of the dead are over.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, func, insert, select, text, update
from sqlalchemy.exc import OperationalError

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_stages, open_installation
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.message_views import RESEND_AFTER, resolve_as_resend
from nurture.store.migrate import upgrade
from tests.chaos.faults import AT_RANDOM, KINDS, Fault, draw
from tests.chaos.ground import Ground
from tests.chaos.mortal import ANSWER_WITHIN_S, LOCK_WAIT_MS, PAUSE_S, POINTS
from tests.chaos.verdict import Died, Verdict
from tests.migrated import clear
from tests.receiving import Receiving, receiving

SECRET = "a secret for this test alone"
PAST = RESEND_AFTER + timedelta(minutes=10)
AN_HOUR = timedelta(hours=1)
A_WHILE = timedelta(seconds=10)
PATIENCE_S = 120
"""Only so that a run in which somebody is stuck comes to an end."""
COME_TO_S = 40
LITTLE = 20
SLEEPERS = 4
FAULT_S = 4.0
"""What a fault takes, more or less: the pace is such that as much is sent meanwhile as people come with each."""
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
connections = {connections}
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


@dataclass(kw_only=True)
class Plan:
    """How much of what. `without` names a guard that the daemons lack."""

    leads: int
    faults: int
    workers: int
    seed: int
    ground: Ground = field(default_factory=lambda: Ground(url="sqlite:///nurture.db"))
    kinds: Sequence[str] = KINDS
    points: Sequence[str] = POINTS
    without: str = ""
    connections: int = 4
    """For each worker, of those that they share."""
    drop: float = 0.01
    defer: float = 0.02

    @property
    def possible(self) -> list[str]:
        """Of the kinds, those that this ground can take."""
        missing = {"restart", "panic"} if self.ground.server is None else set()
        missing |= {"full", "panic"} if self.ground.disk is None else set()
        missing |= set() if self.ground.url.startswith("sqlite") else {"lock"}
        return [kind for kind in self.kinds if kind not in missing]

    @property
    def pace_s(self) -> float:
        """How long the receiver takes for each message."""
        rate = self.leads / (max(self.faults, 1) * FAULT_S)
        return min(self.workers * self.connections / rate, 0.5)


@dataclass
class Havoc:
    """One run."""

    plan: Plan
    root: Path
    receiver: Receiving
    cradle: Cradle
    database: Database = field(init=False)
    daemons: list[Daemon] = field(default_factory=list)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    recovery_s: dict[tuple[str, str], float] = field(default_factory=dict)
    died: list[Died] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    skewed: set[int] = field(default_factory=set)
    """Processes whose clock was wrong for a while: what they say of the time is no evidence."""
    left: dict[str, datetime] = field(default_factory=dict)
    """Who unsubscribed, and when that was committed."""
    there: int = 0
    started: int = 0
    edits: int = 30
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.database = make_workspace(self.root, self.plan, self.receiver.port)
        self._let_in(max(self.plan.leads // 10, min(self.plan.leads, 300)))

    def wreak(self) -> Verdict:
        drawn = draw(count=self.plan.faults, seed=self.plan.seed, kinds=self.plan.possible, points=self.plan.points)
        try:
            self._keep_up()
            self._all_send(since=datetime.now(UTC))  # noqa: TID251  the daemons under test live in real time
            for done, fault in enumerate(drawn):
                self._let_in(-(-(self.plan.leads - self.there) // (len(drawn) - done)))
                self._until_there_is_work()
                self._one_fault(fault)
            self._to_the_end()
        finally:
            self._stop()
        return self.judge()

    # --- faults

    def _one_fault(self, fault: Fault) -> None:
        """It happens; then everybody who lives must send again, by himself."""
        bit = {
            "kill": self._kill,
            "point": self._die_at_a_point,
            "freeze": self._freeze,
            "links": self._drop_links,
            "stall": self._stall,
            "leave": self._leave,
            "edit": self._edit,
            "cut off": self._cut_off,
            "lock": self._lock,
            "restart": self._restart,
            "full": self._fill,
            "panic": self._fill,
            "clock": self._jump,
            "resend": self._resend,
        }[fault.kind](fault)
        (self.faults if bit else self.missed)[fault.name] += 1
        now, began = datetime.now(UTC), time.monotonic()  # noqa: TID251  as above
        self._keep_up(fault)
        if self._all_send(since=now):
            took = time.monotonic() - began
            self.recovery_s[fault.name] = max(took, self.recovery_s.get(fault.name, 0.0))
        elif not self.finished():
            silent = [daemon.pid for daemon in self.daemons if daemon.pid not in self._sent_since(now)]
            self.stuck.append(f"after {fault}: {silent}")

    def _kill(self, fault: Fault) -> bool:
        time.sleep(fault.much * 0.2)
        self._put_down(self._one_of_them(fault))
        return True

    def _die_at_a_point(self, fault: Fault) -> bool:
        """One daemon gives way to one that kills itself at a commit point."""
        doomed = self._doomed(fault, "kill")
        with _patience(COME_TO_S) as waiting:
            while doomed.lives and next(waiting):
                self._give_work()
        bit = not doomed.lives
        self._put_down(doomed)
        return bit

    def _freeze(self, fault: Fault) -> bool:
        """Stopped, robbed of its leases, and woken up: it must notice before it says anything more."""
        sleeper = self._asleep_at_random(fault) if fault.at == AT_RANDOM else self._asleep_at_a_point(fault)
        if sleeper is None:
            return False
        robbed = self._rob(sleeper)
        time.sleep(fault.much * 0.5)
        sleeper.send(signal.SIGCONT)
        time.sleep(0.2)
        self._put_down(sleeper)
        return robbed

    def _resend(self, fault: Fault) -> bool:
        """Asleep between its commit and its dot, while a person has the message sent again: it says nothing more."""
        sleeper = self._asleep_at_a_point(fault)
        if sleeper is None:
            return False
        asleep_at = time.monotonic()
        bit = self._rob(sleeper) and self._sent_again(sleeper)
        time.sleep(max(0.0, asleep_at + PAUSE_S - time.monotonic()))
        sleeper.send(signal.SIGCONT)
        time.sleep(0.5)
        self._put_down(sleeper)
        return bit

    def _sent_again(self, sleeper: Daemon) -> bool:
        """By somebody who first asks the receiver whether it has the message, and hears that it has not."""
        time.sleep(self.plan.pace_s + 0.5)  # what it did say to its end has been recorded by then
        m, now = t.message.c, datetime.now(UTC)  # noqa: TID251  as above
        arrived = {each["message_id"] for each in self.receiver.received()}
        his = m.lease_owner.contains(f":{sleeper.pid}:") & (m.status == "unknown")
        long_over = m.lease_until < now - RESEND_AFTER
        with self.database.transaction() as connection:
            rows = connection.execute(select(m.id, m.message_id).where(his, long_over)).all()
            missing = {row.id: row.message_id for row in rows if row.message_id not in arrived}
            for each in missing:
                resolve_as_resend(connection, each, now=now)
            first = now - AN_HOUR  # before whatever else waits
            connection.execute(update(t.message).where(t.message.c.id.in_(list(missing))).values(not_before=first))
        with _patience(PATIENCE_S) as waiting:
            while next(waiting):
                self._move_time()
                if {each["message_id"] for each in self.receiver.received()}.issuperset(missing.values()):
                    return bool(missing)
        return False

    def _drop_links(self, fault: Fault) -> bool:
        time.sleep(fault.much * 0.2)
        self.receiver.told("drop")
        return True

    def _stall(self, fault: Fault) -> bool:
        """For longer than the client waits; before `ehlo` there must be somebody who connects."""
        if fault.at in POINTS:
            slow = self._doomed(fault, "pause")
            self._all_send(since=datetime.now(UTC))  # noqa: TID251  as above
            time.sleep(PAUSE_S)
            return slow.lives
        seconds = ANSWER_WITHIN_S * (1.2 + fault.much)
        self.receiver.told("stall", fault.at, seconds)
        if fault.at == "ehlo":
            self.receiver.told("drop")
        time.sleep(seconds)
        return True

    def _leave(self, _: Fault) -> bool:
        """Some people unsubscribe, most of them while their mail is on its way."""
        m, now = t.message.c, datetime.now(UTC)  # noqa: TID251  as above
        with self.database.transaction() as connection:
            on_the_way = select(m.lead_id).where(m.status == "sending").limit(10)
            waiting = select(m.lead_id).where(m.status == "queued").limit(5)
            ids = {*connection.scalars(on_the_way), *connection.scalars(waiting)}
            keys = connection.scalars(select(t.lead.c.email_key).where(t.lead.c.id.in_(ids))).all()
            taken = set(connection.scalars(select(t.suppression.c.address_key)))
            leaving = set(keys) - taken
            for key in leaving:
                connection.execute(insert(t.suppression).values(address_key=key, reason="unsubscribed", at=now))
        self.left |= dict.fromkeys(leaving, datetime.now(UTC))  # noqa: TID251  from the commit on it holds
        return bool(leaving)

    def _edit(self, _: Fault) -> bool:
        """The cadence changes, and everybody begins again from the top."""
        self.edits += 1
        before = self._taken_up()
        (self.root / "cadences" / "everybody.yaml").write_text(CADENCE.format(edits=self.edits))
        with _patience(PATIENCE_S) as waiting:
            while self._taken_up() == before and next(waiting):
                self._move_time()
        time.sleep(2.5)  # until they are looked at again
        return self._taken_up() > before

    def _taken_up(self) -> int:
        return sum(daemon.log.read_text().count("files_taken_up") for daemon in self.daemons)

    def _cut_off(self, fault: Fault) -> bool:
        """The server drops every connection; or somebody locks the file for a while."""
        if self.database.is_sqlite:
            with self.database.transaction():
                time.sleep(0.2 + fault.much * 1.3)
            return True
        with self.database.transaction() as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        return True

    def _lock(self, fault: Fault) -> bool:
        """For longer than SQLite waits, and than a dot may come after its commit began."""
        with self.database.transaction():
            time.sleep(6 * LOCK_WAIT_MS / 1000 * (0.9 + fault.much / 2))
        return True

    def _restart(self, fault: Fault) -> bool:
        server = self.plan.ground.server
        assert server is not None
        server.stop_at_once()
        time.sleep(fault.much * 3)
        server.start()
        return True

    def _fill(self, fault: Fault) -> bool:
        """No room for new pages; on PostgreSQL it may be that it can't write its log either, at which it gives up."""
        disk, server = self.plan.ground.disk, self.plan.ground.server
        assert disk is not None
        disk.fill()
        try:
            if server is not None and fault.kind == "panic":
                server.use_up_wal()
            time.sleep(2 + fault.much * 2)
        finally:
            disk.free()
        if server is not None:
            server.start()
        return True

    def _jump(self, fault: Fault) -> bool:
        """A worker lives an hour ahead, or back, and then in the present again."""
        jumper = self._one_of_them(fault)
        there, back = (signal.SIGUSR1, signal.SIGUSR2) if fault.at == "ahead" else (signal.SIGUSR2, signal.SIGUSR1)
        self.skewed.add(jumper.pid)
        jumper.send(there)
        time.sleep(1 + fault.much * 4)
        jumper.send(back)
        return jumper.lives

    # --- daemons

    def _keep_up(self, fault: Fault | None = None) -> None:
        """As many as there should be; who went by himself after he had begun should not have."""
        for daemon in self.daemons:
            if not daemon.lives and daemon.has_begun:
                self.died.append(Died(after=str(fault), told=daemon.last_words))
        self.daemons = [daemon for daemon in self.daemons if daemon.lives]
        while len(self.daemons) < self.plan.workers:
            self._start()

    def _one_of_them(self, fault: Fault) -> Daemon:
        return self.daemons[int(fault.who * len(self.daemons))]

    def _doomed(self, fault: Fault, deed: str) -> Daemon:
        """One daemon gives way to one that this befalls at the point; without one, right before its dot."""
        self._put_down(self._one_of_them(fault))
        return self._start(f"{fault.at or 'dotted:after'}:{fault.nth}:{deed}")

    def _start(self, fault: str = "") -> Daemon:
        self.started += 1
        log = self.root / f"daemon-{self.started}.log"
        words = ["run", "--only", "work", "-C", str(self.root)]
        self.daemons.append(Daemon(self.cradle.bear(words, fault, log), log))
        return self.daemons[-1]

    def _put_down(self, daemon: Daemon) -> None:
        daemon.send(signal.SIGKILL)
        daemon.ends(within=PATIENCE_S)
        self._end_leases_of(daemon.pid)
        self.daemons = [each for each in self.daemons if each is not daemon]

    def _asleep_at_random(self, fault: Fault) -> Daemon | None:
        """But not in the middle of a write to SQLite: nobody could take anything over then."""
        daemon = self._one_of_them(fault)
        with _patience(PATIENCE_S) as waiting:
            while daemon.lives and next(waiting):
                daemon.send(signal.SIGSTOP)
                if self._falls_asleep(daemon):
                    return daemon
                daemon.send(signal.SIGCONT)
        self._put_down(daemon)
        return None

    def _asleep_at_a_point(self, fault: Fault) -> Daemon | None:
        """The same; where another of its threads writes just then, another daemon is sent to sleep."""
        for _ in range(SLEEPERS):
            daemon = self._doomed(fault, "stop")
            if self._falls_asleep(daemon):
                return daemon
            self._put_down(daemon)
            self._keep_up(fault)
        return None

    def _falls_asleep(self, daemon: Daemon) -> bool:
        with _patience(COME_TO_S) as waiting:
            while daemon.lives and next(waiting):
                if daemon.sleeps:
                    return not self._is_locked()
                with suppress(OperationalError):  # it may fall asleep while another of its threads writes
                    self._give_work()
        return False

    def _is_locked(self) -> bool:
        if not self.database.is_sqlite:
            return False
        file = str(self.database.engine.url.database)
        with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
        return False

    def _rob(self, sleeper: Daemon) -> bool:
        """Its leases are over, and somebody else takes what it had."""
        try:
            self._end_leases_of(sleeper.pid)
        except OperationalError:  # it was stopped while it wrote these rows: nobody gets past it
            return False
        if all(each is sleeper for each in self.daemons):
            self._start()
        with _patience(PATIENCE_S) as waiting:
            while next(waiting):
                if not self._holds_leases(sleeper.pid):
                    return True
        return False

    def _all_send(self, *, since: datetime) -> bool:
        """Whether everybody who lives has sent something since, or nothing is left to send."""
        with _patience(PATIENCE_S) as waiting:
            while next(waiting):
                self._move_time()
                sending = self._sent_since(since)
                if all(daemon.pid in sending for daemon in self.daemons if daemon.lives):
                    return True
                if self._work() <= 0:
                    return True
        return False

    def _sent_since(self, moment: datetime) -> set[int]:
        m = t.message.c
        with self.database.reading() as connection:
            lately = m.dotted_at.between(moment, moment + AN_HOUR / 2)  # and not by a clock that was an hour ahead
            owners = connection.scalars(select(m.lease_owner).where(lately).distinct())
            return {daemon.pid for owner in owners for daemon in self.daemons if f":{daemon.pid}:" in str(owner)}

    # --- people, and time by hand

    def _let_in(self, count: int) -> None:
        """So many more people, who are under way at once."""
        first, self.there = self.there, min(self.there + count, self.plan.leads)
        if first < self.there:
            let_in(self.root, self.database, first, self.there)

    def _give_work(self) -> None:
        """So that each commit point is come to: some have to be enrolled and queued for that."""
        self._move_time()
        if self._work() < LITTLE:
            self._let_in(LITTLE)

    def _until_there_is_work(self) -> None:
        """A fault among the idle proves nothing."""
        with _patience(COME_TO_S) as waiting:
            while self._work() == 0 and not self.finished() and next(waiting):
                self._move_time()

    def _work(self) -> int:
        """Messages that wait, and people who have none yet."""
        counts = self.counts()
        return counts["queued"] + counts["deferred"] + self.there - counts.total()

    def _move_time(self) -> None:
        """What is put off is due, also where somebody with a wrong clock put it off."""
        now = datetime.now(UTC)  # noqa: TID251  as above
        m, e = t.message, t.enrollment
        waiting = m.c.status.in_(("queued", "deferred")) & (m.c.not_before > now)
        soon = (e.c.due_at > now) & (e.c.due_at < now + 2 * AN_HOUR)
        free = select(m.c.id).where(waiting).with_for_update(skip_locked=True)
        asked = select(e.c.id).where(soon).with_for_update(skip_locked=True)
        with self.database.transaction() as connection:
            connection.execute(update(m).where(m.c.id.in_(free)).values(not_before=now))
            connection.execute(update(e).where(e.c.id.in_(asked)).values(due_at=now))

    def _end_leases_of(self, pid: int) -> None:
        self._end_leases_where(t.message.c.lease_owner.contains(f":{pid}:"))

    def _end_leases(self, *, dotted_before: datetime) -> None:
        """Of what was given up when the database went away after a mark: nobody waits minutes for that."""
        self._end_leases_where(t.message.c.dotted_at < dotted_before)

    def _end_leases_where(self, whose: ColumnElement[bool]) -> None:
        m = t.message
        with self.database.transaction() as connection:
            over = datetime.now(UTC) - PAST  # noqa: TID251  as above
            connection.execute(update(m).where(whose, m.c.status == "sending").values(lease_until=over))

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
        """Everybody has a message, and each is decided."""
        counts = self.counts()
        left = sum(counts[name] for name in ("queued", "deferred", "sending"))
        return left == 0 and sum(counts.values()) >= self.there

    def _to_the_end(self) -> None:
        """Nothing more happens, and the receiver takes no more time than it needs."""
        self.receiver.told("pace", 0)
        with _patience(5 * PATIENCE_S) as waiting:
            while not self.finished() and next(waiting):
                self._keep_up()
                self._move_time()
                self._end_leases(dotted_before=datetime.now(UTC) - A_WHILE)  # noqa: TID251  as above

    def _stop(self) -> None:
        for daemon in self.daemons:
            daemon.send(signal.SIGCONT)
            daemon.send(signal.SIGTERM)
        for daemon in self.daemons:
            if not daemon.ends(within=PATIENCE_S):
                self.stuck.append(f"at the end: {daemon.pid}")
                daemon.send(signal.SIGKILL)

    def judge(self) -> Verdict:
        m = t.message.c
        with self.database.reading() as connection:
            rows = connection.execute(select(m.message_id, m.status, m.to_address, m.dotted_at, m.lease_owner)).all()
        self.database.close()
        received = self.receiver.received()
        arrived = Counter(str(each["message_id"]) for each in received)
        people = Counter(str(each["to"]) for each in received)
        went = {row.message_id for row in rows if row.status in ("sent", "unknown")}
        clocks = {f":{pid}:" for pid in self.skewed}
        return Verdict(
            database="SQLite" if self.database.is_sqlite else f"PostgreSQL, {self.plan.workers} workers",
            seed=self.plan.seed,
            lacking=self.plan.ground.lacking,
            took_s=time.monotonic() - self.began,
            faults=self.faults,
            missed=self.missed,
            recovery_s=self.recovery_s,
            statuses=Counter(row.status for row in rows),
            received=len(received),
            twice=[who for who, count in people.items() if count > 1],
            lost=[row.to_address for row in rows if row.status == "sent" and not arrived[row.message_id]],
            untold=[name for name in arrived if name not in went],
            after_leaving=[
                row.to_address
                for row in rows
                if row.status in ("sent", "unknown")
                and row.to_address in self.left
                and row.dotted_at is not None
                and row.dotted_at > self.left[row.to_address]
                and not any(clock in str(row.lease_owner) for clock in clocks)
            ],
            undecided=[
                row.to_address
                for row in rows
                if row.status not in ("sent", "unknown", "canceled", "failed")
                or (row.status == "unknown" and row.dotted_at is None)
            ],
            died=self.died,
            stuck=self.stuck,
        )


@dataclass
class Daemon:
    """One process, and what it says."""

    pid: int
    log: Path

    @property
    def lives(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def has_begun(self) -> bool:
        return "nurture: running" in self.log.read_text()

    @property
    def sleeps(self) -> bool:
        """Stopped by a signal, as the kernel sees it: proc(5)."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    @property
    def last_words(self) -> str:
        return self.log.read_text()[-2000:]

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ends(self, *, within: float) -> bool:
        with _patience(within) as waiting:
            while self.lives and next(waiting):
                pass
        return not self.lives


class Cradle:
    """Where daemons come from."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def bear(self, words: Sequence[str], fault: str, log: Path) -> int:
        """A process that runs this command; its number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        log.touch()
        self._process.stdin.write(json.dumps({"words": words, "fault": fault, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def _cradle(without: str) -> Iterator[Cradle]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.mortal", "--without", without],
        env={**os.environ, "NURTURE_SECRET_KEY": SECRET},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Cradle(process)


def wreak_havoc(folder: Path, plan: Plan) -> Verdict:
    """One run, in this folder."""
    options = ("--drop", plan.drop, "--defer", plan.defer, "--pace", plan.pace_s, "--seed", plan.seed)
    with receiving(folder / "mail", "--steered", *map(str, options)) as receiver:
        root = folder / "workspace"
        root.mkdir(parents=True)
        with _cradle(plan.without) as cradle:
            return Havoc(plan, root, receiver, cradle).wreak()


def make_workspace(root: Path, plan: Plan, port: int) -> Database:
    (root / "cadences").mkdir()
    (root / "templates" / "email").mkdir(parents=True)
    (root / "config.toml").write_text(
        CONFIG.format(port=port, url=plan.ground.url, connections=plan.workers * plan.connections)
    )
    (root / "cadences" / "everybody.yaml").write_text(CADENCE.format(edits=30))
    (root / "templates" / "email" / "hello.mjml").write_text(TEMPLATE)
    database = Database(plan.ground.url, root=root)
    if not database.is_sqlite:
        clear(database)
    upgrade(database)
    if plan.without == "unique key":
        _drop_the_unique_key(database)
    return database


def let_in(root: Path, database: Database, first: int, end: int) -> None:
    """People number `first` up to, and without, `end`; under way at once, as daemons look for new ones now and then."""
    now = datetime.now(UTC) - timedelta(days=1)  # noqa: TID251  as above
    given = {"custom": {}, "readings": {}, "fit": "unknown", "fit_points": 0.0, "hot_armed": True, "rescore": False}
    given |= {"stage": "lead", "consented_at": now, "created_at": now, "email_domain": "example.com"}
    rows = [
        {**given, "email": f"lead{n}@example.com", "email_key": f"lead{n}@example.com", "first_name": f"Lead {n}"}
        for n in range(first, end)
    ]
    with database.transaction() as connection:
        connection.execute(insert(t.lead), rows)
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
            time.sleep(0.1)
            yield True
        while True:
            yield False

    yield waiting()
