"""Opens, clicks and offers' files. A click leads only to the destination stored when the message was made."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from crawlerdetect import CrawlerDetect
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from nurture.content.tokens import Purpose
from nurture.domain.forms import Offer
from nurture.domain.verdict import HitKind
from nurture.store.hits import HONEYPOT_INDEX, RawHit, TrackingMode
from nurture.web.site import Site, site_of

log = logging.getLogger("nurture.web")
AGENT_AT_MOST = 400
ID_DIGITS = 18
"""Longer numbers are no row of ours, and would not fit the column."""
_PREFETCH_HEADERS = ("purpose", "sec-purpose", "x-purpose", "x-moz")
_PREFETCH_WORDS = ("prefetch", "prerender", "preview")
# A transparent GIF of one pixel, GIF89a (the smallest that every mail program takes).
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
_HONEYPOT_SUFFIX = "h"
_MODES: Mapping[str, TrackingMode] = {"a": "always", "c": "consent", "h": "hygiene", "n": "never"}


async def opened(request: Request) -> Response:
    """GET|HEAD /o/T.gif"""
    site = site_of(request)
    message_id, mode = read_tracked(site.parts.tokens.read(Purpose.OPEN, request.path_params["token"]))
    if message_id is None:
        return site.notice(request, "not_found", status=404)
    await site.recorder.record(_hit(site, request, HitKind.OPEN, message_id, mode=mode))
    return Response(PIXEL, media_type="image/gif")


async def clicked(request: Request) -> Response:
    """GET|HEAD /c/TOKEN-INDEX"""
    site = site_of(request)
    token, _, suffix = request.path_params["token"].rpartition("-")
    message_id, mode = read_tracked(site.parts.tokens.read(Purpose.CLICK, token))
    index = _link_index(suffix)
    if message_id is None or index is None:
        return site.notice(request, "not_found", status=404)
    recorded = await site.recorder.record(_hit(site, request, HitKind.CLICK, message_id, index, mode=mode))
    if recorded.destination is not None:
        return RedirectResponse(recorded.destination, status_code=302)
    # whoever takes the bait, or follows a link that was never made, is told the same
    return site.notice(request, "not_found", status=404)


async def offer(request: Request) -> Response:
    """GET|HEAD /m/T: the file, or a way to its address. A HEAD is answered and leaves no trace."""
    site = site_of(request)
    payload = site.parts.tokens.read(Purpose.OFFER, request.path_params["token"])
    lead, _, rest = (payload or "").partition("~")
    name, _, message = rest.rpartition("~")
    wanted = site.parts.offers.get(name)
    if read_id(lead) is None or wanted is None:
        return site.notice(request, "not_found", status=404)
    path = None if wanted.file is None else offer_path(site.parts.root, wanted.file)
    if wanted.url is None and path is None:
        log.error("offer %s: its file %s is missing", name, wanted.file)
        return site.notice(request, "not_found", status=404)
    message_id = read_id(message)
    if request.method == "GET" and _starts_a_download(request):
        await site.recorder.record(_download(site, request, int(lead), wanted, message_id))
    if path is None:
        return RedirectResponse(wanted.url or "/", status_code=302)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=media_type, filename=path.name)


def read_id(text: str | None) -> int | None:
    """A row's id out of a token's payload."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > ID_DIGITS:
        return None
    return int(text)


def read_tracked(payload: str | None) -> tuple[int | None, TrackingMode | None]:
    """The message that a tracked address speaks of, and its mode where its cadence has one of its own (`12~h`)."""
    message, tilde, letter = (payload or "").partition("~")
    if tilde and letter not in _MODES:
        return None, None
    return read_id(message), _MODES.get(letter)


def offer_path(root: Path, file: str) -> Path | None:
    """The offer's file, if it lies in the workspace and is there."""
    path = (root / file).resolve()
    return path if path.is_relative_to(root.resolve()) and path.is_file() else None


def _hit(
    site: Site,
    request: Request,
    kind: HitKind,
    message_id: int | None,
    index: int | None = None,
    *,
    mode: TrackingMode | None = None,
) -> RawHit:
    tracking = site.parts.settings.tracking
    agent = request.headers.get("user-agent", "")[:AGENT_AT_MOST]
    headers = {name: request.headers[name][:100] for name in _PREFETCH_HEADERS if name in request.headers}
    return RawHit(
        kind=kind,
        method=request.method,
        at=site.now(),
        message_id=message_id,
        mode=mode or (tracking.opens if kind is HitKind.OPEN else tracking.clicks),
        link_index=index,
        user_agent=agent,
        network_address=site.network_address(request),
        prefetch=any(word in value.lower() for value in headers.values() for word in _PREFETCH_WORDS),
        crawler=is_crawler(agent),
        headers=headers,
    )


def _download(site: Site, request: Request, lead_id: int, wanted: Offer, message_id: int | None) -> RawHit:
    """Taking what one asked for is no reading of mail, so it is recorded whatever the tracking of mail says."""
    hit = _hit(site, request, HitKind.DOWNLOAD, message_id)
    return replace(hit, offer=wanted.name, lead_id=lead_id, mode="always")


def _starts_a_download(request: Request) -> bool:
    """Readers of PDF fetch the rest of a file in ranges; only its beginning is a download."""
    asked = request.headers.get("range")
    return asked is None or asked.replace(" ", "").startswith("bytes=0-")


def _link_index(suffix: str) -> int | None:
    if suffix == _HONEYPOT_SUFFIX:
        return HONEYPOT_INDEX
    return int(suffix) if suffix.isascii() and suffix.isdigit() and len(suffix) <= 4 else None


@lru_cache(maxsize=4096)
def is_crawler(agent: str) -> bool:
    """What a public list of crawlers says of a user agent."""
    # the first look at an agent runs a thousand patterns; readers share few of them
    return bool(CrawlerDetect().isCrawler(agent)) if agent else False
