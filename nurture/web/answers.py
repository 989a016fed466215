"""A rep's page for one alert. The link's token is the authority; a GET only shows, a POST answers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from nurture.content.tokens import Purpose
from nurture.web.site import site_of
from nurture.web.tracking import read_id


async def answer(request: Request) -> Response:
    """GET|POST /a/T"""
    site = site_of(request)
    alert_id = read_id(site.parts.tokens.read(Purpose.ALERT, request.path_params["token"]))
    return site.notice(request, "not_found", status=404 if alert_id is None else 404)
