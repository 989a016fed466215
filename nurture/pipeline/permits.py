"""Which of the messages that may go may go now: limits of servers, senders and recipient domains (spec 6.3).

All of them are asked in the transaction that claims, under locks that workers on every host share, so that the sum of
what they send is within the limits, whoever dies or starts meanwhile.

- a rate (of a server, of a domain) deals out moments, evenly apart; a message waits for its own
- connections to a domain are messages that are claimed for it: as many as there is room for, the rest stays due
- a sender's day ends at midnight of the workspace; its warm-up grows with each day since its first mail
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.domain.limits import allowance, free_after
from nurture.domain.message import MessageKind
from nurture.domain.timing import from_local
from nurture.settings import Settings
from nurture.store.limits import first_sent_at, lock_allowances, sent_since, take_until, under_way_to

AHEAD = timedelta(seconds=1)
"""A message whose moment is further off is not claimed yet: it may still be called off, or go by another worker."""


@dataclass(kw_only=True)
class Permits:
    """For the messages of one claim: when each may start, or until when it may not and by which limit."""

    starts: dict[int, datetime] = field(default_factory=dict)
    barred: dict[int, tuple[datetime, str]] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    """No room now, and some as soon as another message is done: they stay as they are."""


class Limits:
    """Those of one workspace's files."""

    def __init__(self, settings: Settings) -> None:
        self._senders = settings.senders
        self._zone = ZoneInfo(settings.workspace.timezone)
        self._rates = {f"rate:server:{name}": each.rate for name, each in settings.servers.items() if each.rate}
        self._rates |= {f"rate:domain:{name}": each.rate for name, each in settings.domains.items() if each.rate}
        self._slots = {name: each.connections for name, each in settings.domains.items() if each.connections}
        self._counted = {
            name for name, each in settings.senders.items() if each.daily is not None or each.warm_up is not None
        }

    @property
    def may_bind(self) -> bool:
        """Whether there may be more mail than room."""
        return bool(self._counted or self._rates or self._slots)

    def under_way(self, connection: Connection) -> Counter[str]:
        """Messages under way to each domain whose connections are limited; locks their slots till the commit."""
        if not self._slots:
            return Counter()
        lock_allowances(connection, [f"slots:{domain}" for domain in self._slots])
        return under_way_to(connection, self._slots)

    def full(self, busy: Counter[str]) -> list[str]:
        """The domains to which as many are under way as may be."""
        return sorted(domain for domain, most in self._slots.items() if busy[domain] >= most)

    def admit(
        self,
        connection: Connection,
        rows: Sequence[Any],
        *,
        busy: Counter[str],
        server_of: Callable[[Any], str],
        now: datetime,
        patiently: bool,
    ) -> Permits:
        """In the order of `rows`. `busy`: what is `under_way`; `patiently`: however far off a message's moment is."""
        permits = Permits()
        going = self._within_a_day(connection, rows, permits, now)
        going = self._with_a_slot(going, busy, permits)
        self._pace(connection, going, permits, server_of, now, patiently=patiently)
        return permits

    # --- a sender's day

    def _within_a_day(self, connection: Connection, rows: Sequence[Any], permits: Permits, now: datetime) -> list[Any]:
        """What somebody just asked for, and alerts, are counted and never kept."""
        counted = sorted({row.sender for row in rows} & self._counted)
        if not counted:
            return list(rows)
        lock_allowances(connection, [f"day:{sender}" for sender in counted])
        today = now.astimezone(self._zone).date()
        begins = from_local(today, time(0), self._zone)
        ends = from_local(today + timedelta(days=1), time(0), self._zone)
        room, said = {}, {}
        for sender in counted:
            most = self._allowance(connection, sender, today)
            if most is not None:
                room[sender] = most - sent_since(connection, sender, begins)
                said[sender] = f"{sender}: {most} a day"
        going = []
        for row in rows:
            if row.sender in room:
                if room[row.sender] <= 0 and not _is_asked_for(row):
                    permits.barred[row.id] = (ends, said[row.sender])
                    continue
                room[row.sender] -= 1
            going.append(row)
        return going

    def _allowance(self, connection: Connection, sender: str, today: Any) -> int | None:
        settings = self._senders[sender]
        warm_up = settings.warm_up
        if warm_up is None:
            return settings.daily
        first = first_sent_at(connection, sender)
        day = (today - first.astimezone(self._zone).date()).days if first is not None else 0
        return allowance(daily=settings.daily, start=warm_up.start, growth=warm_up.growth, day=max(0, day))

    # --- connections to a domain

    def _with_a_slot(self, rows: Sequence[Any], under_way: Counter[str], permits: Permits) -> list[Any]:
        busy = under_way.copy()
        going = []
        for row in rows:
            most = self._slots.get(row.recipient_domain)
            if most is not None:
                if busy[row.recipient_domain] >= most:
                    permits.left.add(row.id)
                    continue
                busy[row.recipient_domain] += 1
            going.append(row)
        return going

    # --- rates

    def _pace(
        self,
        connection: Connection,
        rows: Sequence[Any],
        permits: Permits,
        server_of: Callable[[Any], str],
        now: datetime,
        *,
        patiently: bool,
    ) -> None:
        """One after the other: a message starts when all its rates let it, and each is then busy for its share of time.

        One whose moment is far off is not claimed; it takes nothing of a rate that would let it go before.
        """
        keys_of = {row.id: self._rates_of(row, server_of) for row in rows}
        free = {
            key: moment if moment is not None and moment > now else now
            for key, moment in lock_allowances(connection, set(chain(*keys_of.values()))).items()
        }
        taken: dict[str, datetime] = {}
        for row in (each for each in rows if keys_of[each.id]):
            keys = keys_of[row.id]
            start = max(free[key] for key in keys)
            if patiently or start <= now + AHEAD:
                permits.starts[row.id] = start
                for key in keys:
                    taken[key] = free[key] = free_after(start, rate=self._rates[key])
            else:
                permits.barred[row.id] = (start, "as many as may go at a time")
                for key in (each for each in keys if free[each] == start):
                    free[key] = free_after(start, rate=self._rates[key])
        take_until(connection, taken)

    def deal(self, connection: Connection, row: Any, server_of: Callable[[Any], str], now: datetime) -> datetime:
        """Another moment for a message that missed its own."""
        permits = Permits()
        self._pace(connection, [row], permits, server_of, now, patiently=True)
        return permits.starts.get(row.id, now)

    def _rates_of(self, row: Any, server_of: Callable[[Any], str]) -> list[str]:
        keys = (f"rate:server:{server_of(row)}", f"rate:domain:{row.recipient_domain}")
        return [key for key in keys if key in self._rates]


def _is_asked_for(row: Any) -> bool:
    return row.kind != MessageKind.STEP.value or row.transactional is not None
