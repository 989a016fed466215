"""A rep's page for one task: who, what and when; a GET only shows, a POST closes it, once."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from nurture.domain.problem import Problem
from nurture.domain.task import CANCELED, OPEN, TaskOutcome
from nurture.notify.task_mail import KINDS
from nurture.pipeline.task_answers import Closing, answer_task, outcomes_of
from nurture.store.tasks import TaskView, task_view
from nurture.web.rep_words import LANGUAGE, rep_name, rep_zone, say_at, way_to_list
from nurture.web.security import read_form
from nurture.web.site import Site, site_of

LABELS: Mapping[TaskOutcome, str] = {
    TaskOutcome.DONE: "Done",
    TaskOutcome.NO_ANSWER: "No answer",
    TaskOutcome.WRONG_NUMBER: "Wrong number",
    TaskOutcome.SKIPPED: "Skipped",
}
_ENDED: Mapping[str, str] = {CANCELED: "canceled", **{each.value: label.lower() for each, label in LABELS.items()}}


async def task_page(request: Request, task_id: int | None) -> Response:
    """GET|POST /a/T of a task."""
    site = site_of(request)
    view = await site.in_thread(_find, site, task_id) if task_id is not None else None
    if view is None:
        return site.notice(request, "not_found", status=404)
    if request.method != "POST":
        return _page(site, request, view)
    fields = await read_form(request)
    typed = {name: value for name, value in fields.items() if isinstance(value, str)}
    try:
        closing = await site.in_thread(_close, site, view, typed)
    except Problem:
        return _page(site, request, view, typed=typed, mistake="Please choose how it ended.", status=422)
    after = await site.in_thread(_find, site, view.id) or view
    return _page(site, request, after, closing=closing)


def _find(site: Site, task_id: int) -> TaskView | None:
    with site.parts.database.reading() as connection:
        return task_view(connection, task_id, now=site.now())


def _close(site: Site, view: TaskView, typed: Mapping[str, str]) -> Closing:
    with site.parts.database.transaction() as connection:
        return answer_task(
            connection,
            view.id,
            outcome=typed.get("outcome", ""),
            rep=view.rep,
            note=typed.get("note", ""),
            phone=typed.get("phone", ""),
            now=site.now(),
        )


def _page(
    site: Site,
    request: Request,
    view: TaskView,
    *,
    typed: Mapping[str, str] | None = None,
    closing: Closing | None = None,
    mistake: str = "",
    status: int = 200,
) -> Response:
    zone = rep_zone(site, view.rep)
    list_url, list_label = way_to_list(site, request, view.rep)
    is_open = view.status == OPEN
    return site.page(
        "task.html",
        language=LANGUAGE,
        status=status,
        task=view,
        kind=KINDS.get(view.kind, view.kind),
        due=say_at(view.due_at, zone) if view.due_at is not None else "",
        overdue=is_open and view.due_at is not None and view.due_at < site.now(),
        rep=rep_name(site, view.rep),
        owner=rep_name(site, view.owner),
        outcomes=[(each.value, LABELS[each]) for each in outcomes_of(view.kind)] if is_open else [],
        chosen=(typed or {}).get("outcome", ""),
        note=(typed or {}).get("note", ""),
        said=_say(closing),
        ended=_ended(site, view, say_at(view.closed_at, zone) if view.closed_at is not None else ""),
        mistake=mistake,
        list_url=list_url,
        list_label=list_label,
    )


def _say(closing: Closing | None) -> str:
    if closing is None:
        return ""
    return {
        "taken": "Thank you, that is noted.",
        "stands": "It was closed before, and that stands.",
        "gone": "This task is not there any more.",
    }[closing.result]


def _ended(site: Site, view: TaskView, at: str) -> str:
    """How it ended, by whom and when; empty while it is open."""
    if view.status == OPEN:
        return ""
    by = f", by {rep_name(site, view.closed_by)}" if view.closed_by else ""
    return f"{_ENDED.get(view.status, view.status).capitalize()}{by}{f', {at}' if at else ''}"
