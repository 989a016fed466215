"""Pages behind a mail's own links: the mail in a browser, and the button of who wants to stay.

Both show the same to whoever has the link; a GET changes nothing, and nothing on the mail's page is tracked.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from nurture.calendar import Calendar
from nurture.content.letters import Composer
from nurture.content.templates import TemplateLibrary
from nurture.content.tokens import Purpose
from nurture.pipeline.outgoing import LetterWriter, RenderFailed
from nurture.store import tables as t
from nurture.store.due_mail import message_to_show
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.web.security import read_form
from nurture.web.site import Site, site_of
from nurture.web.tracking import read_id
from nurture.web.words import words_for

STAYED = "stayed"
"""The event of a reader who said so: a person's own doing, so it counts as engagement and lifts a sunset."""
_MAIL_POLICY = (
    "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline' https:; font-src https:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-popups allow-top-navigation"
)


async def mail_in_browser(request: Request) -> Response:
    """GET|HEAD /w/T"""
    site = site_of(request)
    message_id = read_id(site.parts.tokens.read(Purpose.WEB, request.path_params["token"]))
    html = await site.in_thread(_mail, site, message_id) if message_id is not None else None
    if html is None:
        return site.notice(request, "not_found", status=404)
    return HTMLResponse(html, headers={"content-security-policy": _MAIL_POLICY})


async def stay(request: Request) -> Response:
    """GET|POST /k/T"""
    site = site_of(request)
    message_id = read_id(site.parts.tokens.read(Purpose.KEEP, request.path_params["token"]))
    if message_id is None:
        return site.notice(request, "not_found", status=404)
    if request.method != "POST":
        return site.page("stay.html", language=site.language(request))
    await read_form(request)
    language = site.language(request, await site.in_thread(_stay, site, message_id))
    words = words_for(language)
    text = words["stayed_text"].format(workspace=site.parts.settings.workspace.name)
    return site.page("notice.html", language=language, title=words["stayed_title"], text=text, ticked=True)


def _mail(site: Site, message_id: int) -> str | None:
    """The page; None where the message or its lead is gone, or its letter can't be written any more."""
    letters = _letters(site)
    with site.parts.database.reading() as connection:
        row: Any = message_to_show(connection, message_id)
        if row is None:
            return None
        letters.prepare(connection, [row])
        material = letters.gather(connection, [row])[row.id]
    try:
        return letters.page(row, material)
    except RenderFailed:
        return None


def _letters(site: Site) -> LetterWriter:
    """Made when the first mail is looked at; its pages bear no signature and no Message-ID."""
    if site.letters is None:
        parts = site.parts
        settings = parts.settings
        site.letters = LetterWriter(
            settings=settings,
            forms=parts.forms,
            offers=parts.offers,
            composer=Composer(TemplateLibrary(parts.root / "templates" / "email")),
            tokens=parts.tokens,
            calendar=Calendar(settings.holidays.extra, settings.workspace.country),
            clock=parts.clock,
            header_key=b"pages have none",
            signers={},
        )
    return site.letters


def _stay(site: Site, message_id: int) -> str | None:
    """Record it, once for each mail; the reader's language, if the reader is there."""
    m, lead = t.message.c, t.lead.c
    with site.parts.database.transaction() as connection:
        row = connection.execute(
            select(m.lead_id, m.enrollment_id, m.cadence, m.step, lead.language)
            .join(t.lead, lead.id == m.lead_id)
            .where(m.id == message_id)
        ).one_or_none()
        if row is None:
            return None
        event = NewEvent(
            lead_id=row.lead_id,
            kind=STAYED,
            at=site.now(),
            source="web",
            source_id=f"stay:{message_id}",
            message_id=message_id,
            enrollment_id=row.enrollment_id,
            cadence=row.cadence,
            step=row.step,
        )
        if record_event(connection, event, now=site.now()) is not None:
            wake_enrollments(connection, [row.lead_id], now=site.now())
        language: str | None = row.language
        return language
