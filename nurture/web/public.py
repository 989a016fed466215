"""The public listener: every route that a reader, a visitor of a form or a rep reaches (formats.md names them)."""

from __future__ import annotations

from sqlalchemy import text
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from nurture.web.answers import answer
from nurture.web.assets import asset
from nurture.web.forms import double_opt_in, hosted_form
from nurture.web.guard import DATABASE_AWAY, Guard
from nurture.web.mail_pages import mail_in_browser, stay
from nurture.web.preferences import preferences
from nurture.web.rep_page import rep_page
from nurture.web.site import PublicParts, Site, site_of
from nurture.web.tracking import clicked, offer, opened

__all__ = ["PublicParts", "public_app"]

_NOTICES = {400: "bad_request", 404: "not_found", 405: "not_found", 413: "too_large", 429: "too_many"}
_A_YEAR = "public, max-age=31536000, immutable"


def public_app(parts: PublicParts) -> Starlette:
    """The application, ready for a server. It opens nothing by itself; the parts are the caller's to close."""
    site = Site(parts)
    app = Starlette(
        routes=[
            Route("/o/{token}.gif", opened, methods=["GET"]),
            Route("/c/{token}", clicked, methods=["GET"]),
            Route("/u/{token}", preferences, methods=["GET", "POST"]),
            Route("/f/{name}", hosted_form, methods=["GET", "POST"]),
            Route("/d/{token}", double_opt_in, methods=["GET", "POST"]),
            Route("/m/{token}", offer, methods=["GET"]),
            Route("/a/{token}", answer, methods=["GET", "POST"]),
            Route("/r/{token}", rep_page, methods=["GET", "POST"]),
            Route("/w/{token}", mail_in_browser, methods=["GET"]),
            Route("/k/{token}", stay, methods=["GET", "POST"]),
            Route(site.style_path, _style, methods=["GET"]),
            Route("/s/{digest}/{name}", asset, methods=["GET"]),
            Route("/s/{digest}/{folder}/{name:path}", asset, methods=["GET"]),
            Route("/healthz", _healthy, methods=["GET"]),
            Route("/readyz", _ready, methods=["GET"]),
        ],
        middleware=[Middleware(Guard, notice=site.notice)],
        exception_handlers={HTTPException: _notice},
    )
    app.state.site = site
    return app


async def _notice(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return site_of(request).notice(request, _NOTICES.get(status, "bad_request"), status=status, headers=headers)


async def _style(request: Request) -> Response:
    return Response(site_of(request).style, media_type="text/css", headers={"cache-control": _A_YEAR})


async def _healthy(_request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


async def _ready(request: Request) -> Response:
    """The process can do its work: the database answers."""
    site = site_of(request)
    try:
        await site.in_thread(_ask_database, site)
    except DATABASE_AWAY:
        return PlainTextResponse("the database does not answer", status_code=503, headers={"retry-after": "5"})
    return PlainTextResponse("ready")


def _ask_database(site: Site) -> None:
    with site.parts.database.reading() as connection:
        connection.execute(text("SELECT 1"))
