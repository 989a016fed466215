"""The demonstration: some weeks of a small company on a virtual clock, through the real daemon's parts.

The stages, the database, SMTP and the public listener are the real ones. Time is moved by hand, and what people would
do (readers, scanners, sales reps) is played by `readers.py` and `sales.py` over real HTTP, from nothing but their mail.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import select

from nurture.engines.stages import Stages
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.mailbox import Mailbox, Received
from nurture.rehearsal.readers import Act, Letter, Readers
from nurture.rehearsal.sales import Reps
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event

STEP = timedelta(hours=1)
WAKING_HOURS = range(7, 20)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who plays."""

    readers: Readers
    reps: Reps


class Story:
    """Moves time hour by hour over working days; between two passes, people act at their own moments."""

    def __init__(
        self,
        *,
        stages: Stages,
        database: Database,
        clock: VirtualClock,
        mailbox: Mailbox,
        cast: Cast,
        zone: ZoneInfo,
    ) -> None:
        self._stages = stages
        self._database = database
        self._clock = clock
        self._mailbox = mailbox
        self._cast = cast
        self._zone = zone
        self._ahead: list[tuple[datetime, int, Act]] = []
        self._order = itertools.count()
        self._read_up_to = 0

    async def play(self, *, until: datetime, progress: Callable[[datetime], None]) -> None:
        """From the clock's time to `until`."""
        for moment in self._moments(until):
            await self._act_until(moment)
            self._clock.move_to(moment)
            await self._stages.once()
            self._read_mail()
            progress(moment)
        await self._act_until(until)
        self._clock.move_to(until)
        await self._stages.once()

    def _moments(self, until: datetime) -> Iterator[datetime]:
        """When the daemon's passes matter: the waking hours of weekdays."""
        moment = self._clock()
        while moment < until:
            local = moment.astimezone(self._zone)
            if local.isoweekday() <= 5 and local.hour in WAKING_HOURS:
                yield moment
            moment += STEP

    def _read_mail(self) -> None:
        """New mail is read by whom it is for; what they will do of it is put ahead."""
        new = self._mailbox.received[self._read_up_to :]
        self._read_up_to += len(new)
        for received in new:
            letter = _letter(received)
            acts = self._cast.reps.read(letter) if self._cast.reps.knows(letter.to) else self._cast.readers.read(letter)
            for act in acts:
                heapq.heappush(self._ahead, (act.at, next(self._order), act))

    async def _act_until(self, moment: datetime) -> None:
        while self._ahead and self._ahead[0][0] <= moment:
            at, _, act = heapq.heappop(self._ahead)
            self._clock.move_to(at)
            if act.kind == "fact":
                await asyncio.to_thread(self._tell, act)
            else:
                await asyncio.to_thread(_request, act)

    def _tell(self, act: Act) -> None:
        """What the website or the CRM reports of a lead."""
        with self._database.transaction() as connection:
            lead_id = connection.scalar(select(t.lead.c.id).where(t.lead.c.email_key == act.who))
            if lead_id is None:
                return
            event = NewEvent(
                lead_id=lead_id,
                kind=act.fact,
                at=act.at,
                source="demo",
                source_id=f"{act.who}:{act.fact}:{act.at.isoformat()}",
                path=act.path or None,
            )
            record_event(connection, event, now=act.at)


def _letter(received: Received) -> Letter:
    header = received.message["List-Unsubscribe"]
    return Letter(
        to=received.to,
        subject=received.subject,
        html=received.body("html"),
        list_unsubscribe=str(header).strip("<>") if header else None,
        at=received.at,
    )


def _request(act: Act) -> None:
    """One request as a browser, a mail program or a scanner makes it; the answer is of no interest here."""
    url = urlsplit(act.url)
    connection = HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=10)
    headers = {"User-Agent": act.user_agent}
    if act.network_address:
        headers["X-Forwarded-For"] = act.network_address
    method, body = {"get": "GET", "head": "HEAD"}.get(act.kind, "POST"), None
    if act.kind == "one_click":
        body = "List-Unsubscribe=One-Click"
    elif act.kind == "answer":
        body = urlencode(act.form)
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, url.path + (f"?{url.query}" if url.query else ""), body=body, headers=headers)
        connection.getresponse().read()
    except (OSError, HTTPException):
        return  # a reader whose link failed tries no further
    finally:
        connection.close()
