"""Mail to reps; here the one that tells of a hot lead: who, why, what may not be done, and the links to answer with.

Its words and looks are the templates in `letters/`; here they get what they show. Every link opens one page, which
acts on POST only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.content.tokens import Purpose, Tokens
from nurture.domain.alerts import AlertStatus
from nurture.notify.rep_letters import Desk, say_iso
from nurture.notify.rep_letters import RepMail as AlertMail
from nurture.notify.task_mail import list_letter, task_letter
from nurture.settings import Settings
from nurture.store.alerts import AlertView, alert_view

__all__ = ["AlertMail", "alert_letter", "say_what_happened"]

ANSWERS: tuple[tuple[str, str], ...] = (
    ("claim", "I take it"),
    ("snooze", "Remind me later"),
    ("reject", "Not for us"),
    ("meeting", "Meeting booked"),
    ("won", "Won"),
    ("lost", "Lost"),
)
_DID: Mapping[str, str] = {
    "hot": "is hot",
    "replied": "replied",
    "demo requested": "asked for a demo",
    "meeting booked": "booked a meeting",
    "information requested": "asked for information",
}


def alert_letter(
    connection: Connection, what: int | str, *, settings: Settings, tokens: Tokens, base_url: str, now: datetime
) -> AlertMail:
    """The letter of a message to a rep. `what` is its payload: an alert's id, `task:ID`, `due:ID` (a task again), or
    `rep:NAME` (the way to that rep's own page). Raises LookupError for what is not there any more.
    """
    desk = Desk(settings=settings, tokens=tokens, base_url=base_url, now=now)
    kind, _, name = str(what).rpartition(":")
    match kind:
        case "task" | "due":
            return task_letter(connection, int(name), desk=desk, again=kind == "due")
        case "rep":
            return list_letter(name, desk=desk)
        case _:
            return _letter(connection, int(name), desk)


def _letter(connection: Connection, alert_id: int, desk: Desk) -> AlertMail:
    view = alert_view(connection, alert_id)
    if view is None:
        raise LookupError(f"alert {alert_id} is not there")
    kind = "notice" if view.status is AlertStatus.NOTICE else "alert"
    return desk.mail(
        kind,
        view.rep,
        subject=_subject(kind, view),
        alert=view,
        who=view.name or view.email,
        owner=desk.rep_name(view.owner),
        did=say_what_happened(view),
        links=_links(desk.page(Purpose.ALERT, str(alert_id))),
        **_evidence(view, desk.zone(view.rep)),
    )


def _subject(kind: str, view: AlertView) -> str:
    who = f"{view.name or view.email} ({view.company})" if view.company else view.name or view.email
    if kind == "notice":
        return f"About {who}"
    evidence = view.evidence
    grade = "fit unknown" if evidence.get("grade", view.fit) == "unknown" else f"fit {evidence.get('grade', view.fit)}"
    return f"{who} {say_what_happened(view)}: {grade}, score {_points(evidence.get('score', 0))}"


def say_what_happened(view: AlertView) -> str:
    """As it goes on after the lead's name."""
    if view.rule.startswith("stage "):
        return f"became {view.rule.removeprefix('stage ')}"
    return _DID.get(view.rule, view.rule)


def _evidence(view: AlertView, zone: ZoneInfo) -> dict[str, Any]:
    """What was gathered when the alert was told, with times on the rep's clock."""
    known = view.evidence
    coming = known.get("next")
    return {
        "grade": known.get("grade", view.fit),
        "score": _points(known.get("score", 0)),
        "change": _points(known.get("score_change", 0), signed=True),
        "actions": [{**each, "at": say_iso(each["at"], zone)} for each in known.get("actions", ())],
        "mails": [{**each, "at": say_iso(each["at"], zone)} for each in known.get("mails", ())],
        "mails_count": known.get("mails_count", 0),
        "coming": coming and {**coming, "at": say_iso(coming["at"], zone) if coming["at"] else None},
        "may_call": known.get("may_call", False),
    }


def _links(page: str) -> Sequence[Mapping[str, str]]:
    return [{"do": answer, "label": label, "url": f"{page}?do={answer}"} for answer, label in ANSWERS]


def _points(points: float, *, signed: bool = False) -> str:
    return f"{points:+.0f}" if signed else f"{points:.0f}"
