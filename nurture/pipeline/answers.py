"""A rep's answer to an alert, and what follows from it, in the caller's one transaction.

Each answer is guarded by the status it found, so that of two reps who claim at the same time one is told who was first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from nurture.domain.alerts import (
    DISQUALIFIES,
    LEADS_TO,
    RECYCLES,
    TAKEN,
    TRANSITIONS,
    AlertStatus,
    Answer,
    Rejection,
)
from nurture.domain.event import EventName
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.problem import Problem
from nurture.domain.stages import MoveKind, Stage
from nurture.store import tables as t
from nurture.store.accounts import colleagues_of
from nurture.store.consents import withdraw_consent
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.reactions import cancel_steps
from nurture.store.stages import move_stage, recycle
from nurture.store.suppressions import suppress

SOURCE = "alert"
SNOOZE = timedelta(days=1)
LONGEST_SNOOZE = timedelta(days=90)
LONGEST_NOTE = 4_000
MOST_DETAILS, LONGEST_DETAIL = 20, 500
DO_NOT_CONTACT = "do_not_contact"


@dataclass(frozen=True, kw_only=True)
class AnswerOutcome:
    """What became of an answer. `taken`: done; `repeated`: it stood already; `late`: `by` was first; `gone`: no alert
    that asks for this. `status` is the alert's now (None: there is none).
    """

    result: Literal["taken", "repeated", "late", "gone"]
    status: AlertStatus | None = None
    by: str | None = None


def answer_alert(
    connection: Connection,
    alert_id: int,
    *,
    answer: str,
    rep: str,
    reason: str | None = None,
    note: str | None = None,
    details: Mapping[str, Any] | None = None,
    lifecycle: Lifecycle,
    now: datetime,
) -> AnswerOutcome:
    """Take the answer: claim, snooze, reject, meeting, won or lost. `rep` is the name of who answers.

    `reason` says why a lead is rejected. `details` are texts, numbers and truth values: `until` of a snooze (a moment,
    or RFC 3339; a day by default), `value` and `currency` of a deal; others are kept as they are. Raises Problem.
    """
    said = _read(answer, rep, reason, note, details, now)
    alert = _locked(connection, alert_id)
    if alert is None:
        return AnswerOutcome(result="gone")
    status, last = AlertStatus(alert.status), _last_answer(connection, alert_id)
    refusal = _refusal(status, said, last)
    if refusal is not None:
        return refusal
    after = LEADS_TO[said.answer]
    taken = connection.execute(
        update(t.alert)
        .where(t.alert.c.id == alert_id, t.alert.c.status == status.value)
        .values(status=after.value, answered_at=now, rep=rep, **_next_look(said))
    )
    if taken.rowcount != 1:
        raise RuntimeError(f"alert {alert_id} changed under its lock")
    _append(connection, alert_id, said, now)
    _follow(connection, alert, said, lifecycle, now)
    wake_enrollments(connection, [alert.lead_id], now=now)
    return AnswerOutcome(result="taken", status=after, by=rep)


# --- reading what was said


@dataclass(frozen=True, kw_only=True)
class _Said:
    answer: Answer
    rep: str
    reason: Rejection | None
    note: str | None
    details: dict[str, Any]
    until: datetime | None
    value: float | None
    currency: str | None


def _read(
    answer: str, rep: str, reason: str | None, note: str | None, details: Mapping[str, Any] | None, now: datetime
) -> _Said:
    try:
        read_answer = Answer(answer)
    except ValueError:
        raise Problem(f"'{answer[:40]}' is no answer: use one of {', '.join(Answer)}") from None
    given = dict(details or {})
    value, currency = _money(given) if read_answer is Answer.WON else (None, None)
    return _Said(
        answer=read_answer,
        rep=rep,
        reason=_reason(reason) if read_answer is Answer.REJECT else None,
        note=_storable(note or "").strip()[:LONGEST_NOTE] or None,
        details=_kept(given),
        until=_until(given.get("until"), now) if read_answer is Answer.SNOOZE else None,
        value=value,
        currency=currency,
    )


def _reason(reason: str | None) -> Rejection:
    try:
        return Rejection(reason or "")
    except ValueError:
        raise Problem(f"say why it is rejected: one of {', '.join(Rejection)}") from None


def _kept(details: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold, in bounds: it comes from a form."""
    kept: dict[str, Any] = {}
    for name, value in list(details.items())[:MOST_DETAILS]:
        if isinstance(value, datetime):
            kept[name] = value.isoformat()
        elif isinstance(value, bool | int | float) or value is None:
            kept[name] = value
        else:
            kept[name] = _storable(str(value))[:LONGEST_DETAIL]
    return kept


def _storable(text: str) -> str:
    """As both databases take it: PostgreSQL keeps no NUL, and UTF-8 no lone surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _until(given: Any, now: datetime) -> datetime:
    if given in (None, ""):
        return now + SNOOZE
    try:
        until = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError:
        raise Problem(f"'{str(given)[:40]}' is no moment: use e.g. '2026-12-01T09:00:00+01:00'") from None
    if until.tzinfo is None or not now < until <= now + LONGEST_SNOOZE:
        raise Problem(f"an alert sleeps until a moment within {LONGEST_SNOOZE.days} days from now, with its zone")
    return until


def _money(details: Mapping[str, Any]) -> tuple[float | None, str | None]:
    given, currency = details.get("value"), details.get("currency")
    if given in (None, ""):
        return None, None
    try:
        value = float(str(given).replace(",", ""))
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1e15:
        raise Problem(f"'{str(given)[:40]}' is no deal's value: write a number such as 12000")
    return value, str(currency).strip().upper()[:3] or None if currency else None


# --- guarding


def _locked(connection: Connection, alert_id: int) -> Any | None:
    """The alert, with its lead locked first, as everybody locks them."""
    a, lead = t.alert.c, t.lead.c
    lead_id = connection.scalar(select(a.lead_id).where(a.id == alert_id))
    if lead_id is None:
        return None
    connection.execute(select(lead.id).where(lead.id == lead_id).with_for_update())
    return connection.execute(
        select(t.alert, lead.email_key, lead.owner, lead.stage, lead.hold_until)
        .join(t.lead, lead.id == a.lead_id)
        .where(a.id == alert_id)
        .with_for_update()
    ).one_or_none()


def _last_answer(connection: Connection, alert_id: int) -> Any | None:
    said = t.alert_answer.c
    return connection.execute(
        select(said.answer, said.rep, said.reason, said.details)
        .where(said.alert_id == alert_id)
        .order_by(said.id.desc())
        .limit(1)
    ).one_or_none()


def _refusal(status: AlertStatus, said: _Said, last: Any | None) -> AnswerOutcome | None:
    """Why the answer changes nothing; None where it does."""
    by = last.rep if last is not None else None
    if last is not None and last.rep == said.rep and _same(last, said) and status is LEADS_TO[said.answer]:
        return AnswerOutcome(result="repeated", status=status, by=by)
    if status in TAKEN and by is not None and by != said.rep:
        return AnswerOutcome(result="late", status=status, by=by)
    if LEADS_TO[said.answer] in TRANSITIONS[status]:
        return None
    return AnswerOutcome(result="late" if by is not None else "gone", status=status, by=by)


def _same(last: Any, said: _Said) -> bool:
    if last.answer != said.answer.value:
        return False
    # asked to sleep once more, until another moment, is a new answer; any other is said once
    return said.answer is not Answer.SNOOZE or last.details.get("until") == said.details.get("until")


def _next_look(said: _Said) -> dict[str, Any]:
    """A snoozed alert is told again when its time is over; any other answered one is not."""
    return {"due_at": said.until if said.answer is Answer.SNOOZE else None}


def _append(connection: Connection, alert_id: int, said: _Said, now: datetime) -> None:
    connection.execute(
        insert(t.alert_answer).values(
            alert_id=alert_id,
            at=now,
            answer=said.answer.value,
            reason=said.reason.value if said.reason is not None else None,
            note=said.note,
            rep=said.rep,
            details=said.details,
        )
    )


# --- what follows


def _follow(connection: Connection, alert: Any, said: _Said, lifecycle: Lifecycle, now: datetime) -> None:
    match said.answer:
        case Answer.CLAIM:
            _own(connection, alert, said.rep)
            _hold(connection, alert, "claim", now + lifecycle.hold_claim)
        case Answer.SNOOZE:
            pass
        case Answer.MEETING:
            _own(connection, alert, said.rep)
            _record(connection, alert, said, EventName.MEETING_BOOKED, now)
            _contacted(connection, alert, now)
            _hold(connection, alert, "meeting", now + lifecycle.hold_claim)
        case Answer.WON:
            _own(connection, alert, said.rep)
            _record(connection, alert, said, EventName.DEAL_WON, now)
            _release(connection, alert, now)
            _make_customer(connection, alert, said, lifecycle, now)
        case Answer.LOST:
            event_id = _record(connection, alert, said, EventName.DEAL_LOST, now)
            _release(connection, alert, now)
            because = f"{said.rep}: the deal was lost"
            recycle(connection, alert.lead_id, because=because, now=now, event_id=event_id)
        case Answer.REJECT:
            _release(connection, alert, now)
            _reject(connection, alert, said, now)


def _own(connection: Connection, alert: Any, rep: str) -> None:
    lead = t.lead.c
    connection.execute(update(t.lead).where(lead.id == alert.lead_id, lead.owner.is_(None)).values(owner=rep))


def _hold(connection: Connection, alert: Any, reason: str, until: datetime) -> None:
    """A hold never shortens another."""
    if alert.hold_until is None or alert.hold_until < until:
        change = update(t.lead).where(t.lead.c.id == alert.lead_id)
        connection.execute(change.values(hold_until=until, hold_reason=reason))


def _release(connection: Connection, alert: Any, now: datetime) -> None:
    """Colleagues may have been held along."""
    connection.execute(update(t.lead).where(t.lead.c.id == alert.lead_id).values(hold_until=None, hold_reason=None))
    wake_enrollments(connection, colleagues_of(connection, [alert.lead_id]), now=now)


def _contacted(connection: Connection, alert: Any, now: datetime) -> None:
    lead = t.lead.c
    connection.execute(
        update(t.lead).where(lead.id == alert.lead_id, lead.contacted_at.is_(None)).values(contacted_at=now)
    )


def _record(connection: Connection, alert: Any, said: _Said, kind: EventName, now: datetime) -> int | None:
    event = NewEvent(
        lead_id=alert.lead_id,
        kind=kind.value,
        at=now,
        source=SOURCE,
        source_id=f"{alert.id}:{said.answer.value}",
        value=said.value,
        currency=said.currency,
        props={"rep": said.rep},
    )
    return record_event(connection, event, now=now)


def _make_customer(connection: Connection, alert: Any, said: _Said, lifecycle: Lifecycle, now: datetime) -> None:
    """Where the lifecycle has a condition for customers, `react` finds the event; else the rep's word moves it."""
    if any(rule.stage == Stage.CUSTOMER and rule.when is not None for rule in lifecycle.stages):
        return
    because = f"{said.rep}: the deal was won"
    move_stage(connection, alert.lead_id, Stage.CUSTOMER, kind=MoveKind.BY_HAND, because=because, now=now)


def _reject(connection: Connection, alert: Any, said: _Said, now: datetime) -> None:
    because = f"{said.rep} rejected it: {said.reason}"
    if said.reason in RECYCLES:
        recycle(connection, alert.lead_id, because=because, now=now)
    elif said.reason in DISQUALIFIES:
        move_stage(connection, alert.lead_id, Stage.DISQUALIFIED, kind=MoveKind.BY_HAND, because=because, now=now)
    elif said.reason is Rejection.DO_NOT_CONTACT:
        suppress(connection, alert.email_key, reason=DO_NOT_CONTACT, now=now, note=because)
        withdraw_consent(connection, alert.lead_id, source=SOURCE, now=now)
        why = {alert.lead_id: f"suppressed: {DO_NOT_CONTACT}"}
        cancel_steps(connection, lead_ids=[alert.lead_id], why=why, now=now)
