"""Leaving, and coming back. A GET or HEAD shows a page and changes nothing; a POST acts before it answers.

The page is the same whether the lead is known, unknown or erased, so that a link tells a stranger nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from nurture.content.tokens import Purpose
from nurture.store import tables as t
from nurture.store.unsubscribes import resubscribe, unsubscribe
from nurture.web.security import read_form
from nurture.web.site import Site, site_of
from nurture.web.tracking import read_id
from nurture.web.words import words_for

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The only field of an RFC 8058 POST (section 3.1)."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Whom an unsubscribe token speaks of; `lead_id` is None when there is nobody any more."""

    lead_id: int | None
    message_id: int | None = None
    language: str | None = None


async def preferences(request: Request) -> Response:
    """GET|POST /u/T"""
    site = site_of(request)
    payload = site.parts.tokens.read(Purpose.UNSUBSCRIBE, request.path_params["token"]) or ""
    row_id = read_id(payload[1:])
    if payload[:1] not in ("m", "l") or row_id is None:
        return site.notice(request, "not_found", status=404)
    if request.method != "POST":
        reader = await site.in_thread(_find, site, payload[0], row_id)
        return site.page("unsubscribe.html", language=site.language(request, reader.language))
    fields = await read_form(request)
    one_click = fields.get(ONE_CLICK[0]) == ONE_CLICK[1]
    back = fields.get("action") == "resubscribe" and not one_click
    reader = await site.in_thread(_come_back if back else _leave, site, payload[0], row_id, one_click)
    if one_click:
        return PlainTextResponse("You are unsubscribed.")
    language = site.language(request, reader.language)
    if not back:
        return site.page("unsubscribed.html", language=language)
    words = words_for(language)
    text = words["resubscribed_text"].format(workspace=site.parts.settings.workspace.name)
    return site.page("notice.html", language=language, title=words["resubscribed_title"], text=text, ticked=True)


def _find(site: Site, kind: str, row_id: int) -> Reader:
    with site.parts.database.reading() as connection:
        return _reader(connection, kind, row_id)


def _leave(site: Site, kind: str, row_id: int, one_click: bool) -> Reader:
    with site.parts.database.transaction() as connection:
        reader = _reader(connection, kind, row_id)
        if reader.lead_id is not None:
            source = "one-click" if one_click else "preferences page"
            unsubscribe(connection, reader.lead_id, message_id=reader.message_id, source=source, now=site.now())
    return reader


def _come_back(site: Site, kind: str, row_id: int, _one_click: bool) -> Reader:
    with site.parts.database.transaction() as connection:
        reader = _reader(connection, kind, row_id)
        if reader.lead_id is not None:
            text = words_for(reader.language or site.parts.settings.workspace.language)["undo_consent"]
            resubscribe(connection, reader.lead_id, text=text, source="preferences page", now=site.now())
    return reader


def _reader(connection: Connection, kind: str, row_id: int) -> Reader:
    message_id = row_id if kind == "m" else None
    lead_id = row_id
    if message_id is not None:
        lead_id = connection.scalar(select(t.message.c.lead_id).where(t.message.c.id == message_id)) or 0
    row = connection.execute(select(t.lead.c.id, t.lead.c.language).where(t.lead.c.id == lead_id)).one_or_none()
    if row is None:
        return Reader(lead_id=None)
    return Reader(lead_id=row.id, message_id=message_id, language=row.language)
