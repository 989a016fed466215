"""The private listener: what operators and their Prometheus ask of one process. It shows no person.

It answers on the loopback alone (`settings.py` refuses any other address): nobody has to log in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import anyio
import anyio.to_thread
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from nurture.pipeline.counters import Counters
from nurture.store.database import Database
from nurture.store.gauges import Gauges, read_gauges
from nurture.web.guard import DATABASE_AWAY, Guard
from nurture.web.metrics import exposition


@dataclass(frozen=True, kw_only=True)
class PrivateParts:
    """What the private listener is made of; `counters` are those of this process."""

    database: Database
    clock: Callable[[], datetime]
    counters: Counters


def private_app(parts: PrivateParts) -> Starlette:
    """The application, ready for a server. It opens nothing by itself; the parts are the caller's to close."""
    # scrapes stand in line behind each other, never in the way of the stages' own threads
    one_at_a_time = anyio.CapacityLimiter(1)

    async def metrics(_request: Request) -> Response:
        gauges = await anyio.to_thread.run_sync(_gauges, parts, limiter=one_at_a_time)
        return Response(exposition(parts.counters.read(), gauges), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return Starlette(
        routes=[Route("/metrics", metrics, methods=["GET"]), Route("/healthz", _healthy, methods=["GET"])],
        middleware=[Middleware(Guard, notice=_notice)],
        exception_handlers={HTTPException: _refused},
    )


async def _healthy(_request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


def _gauges(parts: PrivateParts) -> Gauges | None:
    """None where the database does not answer: what the process counted is told all the same."""
    try:
        with parts.database.reading() as connection:
            return read_gauges(connection, now=parts.clock())
    except DATABASE_AWAY:
        return None


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", status_code=error.status_code, headers=error.headers)


def _notice(
    _request: Request, key: str, *, status: int, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    return PlainTextResponse(f"{' '.join((key, hint)).strip()}\n", status_code=status, headers=dict(headers or {}))
