"""What happens next to one enrollment: facts in, a decision out. Nothing here acts.

`advance` asks once a step: it gathers the facts of a whole group (set-wise), calls `decide` for each, and writes what
the decisions say. A decision is data, so a simulation, a cadence test and the daemon share every line of this file.

    look at an enrollment
      │ an exit holds (suppressed, goal, reply, …)            -> Exit
      │ the message of this step is under way                 -> Await
      │ `when:` is false                                      -> GoOn (skipped_when)
      │ wait, wait_for: not over                              -> Wait
      │ if: the first arm that holds                          -> GoOn (branched)
      │ notify, promote, tag, untag                           -> Act, and on
      │ email: held, too late, out of window, over a cap      -> Wait or GoOn (skipped_late)
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
    Branch,
    Cadence,
    ConditionText,
    Email,
    Exit,
    FrequencyCap,
    Notify,
    Promote,
    Step,
    StepKey,
    Tag,
    Untag,
    Wait,
    WaitFor,
    Window,
)
from nurture.domain.enrollment import ExitReason
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason
from nurture.domain.spans import say_span
from nurture.domain.timing import caps_free_at, end_of_wait, next_opening


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything a decision depends on. Times are aware UTC.

    `since_at`: when the step before was done (really sent, or skipped). `floor_at`: until when something other than
    the cadence held the enrollment (a pause, a sales hold, a cap), from which lateness counts. `holds`: the conditions
    of this step, the goal and the exit that are true now. `sends`: this lead's marketing sends within the longest cap.
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
    caps: Sequence[FrequencyCap] = ()
    sends: Sequence[datetime] = ()


@dataclass(frozen=True, kw_only=True)
class Leave:
    """The enrollment ends here."""

    reason: str


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


@dataclass(frozen=True, kw_only=True)
class Send:
    step: Email


@dataclass(frozen=True, kw_only=True)
class Act:
    """An effect that is done at once, and then on to `next`."""

    step: Notify | Promote | Tag | Untag


Decision = Leave | Complete | Later | Await | GoOn | Send | Act

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
_FINAL_STAGES = {"customer": ExitReason.CUSTOMER, "disqualified": ExitReason.DISQUALIFIED}


def conditions_of(cadence: Cadence, step: Step | None) -> tuple[list[ConditionText], list[ConditionText]]:
    """What must be asked before `decide`: conditions read ever, and those that count from the enrollment on."""
    ever: list[ConditionText] = []
    since_enrollment = [each for each in (cadence.goal, cadence.exit) if each is not None]
    if step is not None and step.when is not None:
        ever.append(step.when)
    if isinstance(step, Branch):
        ever.extend(arm.condition for arm in step.arms)
    if isinstance(step, WaitFor):
        since_enrollment.append(step.condition)
    return ever, since_enrollment


def exit_of(facts: Facts) -> ExitReason | None:
    """The exit that holds now, if any: they act at once, also while a step waits."""
    cadence = facts.cadence
    if facts.forced_exit is not None and facts.forced_exit is not ExitReason.REPLIED:
        return facts.forced_exit
    if cadence.goal is not None and cadence.goal in facts.holds:
        return ExitReason.GOAL
    if facts.forced_exit is not None:
        return facts.forced_exit
    if not cadence.customers and facts.stage in _FINAL_STAGES:
        return _FINAL_STAGES[facts.stage]
    if cadence.exit is not None and cadence.exit in facts.holds:
        return ExitReason.CONDITION
    deadline = goal_deadline(facts)
    return ExitReason.GOAL_EXPIRED if deadline is not None and facts.now >= deadline else None


def goal_deadline(facts: Facts) -> datetime | None:
    """When the time to reach the goal is over, if the cadence sets one."""
    within = facts.cadence.goal_within
    if within is None:
        return None
    return end_of_wait(within, facts.enrolled_at, zone=facts.zone, is_holiday=_business(facts, facts.cadence.window))


def decide(facts: Facts) -> Decision:
    """The decision for this enrollment at this step, now."""
    reason = exit_of(facts)
    if reason is not None:
        return Leave(reason=reason.value)
    if facts.cadence.status in ("draft", "paused"):
        return Later(until=facts.now + STILL_PAUSED, code=Reason.PAUSED, floor_at=facts.now + STILL_PAUSED)
    step = facts.cadence.steps.get(facts.step) if facts.step is not None else None
    if facts.message is not None:
        return _after_message(step, facts)
    if step is None:
        return Complete()
    if step.when is not None and step.when not in facts.holds:
        onward = step.after if isinstance(step, Branch) else step.next
        return GoOn(next=onward, since_at=facts.now, code=Reason.SKIPPED_WHEN, detail={"condition": step.when})
    return _decide_step(step, facts)


def _decide_step(step: Step, facts: Facts) -> Decision:
    match step:
        case Email():
            return _email(step, facts)
        case Wait():
            return _wait(step, facts)
        case WaitFor():
            return _wait_for(step, facts)
        case Branch():
            return _branch(step, facts)
        case Exit():
            return Leave(reason=step.reason)
        case Notify() | Promote() | Tag() | Untag():
            return Act(step=step)


def _after_message(step: Step | None, facts: Facts) -> Decision:
    if facts.message not in _DONE:
        return Await()
    if step is None or facts.message_step not in (None, step.key):
        # the message's own step was edited away: the enrollment stands where it was moved to
        return GoOn(next=step.key if step is not None else None, since_at=facts.since_at)
    return GoOn(next=step.next, since_at=facts.since_at)


def _wait(step: Wait, facts: Facts) -> Decision:
    until = end_of_wait(step.span, facts.since_at, zone=facts.zone, is_holiday=_business(facts, facts.cadence.window))
    if facts.now >= until:
        return GoOn(next=step.next, since_at=until)
    return Later(until=until, code=Reason.WAITING, detail={"span": say_span(step.span)})


def _wait_for(step: WaitFor, facts: Facts) -> Decision:
    if step.condition in facts.holds:
        return GoOn(
            next=step.next, since_at=facts.now, code=Reason.BRANCHED, detail={"arm": "met", "condition": step.condition}
        )
    until = end_of_wait(step.up_to, facts.since_at, zone=facts.zone, is_holiday=_business(facts, facts.cadence.window))
    if facts.now >= until:
        detail = {"arm": "time is up", "condition": step.condition}
        return GoOn(next=step.next, since_at=until, code=Reason.BRANCHED, detail=detail)
    return Later(until=until, code=Reason.WAITING, detail={"for": step.condition})


def _branch(step: Branch, facts: Facts) -> Decision:
    for place, arm in enumerate(step.arms):
        if arm.condition in facts.holds:
            name = "then" if place == 0 else f"elif {place}"
            detail = {"arm": name, "condition": arm.condition}
            return GoOn(next=arm.next, since_at=facts.since_at, code=Reason.BRANCHED, detail=detail)
    detail = {"arm": "else", "condition": step.arms[0].condition}
    return GoOn(next=step.next, since_at=facts.since_at, code=Reason.BRANCHED, detail=detail)


def _email(step: Email, facts: Facts) -> Decision:
    if step.transactional is not None:
        return Send(step=step)
    window = step.window or facts.cadence.window
    if facts.held_until is not None and facts.held_until > facts.now:
        return Later(
            until=facts.held_until,
            code=Reason.HELD,
            detail={"why": facts.held_by},
            floor_at=facts.held_until,
        )
    first_chance = opening(window, _latest(facts.since_at, facts.floor_at), facts)
    max_late = step.max_late if step.max_late is not None else facts.cadence.max_late
    if first_chance is not None and facts.now - first_chance > max_late:
        late_by = facts.now - first_chance
        return GoOn(
            next=step.next, since_at=facts.now, code=Reason.SKIPPED_LATE, detail={"late_by": _say_duration(late_by)}
        )
    return _when_it_may_go(step, window, facts)


def _when_it_may_go(step: Email, window: Window, facts: Facts) -> Decision:
    opens = opening(window, facts.now, facts)
    if opens is None:
        return GoOn(next=step.next, since_at=facts.now, code=Reason.SKIPPED_LATE, detail={"late_by": "ever"})
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


def _business(facts: Facts, window: Window) -> Callable[[date], bool]:
    return facts.is_holiday if window.holidays == "lead" else _never


def _never(_: date) -> bool:
    return False


def _latest(first: datetime, second: datetime | None) -> datetime:
    return first if second is None or second < first else second


def _say_cap(cap: FrequencyCap) -> str:
    return f"{cap.count} per {_say_duration(cap.within)}"


def _say_duration(length: timedelta) -> str:
    hours = round(length.total_seconds() / 3600)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return "1 hour" if hours == 1 else f"{hours} hours"
