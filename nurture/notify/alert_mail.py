"""The mail that tells a rep of a hot lead: who, why, what may not be done, and the links to answer with.

Its words and looks are the templates in `letters/`; here they get what they show. Every link opens one page, which
acts on POST only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy import Connection

from nurture.content.tokens import Purpose, Tokens
from nurture.domain.alerts import AlertStatus
from nurture.settings import Settings
from nurture.store.alerts import AlertView, alert_view

LETTERS = Path(__file__).parent / "letters"
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


@dataclass(frozen=True, kw_only=True)
class AlertMail:
    subject: str
    text: str
    html: str


def alert_letter(
    connection: Connection, alert_id: int, *, settings: Settings, tokens: Tokens, base_url: str, now: datetime
) -> AlertMail:
    """The letter for the rep whom the alert was routed to. Raises LookupError for an alert that is not there."""
    view = alert_view(connection, alert_id)
    if view is None:
        raise LookupError(f"alert {alert_id} is not there")
    rep = settings.reps.get(view.rep)
    zone = ZoneInfo((rep.timezone if rep is not None else None) or settings.workspace.timezone)
    kind = "notice" if view.status is AlertStatus.NOTICE else "alert"
    values = {
        "alert": view,
        "rep": rep.name if rep is not None else view.rep,
        "who": view.name or view.email,
        "owner": _owner(settings, view.owner),
        "did": _did(view),
        "workspace": settings.workspace,
        "told_at": _say(now, zone),
        "zone": zone.key,
        **_evidence(view, zone),
        "links": _links(f"{base_url.rstrip('/')}/a/{tokens.sign(Purpose.ALERT, str(alert_id))}"),
    }
    letters = _letters()
    return AlertMail(
        subject=_subject(kind, view),
        text=letters.get_template(f"{kind}.txt").render(values),
        html=letters.get_template(f"{kind}.html").render(values),
    )


@cache
def _letters() -> Environment:
    return Environment(
        loader=FileSystemLoader(LETTERS),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _subject(kind: str, view: AlertView) -> str:
    who = f"{view.name or view.email} ({view.company})" if view.company else view.name or view.email
    if kind == "notice":
        return f"About {who}"
    evidence = view.evidence
    grade = "fit unknown" if evidence.get("grade", view.fit) == "unknown" else f"fit {evidence.get('grade', view.fit)}"
    return f"{who} {_did(view)}: {grade}, score {_points(evidence.get('score', 0))}"


def _did(view: AlertView) -> str:
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
        "actions": [{**each, "at": _say_iso(each["at"], zone)} for each in known.get("actions", ())],
        "mails": [{**each, "at": _say_iso(each["at"], zone)} for each in known.get("mails", ())],
        "mails_count": known.get("mails_count", 0),
        "coming": coming and {**coming, "at": _say_iso(coming["at"], zone) if coming["at"] else None},
        "may_call": known.get("may_call", False),
    }


def _links(page: str) -> Sequence[Mapping[str, str]]:
    return [{"do": answer, "label": label, "url": f"{page}?do={answer}"} for answer, label in ANSWERS]


def _owner(settings: Settings, owner: str | None) -> str | None:
    rep = settings.reps.get(owner) if owner else None
    return rep.name if rep is not None else owner


def _points(points: float, *, signed: bool = False) -> str:
    return f"{points:+.0f}" if signed else f"{points:.0f}"


def _say_iso(text: str, zone: ZoneInfo) -> str:
    return _say(datetime.fromisoformat(text), zone)


def _say(moment: datetime, zone: ZoneInfo) -> str:
    """'Mon 2 Nov, 09:14'."""
    there = moment.astimezone(zone)
    return f"{there:%a} {there.day} {there:%b, %H:%M}"
