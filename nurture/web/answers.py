"""A rep's page for one alert. The link's token is the authority; a GET only shows, a POST answers.

A link in the mail names an answer (`?do=claim`), which the page has chosen already when it opens; scanners that follow
links look at pages, and nothing moves. Behind a link that stands in a shared channel the page asks who answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from nurture.content.tokens import Purpose
from nurture.domain.alerts import LEADS_TO, TRANSITIONS, AlertStatus, Answer, Rejection
from nurture.domain.problem import Problem
from nurture.notify.alert_posts import SHARED
from nurture.pipeline.answers import AnswerOutcome, answer_alert
from nurture.store.alerts import AlertAnswered, AlertView, alert_view, may_call
from nurture.web.rep_words import LANGUAGE, rep_name, rep_zone, say_at, say_iso, way_to_list
from nurture.web.security import read_form
from nurture.web.site import Site, site_of
from nurture.web.tasks import task_page
from nurture.web.tracking import read_id

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
    payload = site.parts.tokens.read(Purpose.ALERT, request.path_params["token"]) or ""
    if payload.startswith("t"):
        return await task_page(request, read_id(payload[1:]))
    alert_id = read_id(payload.removesuffix(SHARED))
    view = await site.in_thread(_find, site, alert_id) if alert_id is not None else None
    if view is None:
        return site.notice(request, "not_found", status=404)
    page = _Page(site, request, is_shared=payload.endswith(SHARED))
    if request.method != "POST":
        return page.show(view, chosen=request.query_params.get("do", ""))
    said = _read(await read_form(request))
    chosen = said.get("answer", "")
    rep = page.who(view, said)
    if rep is None:
        return page.show(view, chosen=chosen, typed=said, mistake="Please say who you are.", status=422)
    try:
        outcome = await site.in_thread(_take, site, view.alert, said, rep)
    except Problem as problem:
        mistake = _missing(said) or str(problem)
        return page.show(view, chosen=chosen, typed=said, mistake=mistake, status=422)
    after = await site.in_thread(_find, site, view.alert.id) or view
    return page.show(after, said=_say(site, outcome))


def _read(fields: FormData) -> dict[str, str]:
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _missing(said: Mapping[str, str]) -> str:
    """What a rep forgot, in the page's words; the rest is said well enough where it was found."""
    if said.get("answer") not in LABELS:
        return "Please choose one of the answers."
    if said["answer"] == Answer.REJECT and said.get("reason") not in REASONS:
        return "Please choose why it is not for us."
    return ""


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """The alert, and whether its lead permits calls now: it may have said no since the rep was told."""

    alert: AlertView
    may_call: bool


def _find(site: Site, alert_id: int) -> _Shown | None:
    with site.parts.database.reading() as connection:
        view = alert_view(connection, alert_id)
        if view is None:
            return None
        return _Shown(alert=view, may_call=bool(may_call(connection, [view.lead_id])))


def _take(site: Site, view: AlertView, said: Mapping[str, str], rep: str) -> AnswerOutcome:
    details = {name: said[name] for name in ("value", "currency") if said.get(name)}
    with site.parts.database.transaction() as connection:
        return answer_alert(
            connection,
            view.id,
            answer=said.get("answer", ""),
            rep=rep,
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
            return f"{rep_name(site, outcome.by)} was first."
        case "gone":
            return "This alert asks for no such answer any more."


class _Page:
    """How the page is shown to whoever opened this link."""

    def __init__(self, site: Site, request: Request, *, is_shared: bool) -> None:
        self._site = site
        self._request = request
        self._is_shared = is_shared

    def who(self, shown: _Shown, said: Mapping[str, str]) -> str | None:
        """Who answers: the rep whose link it is, or whoever says so; None where that is still to be said."""
        if not self._asks_who(shown.alert):
            return shown.alert.rep
        named = said.get("who", "")
        return named if named in self._site.parts.settings.reps else None

    def _asks_who(self, view: AlertView) -> bool:
        reps = self._site.parts.settings.reps
        return bool(reps) and (self._is_shared or view.rep not in reps)

    def show(
        self,
        shown: _Shown,
        *,
        chosen: str = "",
        typed: Mapping[str, str] | None = None,
        said: str = "",
        mistake: str = "",
        status: int = 200,
    ) -> Response:
        site, view = self._site, shown.alert
        open_answers = [each for each in LABELS if LEADS_TO[each] in TRANSITIONS[view.status]]
        list_url, list_label = way_to_list(site, self._request, "" if self._is_shared else view.rep)
        words = typed or {}
        return site.page(
            "alert.html",
            language=LANGUAGE,
            status=status,
            alert=view,
            may_call=shown.may_call,
            stands=STANDS[view.status],
            owner=rep_name(site, view.owner),
            answers=[(each.value, LABELS[each]) for each in open_answers],
            reasons=[(each.value, label) for each, label in REASONS.items()],
            labels={each.value: label for each, label in LABELS.items()},
            chosen=chosen if chosen in [each.value for each in open_answers] else "",
            typed={name: words.get(name, "") for name in ("reason", "value", "currency", "note")},
            reps=[(name, rep.name) for name, rep in site.parts.settings.reps.items()] if self._asks_who(view) else [],
            who=words.get("who", view.rep),
            said=said,
            mistake=mistake,
            list_url=list_url,
            list_label=list_label,
            **_known(site, view),
        )


def _known(site: Site, view: AlertView) -> dict[str, Any]:
    """What was known when the rep was told, with times on the rep's clock."""
    zone = rep_zone(site, view.rep)
    evidence = view.evidence
    coming = evidence.get("next")
    return {
        "score": f"{evidence.get('score', 0):.0f}",
        "change": f"{evidence.get('score_change', 0):+.0f}",
        "actions": [(each["text"], say_iso(each["at"], zone)) for each in evidence.get("actions", [])],
        "mails": [(each["subject"], say_iso(each["at"], zone)) for each in evidence.get("mails", [])],
        "mails_count": evidence.get("mails_count", 0),
        "coming": coming and {**coming, "at": say_iso(coming["at"], zone) if coming.get("at") else ""},
        "said_before": [_said_before(site, each, zone) for each in view.answers],
    }


def _said_before(site: Site, said: AlertAnswered, zone: ZoneInfo) -> tuple[str, str, str, str, str]:
    """Answer, reason, note, who and when, as a person reads them."""
    reason = REASONS[Rejection(said.reason)] if said.reason is not None else ""
    return LABELS[Answer(said.answer)], reason, said.note or "", rep_name(site, said.rep), say_at(said.at, zone)
