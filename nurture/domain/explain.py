"""Decisions in plain words: one sentence for each reason code, and for what a lead did.

A sentence names values of the decision's detail in braces; a part in brackets is left out where its value is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from nurture.domain.cadence import (
    Branch,
    Cadence,
    Email,
    EnrollIn,
    Exit,
    Goto,
    Notify,
    Promote,
    SetFields,
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
)
from nurture.domain.event import EventName
from nurture.domain.reasons import Reason
from nurture.domain.spans import say_span

SENTENCES: Mapping[Reason, str] = {
    Reason.ENROLLED: "entered the cadence",
    Reason.QUEUED: "the mail was made ready[, variant {variant}]",
    Reason.SENT: "the mail was sent[, variant {variant}][: “{subject}”]",
    Reason.DEFERRED: "the other server asked to try again later[: {reply}][; next try {until}]",
    Reason.BOUNCED: "the address does not take mail[: {reply}]",
    Reason.FAILED: "the mail was not sent[: {why}]",
    Reason.CANCELED: "the mail was called off[: {why}]",
    Reason.UNKNOWN: "the link broke at the last moment: the mail may have arrived, so only a person may send it again",
    Reason.WAITING: "waits[ {span}][ for {for}][, until {until}]",
    Reason.OUT_OF_WINDOW: "outside of its sending hours[; they begin {until}]",
    Reason.CAPPED: "has had enough mail for now[ ({cap})][; free again {until}]",
    Reason.LIMITED: "a limit of the sender or the receiving domain is used up[ ({limit})][; free again {until}]",
    Reason.PAUSED: "paused[ while {by} runs, which goes first][: {why}][, until {until}]",
    Reason.HELD: "marketing is held[: {why}][, until {until}]",
    Reason.SKIPPED_LATE: "left out, because it would have come too late[, by {late_by}]",
    Reason.SKIPPED_EXPIRED: "left out, because its time is over[: {expired_at}]",
    Reason.SKIPPED_WHEN: "left out, because this is not so[: {condition}]",
    Reason.BRANCHED: "chose its path[: {arm}][, having asked: {condition}]",
    Reason.EXITED: "left the cadence[: {reason}][, {stage}][, no date in {field}]",
    Reason.COMPLETED: "reached the end of the cadence",
    Reason.HELD_OUT: "kept out of the cadence, to measure what it brings",
    Reason.VARIANT: "drew its variant[: {arm}][ at odds of {odds}]",
    Reason.PROMOTED: "moved up[ from {before}][ to {after}][, because {because}]",
    Reason.DEMOTED: "moved down[ from {before}][ to {after}][, because {because}]",
    Reason.ALERTED: "[{rep} was alerted][: {rule}][ ({reason})]",
    Reason.SET: "[{fields}] set",
    Reason.TASKED: "a task was given[ to {to}][: {task}][, due {due}]",
    Reason.TASK_CLOSED: "[{by} closed ]the task[: {outcome}][ ({task})]",
    Reason.POSTED: "posted[ to {channel}]",
    Reason.ENROLLED_IN: "entered[ {cadence}][; no: {why}]",
    Reason.RESUMED: "goes on[: {why}]",
    Reason.TAGGED: "[tagged {tag}][no longer tagged {untag}]",
    Reason.NOTIFIED: "[{to} was told][: {message}]",
}

DID: Mapping[str, str] = {
    EventName.CLICKED: "clicked[ {link}]",
    EventName.REPLIED: "replied",
    EventName.AUTO_REPLIED: "an automatic reply came",
    EventName.BOUNCED: "a notice came that the mail could not be delivered",
    EventName.COMPLAINED: "reported the mail as spam",
    EventName.UNSUBSCRIBED: "unsubscribed",
    EventName.FORM_SUBMITTED: "sent the form[ {form}]",
    EventName.PAGE_VIEWED: "looked at[ {path}]",
    EventName.DEAL_WON: "bought[, for {value}][ {currency}]",
}
"""Events with a sentence of their own; any other is told by its name."""

ROUNDING = 0.05
"""Below this the last line of a ledger can only come from rounding each line to two digits."""

_PART = re.compile(r"\[([^\[\]]*)\]")
_NAME = re.compile(r"\{(\w+)\}")
_MOMENTS = frozenset({"until", "expired_at", "due"})


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One line of the ledger; the lines of a lead add up to its score."""

    at: datetime
    points: float
    reason: str


def say_decision(code: str, detail: Mapping[str, Any], *, zone: tzinfo) -> str:
    """The decision's sentence; a code from another version of nurture is told as it stands."""
    try:
        sentence = SENTENCES[Reason(code)]
    except ValueError:
        return code
    return _fill(sentence, detail, zone) or code


def say_event(kind: str, detail: Mapping[str, Any], *, zone: tzinfo) -> str:
    """What a lead did."""
    return _fill(DID[kind], detail, zone) if kind in DID else kind


def say_moment(moment: datetime, zone: tzinfo) -> str:
    """'Thu 2026-11-05 09:00 CET'."""
    return f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"


def say_step(step: Step) -> str:
    """What a step does, as the thing to come: 'the mail case', 'a move to mql (if score >= 50)'."""
    return _deed(step) + (f" (if {step.when})" if step.when is not None else "")


def _deed(step: Step) -> str:
    match step:
        case Email():
            return f"the mail “{step.key}”"
        case Wait():
            return f"a wait of {say_span(step.span)}"
        case WaitUntil():
            return f"a wait until {step.field or step.moment or step.weekday}"
        case WaitFor():
            return f"a wait of up to {say_span(step.up_to)} for {step.condition}"
        case Branch():
            return f"a choice of paths by {step.arms[0].condition}"
        case Split():
            return f"one of the paths {', '.join(step.paths)}"
        case Goto():
            return f"a jump to {step.to}"
        case Task():
            return f"a task for {step.to}: {step.text}"
        case SetFields():
            return f"a change of {', '.join(step.fields)}"
        case EnrollIn():
            return f"the cadence {step.cadence}"
        case Webhook():
            return f"a post to {step.channel}"
        case Sunset():
            return f"the end of all mail ({step.reason})"
        case Notify():
            return f"a word to {step.to}"
        case Promote():
            return f"a move to {step.stage}"
        case Tag():
            return f"the tag {step.tag}"
        case Untag():
            return f"the loss of the tag {step.tag}"
        case Exit():
            return f"the exit {step.reason}"


def coming_step(cadence: Cadence, key: StepKey | None) -> Step | None:
    """The step to come: where the enrollment stands, or what follows the wait it stands in; None is the end."""
    step = cadence.steps.get(key) if key is not None else None
    if isinstance(step, Wait | WaitUntil | WaitFor | Goto):
        onward = step.to if isinstance(step, Goto) else step.next
        return cadence.steps.get(onward) if onward is not None else None
    return step


def score_lines(
    ledger: list[ScoreLine], *, engagement: list[ScoreLine], score: float, decayed: float, now: datetime
) -> list[ScoreLine]:
    """The ledger with what time and bounds did to it, so that the lines add up to `score`, to the cent.

    `ledger` are all booked lines, `engagement` those of them that fade; `decayed` is what these are worth now, before
    bounds act.
    """
    lines = [ScoreLine(at=each.at, points=round(each.points, 2), reason=each.reason) for each in ledger]
    faded = round(decayed - sum(each.points for each in engagement), 2)
    if faded:
        lines.append(ScoreLine(at=now, points=faded, reason="faded since (engagement halves with time)"))
    bound = round(round(score, 2) - sum(each.points for each in lines), 2)
    if bound:
        reason = "rounding" if abs(bound) < ROUNDING else "bound (fit and engagement have a least and a most)"
        lines.append(ScoreLine(at=now, points=bound, reason=reason))
    return lines


def _fill(sentence: str, detail: Mapping[str, Any], zone: tzinfo) -> str:
    known = {name: _say(name, value, zone) for name, value in detail.items() if value not in (None, "", {}, [])}

    def part(match: re.Match[str]) -> str:
        names = _NAME.findall(match[1])
        return match[1] if all(name in known for name in names) else ""

    whole = _PART.sub(part, sentence)
    return _NAME.sub(lambda match: known.get(match[1], "?"), whole)


def _say(name: str, value: Any, zone: tzinfo) -> str:
    if name in _MOMENTS and isinstance(value, str):
        value = _moment(value)
    if isinstance(value, datetime):
        return say_moment(value, zone)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _moment(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text
