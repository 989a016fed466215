"""What happens next to one enrollment: facts in, a decision out. Nothing here acts.

`advance` asks once a step: it gathers the facts of a whole group (set-wise), calls `decide` for each, and writes what
the decisions say. A decision is data, so a simulation, a cadence test and the daemon share every line of this file.

    look at an enrollment
      │ an exit holds (suppressed, goal, reply, …)            -> Leave
      │ the message of this step is under way                 -> Await
      │ `when:` is false                                      -> GoOn (skipped_when)
      │ wait, wait_until, wait_for, a task waited for: not over -> Later
      │ sales holds the lead, and the step is no wait         -> Later
      │ wait_until: its field holds no date                   -> Leave (missing_date)
      │ if: the first arm that holds                          -> GoOn (branched)
      │ split                                                 -> Choose, and on
      │ notify, task, promote, set, tag, enroll, webhook      -> Act, and on
      │ email: expired, held (by sales, in a backlog), late, out of window, capped     -> Later or GoOn (skipped_…)
      └ email: nothing in the way                             -> Send
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from nurture.domain.cadence import (
    ANY_TIME,
    JUST_ASKED,
    Action,
    Branch,
    Cadence,
    ConditionText,
    DateField,
    Email,
    EnrollIn,
    Exit,
    FrequencyCap,
    Goto,
    Notify,
    Promote,
    SetFields,
    Shift,
    Span,
    Split,
    Step,
    StepKey,
    Sunset,
    Tag,
    Task,
    Untag,
    Wait,
    WaitFor,
    WaitUntil,
    Webhook,
    Window,
)
from nurture.domain.enrollment import ExitReason
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason
from nurture.domain.spans import say_span
from nurture.domain.task import OPEN
from nurture.domain.timing import caps_free_at, days_off, end_of_wait, moment_of, next_opening, next_weekday_time, shift


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything a decision depends on. Times are aware UTC.

    `since_at`: when the step before was done (really sent, or skipped). `floor_at`: until when something other than
    the cadence held this step (a pause, a sales hold, a cap), from which lateness counts; a wait that was over
    meanwhile is done then. `holds`: the conditions of this step, the goal and the exit that are true now. `sends`: this
    lead's marketing sends within the longest cap.
    """

    cadence: Cadence
    step: StepKey | None
    now: datetime
    enrolled_at: datetime
    since_at: datetime
    floor_at: datetime | None = None
    zone: ZoneInfo
    workspace_zone: ZoneInfo
    is_holiday: Callable[[date], bool]
    holds: frozenset[ConditionText] = frozenset()
    forced_exit: ExitReason | None = None
    stage: str = "lead"
    message: MessageStatus | None = None
    message_step: StepKey | None = None
    """Whose message it is: an edit may have moved the enrollment on while it was under way."""
    held_until: datetime | None = None
    held_by: str | None = None
    is_paused: bool = False
    """By hand: this cadence, or all of them."""
    backlog_until: datetime | None = None
    """After a long stop: mail that could have gone before then waits for a person."""
    is_triggered: bool = False
    """An event began this run."""
    is_behind: bool = False
    """Another cadence goes first: only what the lead asked for is not kept waiting by it."""
    dates: Mapping[DateField, datetime] = field(default_factory=dict)
    """What the date fields of this step hold, in UTC; one without a date that can be read is absent."""
    task: str | None = None
    """The status of this step's task; None while it is not given."""
    caps: Sequence[FrequencyCap] = ()
    sends: Sequence[datetime] = ()


@dataclass(frozen=True, kw_only=True)
class Leave:
    """The enrollment ends here."""

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Complete:
    """The last step is done."""


@dataclass(frozen=True, kw_only=True)
class Later:
    """Look again at `until`; `floor_at` moves lateness along where not the lead's cadence but we stood in the way."""

    until: datetime
    code: Reason
    detail: Mapping[str, Any] = field(default_factory=dict)
    floor_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Await:
    """The step's message is under way; its outcome wakes the enrollment."""


@dataclass(frozen=True, kw_only=True)
class GoOn:
    """The step is done (or skipped). `since_at` is the moment that the next wait counts from."""

    next: StepKey | None
    since_at: datetime
    code: Reason | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    revisits: bool = False
    """A jump back: steps ahead that have sent may send again."""


@dataclass(frozen=True, kw_only=True)
class Send:
    step: Email


@dataclass(frozen=True, kw_only=True)
class Choose:
    """A path by the lead's lot, which is drawn once and stored, and then on along it."""

    step: Split
    since_at: datetime


@dataclass(frozen=True, kw_only=True)
class Act:
    """An effect that is done at once, and then on; after a sunset the enrollment ends, and a task may be waited for."""

    step: Action | Sunset
    since_at: datetime


Decision = Leave | Complete | Later | Await | GoOn | Send | Choose | Act

STILL_PAUSED = timedelta(minutes=15)
"""How soon to look again where a cadence's own status lets nobody move; taking up a change of it looks at once."""
_DONE = frozenset(
    {
        MessageStatus.SENT,
        MessageStatus.BOUNCED,
        MessageStatus.FAILED,
        MessageStatus.CANCELED,
        MessageStatus.UNKNOWN,
    }
)
_WITHOUT_CONSENT = (ExitReason.UNSUBSCRIBED, ExitReason.CONSENT_EXPIRED, ExitReason.SUPPRESSED)
_FINAL_STAGES = frozenset({"customer", "disqualified"})
A_MOMENT = timedelta(minutes=1)
"""A look that comes no later than this is in time, so that waits don't drift by the seconds between two looks."""
TASK_WAITS = Span(amount=14, unit="days")
"""How long a task is waited for where `up_to` does not say."""


def conditions_of(cadence: Cadence, step: Step | None) -> tuple[list[ConditionText], list[ConditionText]]:
    """What must be asked before `decide`: conditions read ever, and those that count from the enrollment on."""
    ever: list[ConditionText] = []
    since_enrollment = [each for each in (cadence.goal, cadence.exit) if each is not None]
    if cadence.exit_on_leave and cadence.segment is not None:
        ever.append(cadence.segment)
    if step is not None and step.when is not None:
        ever.append(step.when)
    if isinstance(step, Branch):
        ever.extend(arm.condition for arm in step.arms)
    if isinstance(step, WaitFor):
        since_enrollment.append(step.condition)
    return ever, since_enrollment


def date_fields_of(step: Step | None) -> frozenset[DateField]:
    """Which date fields `decide` looks at for this step."""
    if isinstance(step, WaitUntil) and step.field is not None:
        return frozenset({step.field})
    if isinstance(step, Email) and step.expires is not None:
        return frozenset({step.expires.field})
    return frozenset()


def exit_of(facts: Facts) -> ExitReason | None:
    """The exit that holds now, if any: they act at once, also while a step waits."""
    cadence = facts.cadence
    if facts.forced_exit is not None and facts.forced_exit is not ExitReason.REPLIED:
        return None if facts.forced_exit in _WITHOUT_CONSENT and _just_asked(facts) else facts.forced_exit
    if cadence.goal is not None and cadence.goal in facts.holds:
        return ExitReason.GOAL
    if facts.forced_exit is not None:
        return facts.forced_exit
    if not cadence.customers and facts.stage in _FINAL_STAGES:
        return ExitReason.STAGE
    if cadence.exit_on_leave and cadence.segment is not None and cadence.segment not in facts.holds:
        return ExitReason.LEFT_SEGMENT
    if cadence.exit is not None and cadence.exit in facts.holds:
        return ExitReason.CONDITION
    deadline = goal_deadline(facts)
    return ExitReason.GOAL_EXPIRED if deadline is not None and facts.now >= deadline else None


def _just_asked(facts: Facts) -> bool:
    """Whether the lead itself began this run, and the step is what it asked for."""
    step = facts.cadence.steps.get(facts.step) if facts.step is not None else None
    return facts.is_triggered and isinstance(step, Email) and step.transactional in JUST_ASKED


def leave(reason: ExitReason, facts: Facts) -> Leave:
    """The decision to end by this exit."""
    return Leave(reason=reason.value, detail={"stage": facts.stage} if reason is ExitReason.STAGE else {})


def goal_deadline(facts: Facts) -> datetime | None:
    """When the time to reach the goal is over, if the cadence sets one."""
    within = facts.cadence.goal_within
    if within is None:
        return None
    return end_of_wait(within, facts.enrolled_at, zone=facts.zone, is_holiday=_business(facts))


def decide(facts: Facts) -> Decision:
    """The decision for this enrollment at this step, now."""
    reason = exit_of(facts)
    if reason is not None:
        return leave(reason, facts)
    if facts.is_paused or facts.cadence.status in ("draft", "paused"):
        return Later(until=facts.now + STILL_PAUSED, code=Reason.PAUSED, floor_at=facts.now + STILL_PAUSED)
    step = facts.cadence.steps.get(facts.step) if facts.step is not None else None
    if facts.message is not None:
        return _after_message(step, facts)
    if step is None:
        return Complete()
    if facts.is_behind and not goes_beside(step, facts.cadence):
        return Later(until=facts.now, code=Reason.PAUSED)
    if not _passes_a_hold(step) and facts.held_until is not None and facts.held_until > facts.now:
        return Later(until=facts.held_until, code=Reason.HELD, detail={"why": facts.held_by}, floor_at=facts.held_until)
    if step.when is not None and step.when not in facts.holds:
        onward = step.after if isinstance(step, Branch) else step.next
        return GoOn(next=onward, since_at=facts.now, code=Reason.SKIPPED_WHEN, detail={"condition": step.when})
    return _decide_step(step, facts)


def _passes_a_hold(step: Step) -> bool:
    """Waits go on by the clock, and what the lead asked for goes out, also while sales holds the lead."""
    if isinstance(step, Email):
        return step.transactional is not None
    return isinstance(step, Wait | WaitUntil | WaitFor | Goto)


def goes_beside(step: Step | None, cadence: Cadence) -> bool:
    """Whether the step waits for no other cadence: transactional mail, and the waits that lead to it."""
    seen: set[StepKey] = set()
    while isinstance(step, Wait | WaitUntil | WaitFor | Goto) and step.key not in seen:
        seen.add(step.key)
        onward = step.to if isinstance(step, Goto) else step.next
        step = cadence.steps.get(onward) if onward is not None else None
    return isinstance(step, Email) and step.transactional is not None


def _decide_step(step: Step, facts: Facts) -> Decision:
    match step:
        case Email():
            return _email(step, facts)
        case Wait():
            return _wait(step, facts)
        case WaitUntil():
            return _wait_until(step, facts)
        case WaitFor():
            return _wait_for(step, facts)
        case Branch():
            return _branch(step, facts)
        case Split():
            return Choose(step=step, since_at=_done_at(facts.since_at, facts))
        case Goto():
            return GoOn(next=step.to, since_at=_done_at(facts.since_at, facts), revisits=step.back)
        case Exit():
            return Leave(reason=step.reason)
        case Task() if facts.task is not None:
            return _after_task(step, facts)
        case Notify() | Task() | Promote() | SetFields() | Tag() | Untag() | EnrollIn() | Webhook() | Sunset():
            return Act(step=step, since_at=_really_done_at(facts))


def _after_message(step: Step | None, facts: Facts) -> Decision:
    if facts.message not in _DONE:
        return Await()
    if step is None or facts.message_step not in (None, step.key):
        # the message's own step was edited away: the enrollment stands where it was moved to
        return GoOn(next=step.key if step is not None else None, since_at=facts.since_at)
    return GoOn(next=step.next, since_at=facts.since_at)


def _wait(step: Wait, facts: Facts) -> Decision:
    until = _end_of(step.span, facts)
    if facts.now >= until:
        return GoOn(next=step.next, since_at=_done_at(until, facts))
    return Later(until=until, code=Reason.WAITING, detail={"span": say_span(step.span)})


def _wait_until(step: WaitUntil, facts: Facts) -> Decision:
    """A moment that has passed is gone on from at once, and what comes is late from then on."""
    moment = _awaited_moment(step, facts)
    if moment is None:
        return Leave(reason=ExitReason.MISSING_DATE.value, detail={"field": step.field})
    until = _shifted(moment, step.offset, facts)
    if facts.now >= until:
        return GoOn(next=step.next, since_at=_done_at(until, facts))
    return Later(until=until, code=Reason.WAITING, detail={"span": step.field or step.moment or step.weekday})


def _done_at(until: datetime, facts: Facts) -> datetime:
    """When a wait that was over by `until` is done: what kept the enrollment from moving on then counts with it."""
    if facts.floor_at is None or facts.floor_at <= facts.since_at:
        return until
    return max(until, min(facts.floor_at, facts.now))


def _really_done_at(facts: Facts) -> datetime:
    """What is done now was done when it could first be, unless nobody looked for longer than a moment."""
    due = _done_at(facts.since_at, facts)
    return due if facts.now - due <= A_MOMENT else facts.now


def _awaited_moment(step: WaitUntil, facts: Facts) -> datetime | None:
    if step.field is not None:
        return facts.dates.get(step.field)
    if step.moment is not None:
        return moment_of(step.moment, facts.zone)
    return next_weekday_time(step.weekday or "", facts.since_at, facts.zone)


def _after_task(step: Task, facts: Facts) -> Decision:
    """A task that is waited for: until somebody closes it, or time is up."""
    if facts.task != OPEN:
        detail = {"arm": facts.task, "condition": f"task {step.key}"}
        return GoOn(next=step.next, since_at=facts.now, code=Reason.BRANCHED, detail=detail)
    until = _end_of(step.up_to or TASK_WAITS, facts)
    if facts.now >= until:
        detail = {"arm": "time is up", "condition": f"task {step.key}"}
        return GoOn(next=step.next, since_at=_done_at(until, facts), code=Reason.BRANCHED, detail=detail)
    return Later(until=until, code=Reason.WAITING, detail={"for": f"task {step.key}"})


def _wait_for(step: WaitFor, facts: Facts) -> Decision:
    if step.condition in facts.holds:
        return GoOn(
            next=step.next, since_at=facts.now, code=Reason.BRANCHED, detail={"arm": "met", "condition": step.condition}
        )
    until = _end_of(step.up_to, facts)
    if facts.now >= until:
        detail = {"arm": "time is up", "condition": step.condition}
        return GoOn(next=step.next, since_at=_done_at(until, facts), code=Reason.BRANCHED, detail=detail)
    return Later(until=until, code=Reason.WAITING, detail={"for": step.condition})


def _branch(step: Branch, facts: Facts) -> Decision:
    for place, arm in enumerate(step.arms):
        if arm.condition in facts.holds:
            name = "then" if place == 0 else f"elif {place}"
            detail = {"arm": name, "condition": arm.condition}
            return GoOn(next=arm.next, since_at=_done_at(facts.since_at, facts), code=Reason.BRANCHED, detail=detail)
    detail = {"arm": "else", "condition": step.arms[0].condition}
    return GoOn(next=step.next, since_at=_done_at(facts.since_at, facts), code=Reason.BRANCHED, detail=detail)


def _email(step: Email, facts: Facts) -> Decision:
    expires_at = _expiry(step, facts)
    if expires_at is not None and facts.now >= expires_at:
        return _expired(step, expires_at, facts)
    asked_for = step.transactional is not None
    window = ANY_TIME if asked_for else step.window or facts.cadence.window
    first_chance = opening(window, _latest(facts.since_at, facts.floor_at), facts)
    if facts.backlog_until is not None and first_chance is not None and first_chance < facts.backlog_until:
        return Later(until=facts.now + STILL_PAUSED, code=Reason.HELD, detail={"why": "the backlog of a long stop"})
    max_late = step.max_late if step.max_late is not None else facts.cadence.max_late
    if first_chance is not None and facts.now - first_chance > max_late:
        late_by = facts.now - first_chance
        return GoOn(
            next=step.next, since_at=facts.now, code=Reason.SKIPPED_LATE, detail={"late_by": _say_duration(late_by)}
        )
    if asked_for:
        return Send(step=step)
    return _when_it_may_go(step, window, expires_at, facts)


def _expiry(step: Email, facts: Facts) -> datetime | None:
    """From when on the message is of no use; None where its field holds no date."""
    moment = facts.dates.get(step.expires.field) if step.expires is not None else None
    return None if moment is None or step.expires is None else _shifted(moment, step.expires.offset, facts)


def _expired(step: Email, expires_at: datetime, facts: Facts) -> GoOn:
    detail = {"expired_at": expires_at.isoformat()}
    return GoOn(next=step.next, since_at=facts.now, code=Reason.SKIPPED_EXPIRED, detail=detail)


def _when_it_may_go(step: Email, window: Window, expires_at: datetime | None, facts: Facts) -> Decision:
    opens = opening(window, facts.now, facts)
    if opens is None:
        return GoOn(next=step.next, since_at=facts.now, code=Reason.SKIPPED_LATE, detail={"late_by": "ever"})
    if expires_at is not None and opens >= expires_at:
        return _expired(step, expires_at, facts)
    if opens > facts.now:
        return Later(until=opens, code=Reason.OUT_OF_WINDOW, floor_at=facts.floor_at)
    free_at, cap = caps_free_at(facts.caps, facts.sends, facts.now)
    if cap is not None and free_at > facts.now:
        return Later(until=free_at, code=Reason.CAPPED, detail={"cap": _say_cap(cap)}, floor_at=free_at)
    return Send(step=step)


def opening(window: Window, moment: datetime, facts: Facts) -> datetime | None:
    """The first moment from `moment` on at which this window lets mail out."""
    if window is ANY_TIME or window.any_time:
        return moment
    zone = window_zone(window, lead=facts.zone, workspace=facts.workspace_zone)
    return next_opening(window, moment, zone=zone, is_holiday=facts.is_holiday)


def window_zone(window: Window, *, lead: ZoneInfo, workspace: ZoneInfo) -> ZoneInfo:
    """The zone in which a window's days and hours are read."""
    if window.timezone == "lead":
        return lead
    return workspace if window.timezone == "workspace" else ZoneInfo(window.timezone)


def _end_of(span: Span, facts: Facts) -> datetime:
    return end_of_wait(span, facts.since_at, zone=facts.zone, is_holiday=_business(facts))


def _shifted(moment: datetime, by: Shift, facts: Facts) -> datetime:
    return shift(moment, by, zone=facts.zone, is_holiday=_business(facts))


def _business(facts: Facts) -> Callable[[date], bool]:
    return days_off(facts.cadence.window, facts.is_holiday)


def _latest(first: datetime, second: datetime | None) -> datetime:
    return first if second is None or second < first else second


def _say_cap(cap: FrequencyCap) -> str:
    return f"{cap.count} per {_say_duration(cap.within)}"


def _say_duration(length: timedelta) -> str:
    hours = round(length.total_seconds() / 3600)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return "1 hour" if hours == 1 else f"{hours} hours"
