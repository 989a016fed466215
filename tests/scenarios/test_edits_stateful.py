"""Cadences are drawn, lead people along, and are edited, killed and edited again; what is promised of edits holds.

`NURTURE_EDIT_RUNS` says how many runs (30), `NURTURE_EDIT_SEED` where they begin. A failure prints its seed and what
was done.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_library
from nurture.delivery.replies import Reply
from nurture.domain.message import ReplyClass
from nurture.domain.problem import Problem
from nurture.rehearsal.clock import VirtualClock
from nurture.settings import load_settings
from nurture.store import tables as t
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import tag_leads
from nurture.store.pauses import ALL, cadence_scope, pause, resume
from nurture.store.unsubscribes import unsubscribe
from tests.engine.world import MONDAY, add_leads, make_root
from tests.scenarios.edit_grammar import File, random_edit, random_file
from tests.scenarios.edit_world import Mortal, Quarry

RUNS = int(os.environ.get("NURTURE_EDIT_RUNS", "30"))
FIRST_SEED = int(os.environ.get("NURTURE_EDIT_SEED", "0"))
ACTIONS = 25
CHUNKS = 10
"""The runs are as many tests, so that several processes may share them."""
NAMES = ("one", "two")
PEOPLE = ("ada", "bob", "cleo")
BEN = '[senders.ben]\nfrom = "Ben <ben@acme.example>"\n'
GREY = Reply(klass=ReplyClass.SOFT, text="451 4.7.1 later")
FINAL = ("sent", "bounced", "failed", "canceled", "unknown")
YEARS = timedelta(days=3 * 365)
LONGEST = 2_000
"""Moments that are looked at until everything has ended."""


@pytest.fixture(scope="module")
def quarry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarry]:
    """In memory where there is such a folder: thousands of commits are made in it."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="nurture-edits-", dir=shared if shared.is_dir() else None) as folder:
        root = make_root(Path(folder) / "workspace", config=BEN)
        made = Quarry(root, build_library(root, load_settings(root)))
        add_leads(made.installation.database, *PEOPLE, country="DE")
        made.keep()
        yield made
        made.installation.database.close()


class Run:
    """One run: its own chance, and a list of what it did."""

    def __init__(self, seed: int, quarry: Quarry) -> None:
        self.rng = random.Random(seed)
        self.told = [f"seed {seed}"]
        self.files = {"one": random_file(self.rng, "one", ("two",)), "two": random_file(self.rng, "two")}
        self.root = quarry.root
        quarry.begin()
        for file in self.files.values():
            self.write(file)
            self.told.append(file.text())
        self.world = Mortal(quarry=quarry, files=load_workspace(self.root), clock=VirtualClock(MONDAY))
        self.world.start()
        self.actions: list[Callable[[], str]] = [
            *[self.time_passes] * 6,
            *[self.an_edit] * 4,
            *[self.killed] * 3,
            *[self.some_stages] * 2,
            *[self.a_click] * 3,
            self.a_reply,
            self.leaves,
            self.a_field,
            *[self.stopped] * 2,
            self.trouble,
            self.held,
            *[self.a_file_goes] * 2,
            self.somebody_new,
            self.a_task_is_done,
        ]
        self.newcomers = iter(f"new{number}" for number in range(100))
        self.events = 0
        self.jumps = any(" back" in repr(file) for file in self.files.values())

    def act(self) -> None:
        self.told.append(self.rng.choice(self.actions)())
        self.holds()

    # --- what may happen

    def time_passes(self) -> str:
        length = self.rng.choice([timedelta(minutes=10), timedelta(hours=5), timedelta(days=1), timedelta(days=4)])
        self.world.clock.advance(length)
        self.world.once()
        return f"{length} pass"

    def some_stages(self) -> str:
        done = self.rng.choices(["react", "enroll", "advance", "deliver"], k=3)
        for name in done:
            (self.world.deliver if name == "deliver" else getattr(self.world.stages, name))()
        return f"stages: {', '.join(done)}"

    def an_edit(self) -> str:
        name = self.rng.choice([name for name in NAMES if self.is_there(name)] or ["one"])
        before = self.files[name]
        for _ in range(20):
            others = ("two",) if name == "one" and self.is_there("two") else ()
            self.write(edited := random_edit(self.rng, before, others))
            if self.is_good():
                self.files[name] = edited
                self.world.take_up()
                if self.rng.random() < 0.7:
                    self.world.once()
                return f"edit of {name}:\n{edited.text()}"
        self.write(before)
        return "no edit"

    def killed(self) -> str:
        after = self.rng.randrange(1, 120)
        kind = self.rng.choice(["pass", "take up", "later"])
        if kind == "later":
            self.world.clock.advance(timedelta(days=2))
        if kind == "take up":
            said = self.rng.choice(list(self.files))
            edited = random_edit(self.rng, self.files[said])
            self.write(edited)
            if self.is_good():
                self.files[said] = edited
            else:
                self._restore(said)
        self.world.mortally(self._take_up_and_go if kind == "take up" else self.world.once, after)
        return f"killed at statement {after} of a {kind}"

    def _take_up_and_go(self) -> None:
        self.world.take_up()
        self.world.once()

    def a_click(self) -> str:
        return self._happens("clicked")

    def a_reply(self) -> str:
        return self._happens("replied")

    def leaves(self) -> str:
        lead = self._lead()
        with self.world.database.transaction() as connection:
            unsubscribe(connection, lead, message_id=None, source="test", now=self.world.clock())
            wake_enrollments(connection, [lead], now=self.world.clock())
        return f"lead {lead} unsubscribes"

    def a_field(self) -> str:
        lead, country, tag = self._lead(), self.rng.choice(["DE", "US", "FR"]), self.rng.choice(["seen", "buyer"])
        with self.world.database.transaction() as connection:
            connection.execute(update(t.lead).where(t.lead.c.id == lead).values(country=country))
            tag_leads(connection, [lead], tag)
            wake_enrollments(connection, [lead], now=self.world.clock())
        return f"lead {lead} is of {country} and {tag}"

    def stopped(self) -> str:
        scope = self.rng.choice([ALL, cadence_scope("one"), cadence_scope("two")])
        with self.world.database.transaction() as connection:
            if pause(connection, scope, now=self.world.clock()):
                return f"{scope} stops"
            resume(connection, scope, now=self.world.clock())
        return f"{scope} goes on"

    def trouble(self) -> str:
        name = f"{self.rng.choice(PEOPLE)}@example.com"
        if self.world.refuse.pop(name, None) is None:
            self.world.refuse[name] = GREY
        return f"greylisting of {name} changes"

    def held(self) -> str:
        lead, days = self._lead(), self.rng.choice([2, 14])
        now = self.world.clock()
        with self.world.database.transaction() as connection:
            values = {"hold_until": now + timedelta(days=days), "hold_reason": "claim"}
            connection.execute(update(t.lead).where(t.lead.c.id == lead).values(values))
            wake_enrollments(connection, [lead], now=now)
        return f"lead {lead} is held for {days} days"

    def a_file_goes(self) -> str:
        """Or comes back."""
        name = "one" if not self.is_there("one") else "two"
        path = self.root / "cadences" / f"{name}.yaml"
        if path.exists():
            path.unlink()
            if not self.is_good():
                self._restore(name)
                return "no file goes"
        else:
            self._restore(name)
            if not self.is_good():
                path.unlink()
                return "no file comes back"
        self.world.take_up()
        return f"{name} {'is back' if path.exists() else 'is gone'}"

    def somebody_new(self) -> str:
        name = next(self.newcomers)
        add_leads(self.world.database, name, country=self.rng.choice(["DE", "US"]))
        return f"{name} comes"

    def a_task_is_done(self) -> str:
        task = t.task
        with self.world.database.transaction() as connection:
            closed = update(task).where(task.c.status == "open").values(status="done", closed_at=self.world.clock())
            leads = connection.scalars(closed.returning(task.c.lead_id)).all()
            wake_enrollments(connection, leads, now=self.world.clock())
        return f"{len(leads)} tasks done"

    def _happens(self, kind: str) -> str:
        sent = [row for row in self.world.rows(t.message)[0] if row.status == "sent" and row.kind == "step"]
        if not sent:
            return f"nothing to be {kind}"
        row, now = self.rng.choice(sent), self.world.clock()
        self.events += 1
        with self.world.database.transaction() as connection:
            new = NewEvent(
                lead_id=row.lead_id,
                kind=kind,
                at=now,
                source="test",
                source_id=str(self.events),
                message_id=row.id,
                enrollment_id=row.enrollment_id,
                cadence=row.cadence,
                step=row.step,
            )
            record_event(connection, new, now=now)
            wake_enrollments(connection, [row.lead_id], now=now)
        return f"{row.cadence}/{row.step} of lead {row.lead_id} is {kind}"

    def _lead(self) -> int:
        return int(self.rng.choice([row.id for row in self.world.rows(t.lead)[0]]))

    def is_there(self, name: str) -> bool:
        return (self.root / "cadences" / f"{name}.yaml").exists()

    def write(self, file: File) -> None:
        (self.root / "cadences" / f"{file.name}.yaml").write_text(file.text())

    def _restore(self, name: str) -> None:
        self.write(self.files[name])

    def is_good(self) -> bool:
        try:
            self.world.files = load_workspace(self.root)
        except Problem:
            return False
        return True

    # --- what must hold

    def holds(self) -> None:
        """After every action."""
        stored, mail, enrollments, decisions = self.world.rows(t.cadence_version, t.message, t.enrollment, t.decision)
        versions = {row.version for row in stored}
        messages = {row.id: row for row in mail}
        assert {row.version for row in enrollments} <= versions
        assert {row.version for row in messages.values()} <= versions
        known = {row.id for row in enrollments}
        assert {row.enrollment_id for row in decisions} - {None} <= known
        self._nothing_came_twice(messages)
        for row in enrollments:
            if row.status in ("active", "paused"):
                self._does_not_hang(row, messages, enrollments)

    def _nothing_came_twice(self, messages: dict[int, Any]) -> None:
        arrived = Counter(message_from_bytes(each.wire)["Message-ID"] for each in self.world.kept)
        assert max(arrived.values(), default=0) <= 1, arrived
        steps = Counter((row.enrollment_id, row.step, row.visit) for row in messages.values() if row.kind == "step")
        assert max(steps.values(), default=0) <= 1, steps
        if not self._jumps_back():
            assert {row.visit for row in messages.values()} <= {1}

    def _jumps_back(self) -> bool:
        self.jumps = self.jumps or any("goto" in file.text() for file in self.files.values())
        return self.jumps

    def _does_not_hang(self, row: Any, messages: dict[int, Any], enrollments: list[Any]) -> None:
        if row.status == "paused":
            ahead = [
                other.id
                for other in enrollments
                if other.lead_id == row.lead_id and other.status == "active" and not other.concurrent
            ]
            assert ahead, f"nobody is ahead of {row}"
            return
        awaits = messages.get(row.message_id)
        assert row.due_at is not None or (awaits is not None and awaits.status not in FINAL), f"{row} hangs, {awaits}"

    # --- the end

    def to_the_end(self) -> None:
        """Nothing holds anybody any more: everything ends."""
        self.world.refuse.clear()
        for name, file in self.files.items():
            head = {**file.head, "status": "live", "reentry": "never"}
            self.files[name] = replace(file, head=head)
            self._restore(name)
        assert self.is_good()
        self.world.take_up()
        with self.world.database.transaction() as connection:
            for scope in (ALL, *map(cadence_scope, NAMES)):
                resume(connection, scope, now=self.world.clock())
            connection.execute(update(t.lead).values(hold_until=None, hold_reason=None))
        end = self.world.clock() + YEARS
        for _ in range(LONGEST):
            self.world.once()
            self.holds()
            moment = self._next()
            if moment is None or moment > end:
                break
            self.world.clock.move_to(moment + timedelta(seconds=1))
        left = [row for row in self.world.rows(t.enrollment)[0] if row.status in ("active", "paused")]
        assert left == [], "these never end"

    def _next(self) -> Any:
        enrollments, mail = self.world.rows(t.enrollment, t.message)
        due = [row.due_at for row in enrollments if row.status == "active" and row.due_at]
        due += [row.not_before for row in mail if row.status in ("queued", "deferred")]
        later = [each for each in due if each > self.world.clock()]
        return min(later, default=None)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_sent_twice_and_nobody_hangs(chunk: int, quarry: Quarry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.pipeline.deliver.AGAIN_S", 0.001)  # nobody else brings mail meanwhile
    seeds = range(FIRST_SEED + chunk, FIRST_SEED + RUNS, CHUNKS)
    kills = sum(played(seed, quarry) for seed in seeds)
    print(f"{len(seeds)} runs of {ACTIONS} actions, in which {kills} processes were killed")


def played(seed: int, quarry: Quarry) -> int:
    """How often it was killed."""
    run = Run(seed, quarry)
    try:
        for _ in range(ACTIONS):
            run.act()
        run.to_the_end()
    except BaseException:
        print("\n".join(run.told))
        raise
    return run.world.kills
