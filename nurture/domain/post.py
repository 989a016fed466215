"""A post is one message to a channel (a webhook, a chat room) on its way out; its states, and when it is tried again.

It goes at least once: a process that dies between the post and its commit posts again, under the same id, by which the
receiver tells repeats apart.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class PostStatus(StrEnum):
    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


# from -> the states it may go to; a status is assigned nowhere but through a write guarded by the "from" side.
TRANSITIONS: dict[PostStatus, frozenset[PostStatus]] = {
    PostStatus.QUEUED: frozenset({PostStatus.DELIVERED, PostStatus.FAILED}),
    PostStatus.DELIVERED: frozenset(),
    PostStatus.FAILED: frozenset(),
}

RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""How long after each try the next one is due: three days and three hours in all (Standard Webhooks, "Retries")."""
JITTER = 0.2
"""The share of a delay by which chance lengthens it at most, or the retries of an outage come back in step."""
LONGEST_ASKED = timedelta(hours=24)


def next_try(now: datetime, *, attempt: int, chance: float, asked: timedelta | None = None) -> datetime | None:
    """When a post that was not taken is tried again; None where it has failed.

    `attempt` counts the tries so far, from 1; `chance` is in [0, 1). `asked` is what the receiver said (`Retry-After`),
    which is waited for where it is longer, a day at most.
    """
    if attempt > len(RETRIES):
        return None
    delay = RETRIES[attempt - 1] * (1 + JITTER * chance)
    return now + max(delay, min(asked or timedelta(0), LONGEST_ASKED))
