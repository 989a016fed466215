"""A rep's page for one alert. The link's token is the authority; a GET only shows, a POST answers.

A link in the mail names an answer (`?do=claim`), which the page has chosen already when it opens; scanners that follow
links look at pages, and nothing moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from nurture.content.tokens import Purpose
from nurture.domain.alerts import LEADS_TO, TRANSITIONS, AlertStatus, Answer, Rejection
from nurture.domain.problem import Problem
from nurture.pipeline.answers import AnswerOutcome, answer_alert
from nurture.store.alerts import AlertView, alert_view
from nurture.web.security import read_form
from nurture.web.site import Site, site_of
from nurture.web.tracking import read_id

LANGUAGE = "en"
LABELS: Mapping[Answer, str] = {
    Answer.CLAIM: "I take it",
    Answer.MEETING: "A meeting is booked",
    Answer.WON: "Won",
    Answer.LOST: "Lost",
    Answer.SNOOZE: "Remind me tomorrow",
    Answer.REJECT: "Not for us",
}
REASONS: Mapping[Rejection, str] = {
    Rejection.TIMING: "Not now",
    Rejection.BUDGET: "No budget",
    Rejection.NO_NEED: "No need",
    Rejection.NOT_A_FIT: "Does not fit us",
    Rejection.COMPETITOR: "A competitor",
    Rejection.STUDENT: "A student",
    Rejection.WRONG_PERSON: "The wrong person",
    Rejection.BAD_DATA: "The data is wrong",
    Rejection.DUPLICATE: "We know this person already",
    Rejection.DO_NOT_CONTACT: "Does not want to be contacted",
}
STANDS: Mapping[AlertStatus, str] = {
    AlertStatus.OPEN: "waits for an answer",
    AlertStatus.SNOOZED: "sleeps until you are reminded",
    AlertStatus.CLAIMED: "taken",
    AlertStatus.MEETING: "meeting booked",
    AlertStatus.REJECTED: "rejected",
    AlertStatus.WON: "won",
    AlertStatus.LOST: "lost",
    AlertStatus.CLOSED: "taken back: what raised it was no person",
    AlertStatus.NOTICE: "for your information",
}


async def answer(request: Request) -> Response:
    """GET|POST /a/T"""
    site = site_of(request)
    alert_id = read_id(site.parts.tokens.read(Purpose.ALERT, request.path_params["token"]))
    view = await site.in_thread(_find, site, alert_id) if alert_id is not None else None
    if view is None:
        return site.notice(request, "not_found", status=404)
    if request.method != "POST":
        return _page(site, view, chosen=request.query_params.get("do", ""))
    fields = await read_form(request)
    chosen = str(fields.get("answer", ""))
    try:
        outcome = await site.in_thread(_take, site, view, fields)
    except Problem as problem:
        return _page(site, view, chosen=chosen, mistake=str(problem), status=422)
    after = await site.in_thread(_find, site, view.id) or view
    return _page(site, after, said=_say(site, outcome))


def _find(site: Site, alert_id: int) -> AlertView | None:
    with site.parts.database.reading() as connection:
        return alert_view(connection, alert_id)


def _take(site: Site, view: AlertView, fields: FormData) -> AnswerOutcome:
    said = {name: str(value) for name, value in fields.items() if isinstance(value, str)}
    details = {name: said[name] for name in ("value", "currency") if said.get(name)}
    with site.parts.database.transaction() as connection:
        return answer_alert(
            connection,
            view.id,
            answer=said.get("answer", ""),
            rep=view.rep,
            reason=said.get("reason"),
            note=said.get("note"),
            details=details,
            lifecycle=site.parts.lifecycle,
            now=site.now(),
        )


def _say(site: Site, outcome: AnswerOutcome) -> str:
    match outcome.result:
        case "taken":
            return "Thank you, that is noted."
        case "repeated":
            return "That stands already."
        case "late":
            return f"{_rep(site, outcome.by)} was first."
        case "gone":
            return "This alert asks for no such answer any more."


def _page(
    site: Site, view: AlertView, *, chosen: str = "", said: str = "", mistake: str = "", status: int = 200
) -> Response:
    open_answers = [each for each in LABELS if LEADS_TO[each] in TRANSITIONS[view.status]]
    return site.page(
        "alert.html",
        language=LANGUAGE,
        status=status,
        alert=view,
        stands=STANDS[view.status],
        rep=_rep(site, view.rep),
        owner=_rep(site, view.owner),
        answers=[(each.value, LABELS[each]) for each in open_answers],
        reasons=[(each.value, label) for each, label in REASONS.items()],
        labels={each.value: label for each, label in LABELS.items()},
        chosen=chosen if chosen in [each.value for each in open_answers] else "",
        said=said,
        mistake=mistake,
        **_known(site, view),
    )


def _known(site: Site, view: AlertView) -> dict[str, Any]:
    """What was known when the rep was told, with times on the rep's clock."""
    rep = site.parts.settings.reps.get(view.rep)
    zone = ZoneInfo((rep.timezone if rep is not None else None) or site.parts.settings.workspace.timezone)
    evidence = view.evidence
    return {
        "zone": zone,
        "score": f"{evidence.get('score', 0):.0f}",
        "change": f"{evidence.get('score_change', 0):+.0f}",
        "may_call": evidence.get("may_call", False),
        "actions": [
            {"text": each["text"], "at": datetime.fromisoformat(each["at"]).astimezone(zone)}
            for each in evidence.get("actions", [])
        ],
    }


def _rep(site: Site, name: str | None) -> str:
    rep = site.parts.settings.reps.get(name) if name else None
    return rep.name if rep is not None else name or "nobody yet"
