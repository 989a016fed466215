"""The outermost layer: headers on every answer, an access line without persons in it, no traceback for anyone."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable

from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nurture.domain.problem import Problem

log = logging.getLogger("nurture.web")
access = logging.getLogger("nurture.web.access")
DATABASE_AWAY = (OperationalError, InterfaceError, TimeoutError)
_TOKEN = re.compile(r"^/([a-z])/[^/]{12,}")

# No script anywhere, style from one file of ours; a page can't be framed, and can't send its form elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """`notice(request, key, status)` makes the plain page of an error."""

    def __init__(self, app: ASGIApp, notice: Callable[..., Response]) -> None:
        self._app = app
        self._notice = notice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            if status:
                raise  # the answer has begun; the server ends the connection
            await self._answer(scope, receive, error)(scope, receive, send_guarded)
        finally:
            access.info("%s %s %s", scope["method"], masked(scope["path"]), status)

    def _answer(self, scope: Scope, receive: Receive, error: Exception) -> Response:
        request = Request(scope, receive)
        if isinstance(error, DATABASE_AWAY):
            log.error("%s %s: the database is away: %s", scope["method"], masked(scope["path"]), type(error).__name__)
            return self._notice(request, "unavailable", status=503, headers={"retry-after": "30"})
        number = hashlib.sha256(f"{id(error)}:{scope['path']}".encode()).hexdigest()[:10]
        told = str(error) if isinstance(error, Problem) else ""
        log.error("error %s: %s %s %s", number, scope["method"], masked(scope["path"]), told, exc_info=error)
        return self._notice(request, "error", status=500, hint=number)


def masked(path: str) -> str:
    """A path without the token that stands in it; whoever reads the log can't act for a lead."""
    return _TOKEN.sub(r"/\1/…", path)[:200]
