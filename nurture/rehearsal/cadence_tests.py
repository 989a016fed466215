"""One cadence test: a lead is enrolled, time jumps from one due moment to the next, and what the steps did is read.

The stages are the real ones, over a database of the test's own; this file moves the clock, plays what happens to the
lead through the doors of the store, and compares. It decides nothing that the daemon decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, func, select, update

from nurture.authoring.compile_tests import WALL, CadenceTest, GivenLead, Happening, Line
from nurture.authoring.test_file import STEP_EVENTS
from nurture.authoring.workspace import Workspace
from nurture.domain.enrollment import RUNNING, EnrollmentStatus
from nurture.domain.lifecycle import FitRule, Lifecycle
from nurture.domain.message import WAITING, MessageKind
from nurture.domain.problem import Problem
from nurture.domain.scoring import FIT_MOST, add_points, grade
from nurture.domain.stages import MoveKind
from nurture.domain.timing import from_local, zone_of
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.observed import what_was_done
from nurture.rehearsal.side_by_side import Row, side_by_side
from nurture.store import tables as t
from nurture.store.by_hand import change_lead, read_event
from nurture.store.cadences import current_cadences
from nurture.store.consents import NewConsent
from nurture.store.database import Database
from nurture.store.entries import Entrant, enter
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import LeadInput, save_lead
from nurture.store.stages import move_stage
from nurture.store.unsubscribes import unsubscribe

SOURCE = "cadence test"
MOST_LOOKS = 5_000
"""Moments at which a test looks, at most: a cadence that needs more never comes to rest."""
_FIT_POINTS = {"A": 30.0, "B": 20.0, "C": 10.0, "D": 0.0, "unknown": 0.0}
_SWEEP_EVERY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was expected, and what was done.

    `impossible` are happenings that could not be played (a click on mail that was never sent); they fail the test.
    `notes` tell what the lines can't: a message that could not be written, where the lead stood at the end.
    """

    name: str
    expected: tuple[Line, ...]
    done: tuple[Line, ...]
    impossible: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.impossible and all(row.same for row in self.rows)

    @property
    def rows(self) -> list[Row[Line]]:
        """Expected and done beside each other; a line that is as expected says no more than was asked of it."""
        rows = side_by_side(self.expected, self.done, meets)
        return [replace(row, actual=_told(row)) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a test plays: a database in which only its cadence is in force, and a clock that stands at its start.

    `look` does everything that is due at the clock's time.
    """

    cadence: str
    database: Database
    clock: VirtualClock
    zone: ZoneInfo
    lifecycle: Lifecycle
    look: Callable[[], Awaitable[object]]


def empty(database: Database) -> None:
    """Delete every row: a database that is new to a test, without the price of making one."""
    with database.transaction() as connection:
        for table in t.lead.metadata.sorted_tables:
            connection.execute(delete(table))


def scene_files(workspace: Workspace, cadence: str, lead: GivenLead) -> Workspace:
    """The workspace in which only this cadence runs, live whatever its status, and a fit that is given is the fit.

    Nothing is signed: keys are secrets, and a test needs none.
    """
    return replace(
        workspace,
        cadences={cadence: replace(workspace.cadences[cadence], status="live")},
        lifecycle=_lifecycle(workspace.lifecycle, lead),
        settings=workspace.settings.model_copy(update={"dkim": {}}),
    )


def lead_zone(workspace: Workspace, lead: GivenLead) -> ZoneInfo:
    """The zone in which the test's times are read."""
    get = lead.fields.get
    return zone_of(get("timezone") or None, get("country") or None, workspace.settings.workspace.timezone)


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    return from_local(wall.date(), wall.time(), zone)


async def run_test(test: CadenceTest, scene: Scene) -> Outcome:
    """Play the test to its end, and compare."""
    play = _Play(test, scene)
    await play.through()
    done, notes = play.observed()
    return Outcome(name=test.name, expected=test.expected, done=done, impossible=tuple(play.impossible), notes=notes)


def meets(expected: Line, actual: Line) -> bool:
    """Whether what was done is what was expected. What need not be said (a variant, when it ended) may be anything.

    A step that is no mail is known by its id as well as by what it does: `notify: sales` or `notify: tell-sales`.
    """
    named = expected.value in (actual.value, actual.step) if isinstance(expected.value, str) else False
    return (
        expected.kind == actual.kind
        and (named or expected.value == actual.value)
        and expected.at in (None, actual.at)
        and expected.variant in (None, actual.variant)
        and expected.subject in (None, actual.subject)
    )


def _told(row: Row[Line]) -> Line | None:
    if row.same or row.actual is None:
        return row.expected if row.same else None
    asked = row.expected is not None and row.expected.subject is not None
    return row.actual if asked else replace(row.actual, subject=None)


class _Play:
    """A test while it runs."""

    def __init__(self, test: CadenceTest, scene: Scene) -> None:
        self._test = test
        self._scene = scene
        self._start = moment_of(test.start, scene.zone)
        self._pending = sorted(
            ((self._moment(each), place, each) for place, each in enumerate(test.happenings)),
            key=lambda entry: entry[:2],
        )
        self._lead_id = 0
        self._enrollment_id = 0
        self.impossible: list[str] = []

    async def through(self) -> None:
        """From the start to the end: of the enrollment, or of the test's time."""
        self._begin()
        end = self._start + self._test.until
        moment: datetime | None = self._start
        for _ in range(MOST_LOOKS):
            if moment is None or moment > end:
                return
            self._scene.clock.move_to(moment)
            while self._pending and self._pending[0][0] <= moment:
                await self._happen(self._pending.pop(0)[2])
            await self._scene.look()
            moment = self._next(moment)
        raise Problem(f"'{self._test.name}' looks at {MOST_LOOKS} moments and comes to no rest: say 'until' sooner")

    def observed(self) -> tuple[tuple[Line, ...], tuple[str, ...]]:
        with self._scene.database.reading() as connection:
            return what_was_done(connection, self._enrollment_id, cadence=self._cadence, zone=self._scene.zone)

    def _moment(self, happening: Happening) -> datetime:
        at = happening.at
        return self._start + at if isinstance(at, timedelta) else moment_of(at, self._scene.zone)

    # --- the beginning

    def _begin(self) -> None:
        given, now = self._test.lead, self._start
        with self._scene.database.transaction() as connection:
            consent = NewConsent(text="given in a test", source=SOURCE) if given.consented else None
            brought = LeadInput(
                address=given.address, fields=given.fields, custom=given.custom, tags=given.tags, consent=consent
            )
            self._lead_id = save_lead(connection, brought, now=now).id
            self._give(connection, given, now)
            version, self._cadence = current_cadences(connection)[self._scene.cadence]
            entrant = Entrant(lead_id=self._lead_id, event_id=self._triggering(connection, now))
            made = enter(connection, [entrant], version=version, cadence=self._cadence, now=now, arm_key=None).made
            self._enrollment_id = made[0][0]

    def _give(self, connection: Connection, given: GivenLead, now: datetime) -> None:
        """What no door brings: a stage, moments, and points that fade from the start on."""
        move_stage(connection, self._lead_id, given.stage, kind=MoveKind.BY_HAND, because=SOURCE, now=now)
        values: dict[str, Any] = {name: moment_of(at, self._scene.zone) for name, at in given.moments.items()}
        points = given.engagement
        if given.score is not None:
            points = given.score - sum(rule.points for rule in self._scene.lifecycle.fit)
        if points:
            values["gains"] = add_points(None, points, now, self._scene.lifecycle.engagement.half_life)
        if values:
            connection.execute(update(t.lead).where(t.lead.c.id == self._lead_id).values(values))

    def _triggering(self, connection: Connection, now: datetime) -> int | None:
        """The event that starts the run, where the cadence has a trigger: the test's own at its start, or a new one."""
        trigger = self._cadence.trigger
        if trigger is None:
            return None
        there = next((each for each in self._pending if each[0] <= self._start and each[2].name == trigger.event), None)
        if there is not None:
            self._pending.remove(there)
        props = dict(self._test.trigger or {})
        happening = there[2] if there is not None else Happening(at=timedelta(0), kind="event", name=trigger.event)
        event = replace(happening, props={**happening.props, **props})
        return record_event(connection, self._named_event(event, now), now=now)

    # --- what happens to the lead

    async def _happen(self, happening: Happening) -> None:
        """Known before what is due at the same moment; a click on mail that is due now comes right after it."""
        message_id = None
        if happening.kind in STEP_EVENTS:
            message_id = await self._sent(happening.name)
            if message_id is None:
                at = self._scene.clock().astimezone(self._scene.zone)
                self.impossible.append(f"{happening.kind}: {happening.name} at {at:{WALL}}: not sent by then")
                return
        with self._scene.database.transaction() as connection:
            self._record(connection, happening, message_id)
            wake_enrollments(connection, [self._lead_id], now=self._scene.clock())

    async def _sent(self, step: str) -> int | None:
        """The last mail of this step that went out; what is due now goes first where there is none."""
        found = self._message(step)
        if found is None:
            await self._scene.look()
            found = self._message(step)
        return found

    def _record(self, connection: Connection, happening: Happening, message_id: int | None) -> None:
        now = self._scene.clock()
        if happening.kind == "set":
            change_lead(connection, self._test.lead.address.key, happening.changes, now=now)
        elif happening.kind == "unsubscribed":
            unsubscribe(connection, self._lead_id, message_id=None, source=SOURCE, now=now)
        else:
            new = self._step_event(happening, message_id, now) if message_id else self._named_event(happening, now)
            record_event(connection, new, now=now)

    def _step_event(self, happening: Happening, message_id: int, now: datetime) -> NewEvent:
        return NewEvent(
            lead_id=self._lead_id,
            kind=happening.kind,
            at=now,
            source=SOURCE,
            source_id=str(len(self._pending)),
            verdict=happening.verdict,
            message_id=message_id,
            enrollment_id=self._enrollment_id,
            cadence=self._scene.cadence,
            step=happening.name,
            link=happening.link if happening.link and "://" in happening.link else None,
            link_name=happening.link if happening.link and "://" not in happening.link else None,
            props={"class": happening.bounce_class} if happening.kind == "bounced" else {},
        )

    def _named_event(self, happening: Happening, now: datetime) -> NewEvent:
        said = [(name, str(value)) for name, value in happening.props.items() if value is not None]
        given = read_event(happening.name, at=None, value=happening.value, props=said, zone=UTC, now=now)
        places: dict[str, Any] = dict(given.places)
        return NewEvent(
            lead_id=self._lead_id,
            kind=given.name,
            at=now,
            source=SOURCE,
            source_id=str(len(self._pending)),
            verdict=happening.verdict,
            value=happening.value,
            props={name: happening.props[name] for name in given.props},
            **places,
        )

    def _message(self, step: str) -> int | None:
        m = t.message.c
        sent = select(m.id).where(m.enrollment_id == self._enrollment_id, m.step == step, m.sent_at.is_not(None))
        with self._scene.database.reading() as connection:
            found: int | None = connection.scalar(sent.order_by(m.id.desc()).limit(1))
        return found

    # --- time

    def _next(self, now: datetime) -> datetime | None:
        """The next moment at which anything can change for this lead; None once its run has ended."""
        e, m = t.enrollment.c, t.message.c
        running = [status.value for status in RUNNING]
        waiting = [status.value for status in WAITING]
        with self._scene.database.reading() as connection:
            if connection.scalar(select(e.status).where(e.id == self._enrollment_id)) not in running:
                return None
            due = connection.scalar(
                select(func.min(e.due_at)).where(e.status == EnrollmentStatus.ACTIVE.value, e.due_at > now)
            )
            sending = connection.scalar(
                select(func.min(m.not_before)).where(
                    m.kind == MessageKind.STEP.value, m.status.in_(waiting), m.not_before > now
                )
            )
            sweep = self._sweep(connection, now)
        happening = self._pending[0][0] if self._pending else None
        return min((each for each in (due, sending, sweep, happening) if each is not None), default=None)

    def _sweep(self, connection: Connection, now: datetime) -> datetime | None:
        """When a stage may be lost by time alone: the moment itself where it is known, else a look a day."""
        lead = t.lead.c
        row = connection.execute(select(lead.stage, lead.demote_since).where(lead.id == self._lead_id)).one()
        rule = next((each for each in self._scene.lifecycle.stages if each.stage == row.stage), None)
        if rule is None or rule.demote_when is None:
            return None
        known = row.demote_since + rule.demote_after if row.demote_since is not None else now
        return known if known > now else now + _SWEEP_EVERY


def _lifecycle(lifecycle: Lifecycle, lead: GivenLead) -> Lifecycle:
    """The rules, but for a fit that is given: then one rule gives its points. Raises Problem where none can."""
    if lead.fit is None and lead.score is None:
        return lifecycle
    points = _FIT_POINTS[lead.fit or "unknown"]
    if lead.score is not None:
        points = max(points, lead.score - lifecycle.engagement.cap)
        if points > FIT_MOST or (lead.fit is not None and grade(points, lead.fit != "unknown") != lead.fit):
            with_fit = f" with the fit '{lead.fit}'" if lead.fit is not None else ""
            most = f"fit gives at most {FIT_MOST:g}, engagement {lifecycle.engagement.cap:g}"
            raise Problem(f"no lead has a score of {lead.score:g}{with_fit}: {most}")
    known = points > 0 or lead.fit not in (None, "unknown")
    return replace(lifecycle, fit=(FitRule(when="true", points=points),) if known else ())
