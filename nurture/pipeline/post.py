"""A stage: what goes to channels is posted, signed, in each lead's order, until it is taken or given up.

A post is claimed under a lease, carried, and its outcome committed. Die between the two last and it is posted again
under the same id: at least once, and the receiver can tell. Two workers never try one post at the same time while its
lease holds. A channel that nobody answers on is left alone for a while, so that an outage costs a few tries, and the
other channels nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from nurture.domain.post import next_try
from nurture.notify.carrier import Carrier, Fate, PostReply
from nurture.notify.channels import Channel, post_request
from nurture.store.database import Database
from nurture.store.posts import claim_posts, deliver_post, due_channels, fail_post, retry_post

LEASE = timedelta(minutes=2)
AT_ONCE = 8
"""Posts under way to one channel; also how many an outage costs a try each."""
ROUNDS = 1000
ALONE_FIRST, ALONE_LONGEST = timedelta(seconds=5), timedelta(minutes=5)
"""How long a channel that nobody answers on is left alone: doubling, until somebody does."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class PostReport:
    posted: int = 0
    posts_deferred: int = 0
    posts_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Away:
    """A channel that nobody answered on, so many times in a row. Remembered by this process alone."""

    times: int
    until: datetime


@dataclass(frozen=True, kw_only=True)
class PostEquipment:
    """What the files in force say of channels. `id_key` keys the ids that receivers tell repeats apart by."""

    channels: Mapping[str, Channel]
    id_key: bytes = field(repr=False)


class Poster:
    """Posts what is due. One for the life of a process; its connections live as long as a pass."""

    def __init__(
        self,
        *,
        database: Database,
        equipment: PostEquipment,
        carrier: Carrier,
        clock: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._database = database
        self._equipment = equipment
        self._carrier = carrier
        self._clock = clock
        self._rng = rng
        self._draining = False
        self._away: dict[str, _Away] = {}

    def use(self, equipment: PostEquipment) -> None:
        """From the next claim on."""
        self._equipment = equipment

    def drain(self) -> None:
        """Claim nothing more; what is on its way is finished."""
        self._draining = True

    async def post(self) -> PostReport:
        """Post everything that is due, the channels side by side."""
        due = await asyncio.to_thread(self._due_channels)
        counts: Counter[str] = Counter()
        # whatever fails on one channel, the others finish what they have begun
        ended = await asyncio.gather(*(self._serve(channel, counts) for channel in due), return_exceptions=True)
        await self._carrier.close()
        for error in ended:
            if error is not None:
                raise error
        return PostReport(**counts)

    def _due_channels(self) -> list[str]:
        now = self._clock()
        with self._database.reading() as connection:
            due = due_channels(connection, now=now)
        return [name for name in due if name not in self._away or self._away[name].until <= now]

    async def _serve(self, name: str, counts: Counter[str]) -> None:
        """One channel's posts, a handful at a time, until none is left or nobody answers."""
        for _ in range(ROUNDS):
            if self._draining:
                return
            rows = await asyncio.to_thread(self._claim, name)
            if not rows:
                return
            replies = await asyncio.gather(*(self._carry(name, row) for row in rows))
            counts.update(await asyncio.to_thread(self._settle, list(zip(rows, replies, strict=True))))
            if all(reply.fate is Fate.AWAY for reply in replies):
                self._leave_alone(name, replies[0].text)
                return
            self._away.pop(name, None)

    def _claim(self, name: str) -> Sequence[Any]:
        now = self._clock()
        with self._database.transaction() as connection:
            return claim_posts(connection, name, now=now, lease_until=now + LEASE, limit=AT_ONCE)

    async def _carry(self, name: str, row: Any) -> PostReply:
        equipment = self._equipment
        channel = equipment.channels.get(name)
        if channel is None:
            return PostReply(fate=Fate.AWAY, text=f"there is no [alerts.{name}] in config.toml any more")
        if channel.problem:
            return PostReply(fate=Fate.AWAY, text=channel.problem)
        try:
            request = post_request(channel, row, id_key=equipment.id_key, now=self._clock())
        except (ValueError, TypeError) as error:
            # no later try would do better, and the posts behind it must not wait for ever
            return PostReply(fate=Fate.GONE, text=f"cannot be written as JSON: {error}"[:300])
        return await self._carrier.carry(request)

    def _settle(self, tried: Sequence[tuple[Any, PostReply]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        now = self._clock()
        with self._database.transaction() as connection:
            for row, reply in tried:
                at = self._next_try(row, reply, now)
                if reply.fate is Fate.TAKEN:
                    counts["posted"] += deliver_post(connection, row, reply=reply.text, now=now)
                elif at is None:
                    counts["posts_failed"] += fail_post(connection, row, reply=reply.text, now=now)
                    log.warning("post_failed", channel=row.channel, kind=row.kind, post=row.id, reply=reply.text)
                else:
                    counts["posts_deferred"] += retry_post(connection, row, at=at, reply=reply.text)
        return counts

    def _next_try(self, row: Any, reply: PostReply, now: datetime) -> datetime | None:
        if reply.fate is Fate.GONE:
            return None
        return next_try(now, attempt=row.attempt, chance=self._rng.random(), asked=reply.asked)

    def _leave_alone(self, name: str, why: str) -> None:
        """What else is due on this channel waits, and is not counted as tried."""
        times = self._away[name].times + 1 if name in self._away else 1
        alone = min(ALONE_FIRST * 2 ** min(times - 1, 10), ALONE_LONGEST)
        self._away[name] = _Away(times=times, until=self._clock() + alone)
        log.warning("channel_away", channel=name, reply=why)
