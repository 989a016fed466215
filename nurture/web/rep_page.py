"""A rep's own page: what waits for an answer, what is to be done, what is in the rep's hands. Nothing moves here.

Its link holds for half a day. An older one shows a button, and a link is mailed to the address that config.toml knows;
what the page says then is the same whether or not there is such a rep, and whether or not a mail was just sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parseaddr
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from nurture.content.tokens import Purpose
from nurture.domain.alerts import STANDING, TAKEN, AlertStatus
from nurture.domain.message import MessageKind
from nurture.domain.rep_link import RepLink, mail_key, read_rep_link
from nurture.notify.task_mail import KINDS, task_payload
from nurture.store.alerts import AlertLine, alerts_of
from nurture.store.messages import NewMessage, queue_message
from nurture.store.tasks import TaskView, tasks_of
from nurture.web.rep_words import LANGUAGE, good_link, rep_name, rep_zone, say_at
from nurture.web.site import Site, site_of

SHOWN = 100
"""Of each kind; a rep with more sees the oldest ones, and how it goes on when some are answered."""


async def rep_page(request: Request) -> Response:
    """GET|POST /r/T"""
    site, token = site_of(request), request.path_params["token"]
    link = read_rep_link(site.parts.tokens.read(Purpose.REP, token))
    if link is None:
        return site.notice(request, "not_found", status=404)
    if request.method == "POST":
        await site.in_thread(_mail_link, site, link.rep)
        return site.page("rep_link.html", language=LANGUAGE, asked=True)
    if good_link(site, token) is None:
        return site.page("rep_link.html", language=LANGUAGE, asked=False)
    return await site.in_thread(_list, site, link, token)


def _mail_link(site: Site, rep: str) -> None:
    """One mail at most within each stretch of time, whoever asks: its intent is unique."""
    known = site.parts.settings.reps.get(rep)
    if known is None:
        return
    new = NewMessage(
        intent_key=mail_key(rep, site.now()),
        kind=MessageKind.ALERT,
        to_address=parseaddr(known.email)[1],
        sender=site.parts.settings.sending.sender,
        payload={"alert": f"rep:{rep}"},
    )
    with site.parts.database.transaction() as connection:
        queue_message(connection, new, now=site.now())


def _list(site: Site, link: RepLink, token: str) -> Response:
    rep, now = link.rep, site.now()
    with site.parts.database.reading() as connection:
        standing = alerts_of(connection, rep, STANDING, limit=SHOWN + 1)
        taken = alerts_of(connection, rep, TAKEN, limit=SHOWN + 1)
        tasks = tasks_of(connection, rep, now=now, limit=SHOWN + 1)
    rows = _Rows(site, rep_zone(site, rep), token)
    waiting = [each for each in standing if each.status is AlertStatus.OPEN]
    asleep = [each for each in standing if each.status is AlertStatus.SNOOZED]
    sections = [
        ("Waiting for your answer", [rows.alert(each, "told") for each in waiting]),
        ("To do", [rows.task(each) for each in tasks]),
        ("In your hands", [rows.alert(each, "told") for each in taken]),
        ("Asleep", [rows.alert(each, "again") for each in asleep]),
    ]
    return site.page(
        "rep.html",
        language=LANGUAGE,
        rep=rep_name(site, rep),
        sections=[(title, each[:SHOWN], len(each) > SHOWN) for title, each in sections if each],
        waiting=_count(waiting, "alert"),
        to_do=_count(tasks, "task"),
        until=say_at(link.ends_at, rows.zone),
    )


def _count(found: Sequence[Any], what: str) -> str:
    number = f"more than {SHOWN}" if len(found) > SHOWN else str(len(found))
    return f"{number} {what}{'' if len(found) == 1 else 's'}"


def _say_task(task: TaskView) -> str:
    """Its text, with what kind of task it is where that does not say so itself."""
    kind = KINDS.get(task.kind, task.kind)
    return task.text if task.text.lower().startswith(kind.lower()) else f"{kind}: {task.text}"


class _Rows:
    """Alerts and tasks as lines of the page, with times on the rep's clock; each leads to its own page and back."""

    def __init__(self, site: Site, zone: ZoneInfo, token: str) -> None:
        self.zone = zone
        self._site = site
        self._back = token

    def alert(self, line: AlertLine, word: str) -> dict[str, Any]:
        state = "meeting booked" if line.status is AlertStatus.MEETING else ""
        return {
            "url": self._url(str(line.id)),
            "who": line.name or line.email,
            "firm": line.company or "",
            "what": "; ".join(line.reasons[:3]),
            "at": f"{word} {say_at(line.at, self.zone)}" if line.at is not None else "",
            "flag": state,
            "late": False,
        }

    def task(self, task: TaskView) -> dict[str, Any]:
        late = task.due_at is not None and task.due_at < self._site.now()
        return {
            "url": self._url(task_payload(task.id)),
            "who": task.name or task.email,
            "firm": task.company or "",
            "what": _say_task(task),
            "at": f"due {say_at(task.due_at, self.zone)}" if task.due_at is not None else "",
            "flag": "overdue" if late else "",
            "late": late,
        }

    def _url(self, payload: str) -> str:
        return f"/a/{self._site.parts.tokens.sign(Purpose.ALERT, payload)}?list={self._back}"
