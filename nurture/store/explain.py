"""Everything `nurture why` tells of one lead: what was decided and done, what comes next, and how its score adds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Connection, select

from nurture.domain.enrollment import RUNNING, EnrollmentStatus
from nurture.domain.event import EventName, Verdict
from nurture.domain.explain import ScoreLine, coming_step, say_decision, say_event, say_moment, say_step, score_lines
from nurture.domain.message import WAITING, MessageStatus
from nurture.domain.reasons import Reason
from nurture.domain.scoring import engagement_at
from nurture.store import tables as t
from nurture.store.cadences import load_versions
from nurture.store.pauses import ALL, backlogs, cadence_scope, paused_scopes, sender_scope, stopped_trials
from nurture.store.suppressions import suppressed_among

UNTOLD = (EventName.OPENED.value,)
"""Opens decide nothing, so they are not told."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How to read a lead now: the decay of engagement, its cap, and the zone in which times are told."""

    now: datetime
    half_life: timedelta
    engagement_cap: float
    zone: tzinfo


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The document of `why --json`; `past` and `score` in the order of their times, `next` by when it is due."""

    lead: dict[str, Any]
    past: list[dict[str, Any]]
    next: list[dict[str, Any]]
    score: list[dict[str, Any]]


def explain_lead(connection: Connection, email_key: str, asked: Asked) -> Explanation | None:
    """Everything there is to tell; None where no lead has this address."""
    lead = connection.execute(select(t.lead).where(t.lead.c.email_key == email_key)).one_or_none()
    if lead is None:
        return None
    lines, engagement = _score(connection, lead, asked)
    score = round(sum(each.points for each in lines), 2)
    return Explanation(
        lead={
            "email": lead.email,
            "stage": lead.stage,
            "fit": lead.fit,
            "engagement": round(engagement, 2),
            "score": score,
            "owner": lead.owner,
            "suppression": suppressed_among(connection, [email_key]).get(email_key),
        },
        past=_past(connection, lead.id, asked),
        next=_next(connection, lead.id, asked),
        score=[{"at": each.at, "points": each.points, "reason": each.reason} for each in lines],
    )


# --- the past


def _past(connection: Connection, lead_id: int, asked: Asked) -> list[dict[str, Any]]:
    decisions = _decisions(connection, lead_id, asked)
    told = {(each["at"], each["code"]) for each in decisions}
    moves = [each for each in _moves(connection, lead_id, asked) if (each["at"], each["code"]) not in told]
    whole = [*decisions, *moves, *_events(connection, lead_id, asked), *_answers(connection, lead_id)]
    return sorted(whole, key=lambda each: each["at"])


def _decisions(connection: Connection, lead_id: int, asked: Asked) -> list[dict[str, Any]]:
    d, m = t.decision.c, t.message.c
    mail = {
        (row.enrollment_id, row.step): {"subject": row.subject, "variant": row.variant}
        for row in connection.execute(
            select(m.enrollment_id, m.step, m.subject, m.variant).where(m.lead_id == lead_id, m.step.is_not(None))
        )
    }
    rows = connection.execute(select(t.decision).where(d.lead_id == lead_id).order_by(d.at, d.id))
    told = []
    for row in rows:
        detail = {**mail.get((row.enrollment_id, row.step), {}), **row.detail}
        text = say_decision(row.code, detail, zone=asked.zone)
        told.append(_entry(row.at, row.code, text, cadence=row.cadence, step=row.step))
    return told


def _events(connection: Connection, lead_id: int, asked: Asked) -> list[dict[str, Any]]:
    e = t.event.c
    rows = connection.execute(
        select(t.event).where(e.lead_id == lead_id, e.verdict != Verdict.MACHINE.value, e.kind.not_in(UNTOLD))
    )
    told = []
    for row in rows:
        detail = {**row.props, "link": row.link_name or row.link, "path": row.path}
        detail |= {"value": row.value, "currency": row.currency}
        text = say_event(row.kind, detail, zone=asked.zone)
        if row.verdict == Verdict.PROBABLE.value:
            text += " (probably a person)"
        told.append(_entry(row.at, row.kind, text, cadence=row.cadence, step=row.step))
    return told


def _moves(connection: Connection, lead_id: int, asked: Asked) -> list[dict[str, Any]]:
    """Stage moves; promotions and demotions are decisions too, and told as such where these were recorded."""
    codes = {"promotion": Reason.PROMOTED.value, "demotion": Reason.DEMOTED.value}
    moves = t.stage_history.c
    rows = connection.execute(select(t.stage_history).where(moves.lead_id == lead_id))
    told = []
    for row in rows:
        code = codes.get(row.kind, row.kind)
        detail = {"before": row.before, "after": row.after, "because": row.because}
        if code in (Reason.PROMOTED, Reason.DEMOTED):
            text = say_decision(code, detail, zone=asked.zone)
        else:
            text = f"moved from {row.before} to {row.after}" + (f", because {row.because}" if row.because else "")
        told.append(_entry(row.at, code, text))
    return told


def _answers(connection: Connection, lead_id: int) -> list[dict[str, Any]]:
    answer, alert = t.alert_answer.c, t.alert.c
    rows = connection.execute(
        select(answer.at, answer.answer, answer.reason, answer.rep, answer.note)
        .join(t.alert, alert.id == answer.alert_id)
        .where(alert.lead_id == lead_id)
    )
    return [
        _entry(row.at, "answered", f"{row.rep} answered: {row.answer}" + (f" ({row.reason})" if row.reason else ""))
        for row in rows
    ]


def _entry(
    at: datetime, code: str, text: str, *, cadence: str | None = None, step: str | None = None
) -> dict[str, Any]:
    return {"at": at, "code": code, "text": text, "cadence": cadence, "step": step}


# --- what comes next


def _next(connection: Connection, lead_id: int, asked: Asked) -> list[dict[str, Any]]:
    e, m = t.enrollment, t.message
    rows = connection.execute(
        select(
            e,
            m.c.status.label("message_status"),
            m.c.not_before.label("not_before"),
            m.c.reply.label("message_reply"),
            m.c.sender.label("sender"),
            m.c.created_at.label("queued_at"),
            t.cadence_state.c.status.label("file_status"),
        )
        .outerjoin(m, m.c.id == e.c.message_id)
        .outerjoin(t.cadence_state, t.cadence_state.c.cadence == e.c.cadence)
        .where(e.c.lead_id == lead_id, e.c.status.in_([status.value for status in RUNNING]))
        .order_by(e.c.priority.desc(), e.c.enrolled_at, e.c.id)
    ).all()
    cadences = load_versions(connection, {row.version for row in rows})
    scopes, trials, held = paused_scopes(connection), stopped_trials(connection), backlogs(connection)
    coming = []
    for row in rows:
        cadence = cadences.get(row.version)
        step = coming_step(cadence, row.step) if cadence is not None else None
        at, blocked_by, text = _stopped(row, scopes, trials) or _in_a_backlog(row, held) or _in_the_way(row, asked)
        does = say_step(step) if step is not None else "the end of the cadence"
        coming.append(
            {
                "at": at,
                "cadence": row.cadence,
                "step": step.key if step is not None else None,
                "blocked_by": blocked_by,
                "text": f"{does}{text}",
            }
        )
    return sorted(coming, key=lambda each: (each["at"] is None, each["at"] or asked.now))


def _stopped(row: Any, scopes: frozenset[str], trials: frozenset[str]) -> tuple[None, str, str] | None:
    """What a person, a file or a harmful change has stopped goes on at no known time."""
    if ALL in scopes:
        why = "everything is stopped by hand: 'nurture resume --all'"
    elif cadence_scope(row.cadence) in scopes:
        why = f"stopped by hand: 'nurture resume {row.cadence}'"
    elif row.file_status in ("paused", "draft"):
        why = f"its file says status: {row.file_status}"
    elif row.version in trials:
        why = f"the change it went by did harm: edit the file, or 'nurture release {row.cadence}'"
    elif row.sender is not None and sender_scope(row.sender) in scopes:
        why = f"its sender is stopped by hand: 'nurture resume --sender {row.sender}'"
    else:
        return None
    return None, Reason.PAUSED.value, f": {why}"


def _in_a_backlog(row: Any, held: Mapping[str, datetime]) -> tuple[None, str, str] | None:
    """What a long stop left behind waits for a person."""
    until = held.get(row.cadence)
    if until is None:
        return None
    waits = row.message_status in [status.value for status in WAITING] and row.queued_at < until
    if not waits and (row.message_status is not None or row.blocked_by != Reason.HELD.value):
        return None
    return None, Reason.HELD.value, f": held with the backlog of a long stop: 'nurture release {row.cadence}'"


def _in_the_way(row: Any, asked: Asked) -> tuple[datetime | None, str | None, str]:
    """(when, the reason code of what stands in the way, how the sentence goes on)."""
    if row.status == EnrollmentStatus.PAUSED.value:
        return row.ready_at or row.due_at, Reason.PAUSED.value, ": paused, until a cadence that goes first is done"
    if row.message_status is not None:
        return _under_way(row, asked)
    at = row.ready_at or row.due_at
    if at is None or at <= asked.now:
        return at, row.blocked_by, ": at the next pass"
    why = _WHY.get(row.blocked_by or "", "")
    return at, row.blocked_by, f": {say_moment(at, asked.zone)}{why}"


def _under_way(row: Any, asked: Asked) -> tuple[datetime | None, str | None, str]:
    if row.message_status == MessageStatus.DEFERRED.value:
        reply = f" ({row.message_reply})" if row.message_reply else ""
        text = f": tried, and again from {say_moment(row.not_before, asked.zone)}{reply}"
        return row.not_before, Reason.DEFERRED.value, text
    waits = row.message_status == MessageStatus.QUEUED.value and row.not_before > asked.now
    when = f"from {say_moment(row.not_before, asked.zone)}" if waits else "now"
    return row.not_before, row.blocked_by, f": on its way, {when}"


_WHY = {
    Reason.CAPPED.value: ", because the lead has had enough mail for now",
    Reason.OUT_OF_WINDOW.value: ", when its sending hours begin",
    Reason.HELD.value: ", when the hold of marketing ends",
    Reason.LIMITED.value: ", when a limit of sending allows it",
    Reason.WAITING.value: ", when the wait is over",
}


# --- the score


def _score(connection: Connection, lead: Any, asked: Asked) -> tuple[list[ScoreLine], float]:
    """The ledger's lines, which add up to the score, and the engagement in it."""
    s = t.score_ledger.c
    rows = connection.execute(select(t.score_ledger).where(s.lead_id == lead.id).order_by(s.at, s.id)).all()
    fading = [_line(row) for row in rows if row.kind == "engagement"]
    decayed = sum(each.points * 0.5 ** ((asked.now - each.at) / asked.half_life) for each in fading)
    # the lead's own sums, because they are what everything else goes by
    engagement = engagement_at(lead.gains, lead.losses, asked.now, half_life=asked.half_life, cap=asked.engagement_cap)
    lines = score_lines(
        [_line(row) for row in rows],
        engagement=fading,
        score=lead.fit_points + engagement,
        decayed=decayed,
        now=asked.now,
    )
    return lines, engagement


def _line(row: Any) -> ScoreLine:
    reason = f"{row.kind}: {row.rule}" + (f" ({row.note})" if row.note else "")
    return ScoreLine(at=row.at, points=row.points, reason=reason)
