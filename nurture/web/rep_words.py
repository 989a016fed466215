"""What the pages for reps share: names and times as the rep reads them, and the ways from page to page."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from starlette.requests import Request

from nurture.content.tokens import Purpose
from nurture.domain.rep_link import RepLink, read_rep_link, way_in
from nurture.web.site import Site

LANGUAGE = "en"


def rep_name(site: Site, name: str | None) -> str:
    rep = site.parts.settings.reps.get(name) if name else None
    return rep.name if rep is not None else name or "nobody yet"


def rep_zone(site: Site, name: str) -> ZoneInfo:
    rep = site.parts.settings.reps.get(name)
    return ZoneInfo((rep.timezone if rep is not None else None) or site.parts.settings.workspace.timezone)


def say_at(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%a %d %b, %H:%M")


def say_iso(text: str, zone: ZoneInfo) -> str:
    return say_at(datetime.fromisoformat(text), zone)


def good_link(site: Site, token: str) -> RepLink | None:
    """The link of a rep's own page, while it holds and the rep is there."""
    link = read_rep_link(site.parts.tokens.read(Purpose.REP, token))
    if link is None or not link.is_good(site.now()) or link.rep not in site.parts.settings.reps:
        return None
    return link


def way_to_list(site: Site, request: Request, rep: str) -> tuple[str, str]:
    """(address, label): back to the list that led here, or to the page that mails a link to it; ("", "") for nobody."""
    token = request.query_params.get("list", "")
    if good_link(site, token) is not None:
        return f"/r/{token}", "Back to your list"
    if rep not in site.parts.settings.reps:
        return "", ""
    return f"/r/{site.parts.tokens.sign(Purpose.REP, way_in(rep).payload)}", "All your open alerts and tasks"
