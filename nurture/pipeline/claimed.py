"""What the stage `deliver` works with: messages that it claimed, its equipment, and what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nurture.delivery.servers import Server
from nurture.domain.clearance import HOLDS_BACK
from nurture.domain.reasons import Reason
from nurture.pipeline.material import Material
from nurture.pipeline.outgoing import LetterWriter
from nurture.pipeline.permits import Limits
from nurture.pipeline.rules import Rules
from nurture.store.decisions import NewDecision
from nurture.store.outbox import ClaimKey

A_NIGHT = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class DeliverReport:
    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    failed: int = 0
    canceled: int = 0
    unknown: int = 0


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A message of this process's, for one attempt."""

    row: Any
    epoch: int
    header: str
    server: str
    material: Material
    expires_at: datetime | None
    claimed_at: datetime
    starts_at: datetime | None
    """The moment that a rate deals it; None: any."""
    is_trying: bool = False
    """It is among the few that try a domain to which mail waited."""

    @property
    def claim(self) -> ClaimKey:
        return self.row.id, self.epoch


Held = Mapping[ClaimKey, Claimed]
"""What this process has under way, by `Claimed.claim`."""


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """What the files in force say of mail: who writes it, and over which servers it goes."""

    letters: LetterWriter
    servers: Mapping[str, Server]
    rules: Rules
    limits: Limits


def moved_along(row: Any, until: datetime, code: Reason, now: datetime) -> datetime | None:
    """A weekend, a hold or a pause is no time in which sending failed; a night is."""
    give_up_at: datetime | None = row.give_up_at
    if give_up_at is None:
        return None
    due_at: datetime = row.not_before
    if code in HOLDS_BACK:
        return give_up_at + (until - due_at)
    return give_up_at + (until - now) if until - now > A_NIGHT else give_up_at


def why_never(why: str, expires_at: datetime | None, code: Reason) -> dict[str, Any]:
    if code is Reason.SKIPPED_EXPIRED and expires_at is not None:
        return {"expired_at": expires_at.isoformat()}
    return {"why": why}


def decision(row: Any, code: Reason, now: datetime, detail: dict[str, Any]) -> list[NewDecision]:
    if row.lead_id is None:
        return []
    return [
        NewDecision(
            lead_id=row.lead_id,
            enrollment_id=row.enrollment_id,
            cadence=row.cadence,
            step=row.step,
            code=code,
            at=now,
            detail=detail,
        )
    ]
