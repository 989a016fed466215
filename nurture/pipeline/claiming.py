"""The first commit of `deliver`: of the messages that are due some are this worker's now, and some are kept back.

What keeps one back is asked in turn: what the last look says of it and its lead, a pause of its recipient's domain, a
limit. Each is told once, when it begins, as a decision.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nurture.domain.clearance import Go, Never, NotNow, Waiting, clear
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason
from nurture.pipeline.claimed import Claimed, Equipment, decision, moved_along, why_never
from nurture.pipeline.domains import Domains, Gate, held_by
from nurture.pipeline.permits import Permits
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.due_mail import due_messages
from nurture.store.outbox import Lease, claim, give_up, postpone, tell_blocks


@dataclass(frozen=True, kw_only=True)
class ClaimReport:
    """What became of the messages that were looked at."""

    claimed: list[Claimed] = field(default_factory=list)
    given_up: Counter[str] = field(default_factory=Counter)
    """status -> messages that never go"""
    looked_at: int = 0


def claim_messages(
    connection: Connection,
    equipment: Equipment,
    domains: Domains,
    lease: Lease,
    *,
    now: datetime,
    due_by: datetime | None,
    limit: int,
    busy_servers: Collection[str] = (),
) -> ClaimReport:
    """Of at most `limit` messages those that may go now, claimed; with `due_by` what is due by then, whenever its rate
    deals it. Nothing for `busy_servers`. The transaction is the caller's.
    """
    letters, limits = equipment.letters, equipment.limits
    busy = limits.under_way(connection)
    rows = due_messages(
        connection,
        now=due_by or now,
        limit=limit,
        besides=limits.full(busy),
        closed=domains.look(connection, now),
        senders=letters.senders_besides(busy_servers) if busy_servers else None,
        is_scarce=limits.may_bind,
    )
    if not rows:
        return ClaimReport()
    letters.prepare(connection, rows)
    waiting = letters.waiting(connection, rows, equipment.rules, now)
    sieve = _Sieve(rows, now)
    sieve.clear(waiting)
    gate = domains.gate(list(sieve.going.values()), now)
    sieve.shut(gate, waiting)
    permits = limits.admit(
        connection,
        list(sieve.going.values()),
        busy=busy,
        server_of=letters.server_of,
        now=now,
        patiently=due_by is not None,
    )
    sieve.limit(permits)
    sieve.write(connection)
    going = sieve.going
    materials = letters.gather(connection, list(going.values()))
    headers = {row_id: row.message_id or letters.message_id(row) for row_id, row in going.items()}
    taken = set(claim(connection, headers, lease))
    claimed = [
        Claimed(
            row=row,
            epoch=row.lease_epoch + 1,
            header=headers[row_id],
            server=letters.server_of(row),
            material=materials[row_id],
            expires_at=waiting[row_id].expires_at,
            claimed_at=now,
            starts_at=permits.starts.get(row_id),
            is_trying=row_id in gate.trying,
        )
        for row_id, row in going.items()
        if row_id in taken
    ]
    return ClaimReport(claimed=claimed, given_up=sieve.given_up, looked_at=len(rows))


class _Sieve:
    """Rows fall out of `going` one reason after the other; what that changes is written at the end."""

    def __init__(self, rows: Sequence[Any], now: datetime) -> None:
        self.going: dict[int, Any] = {row.id: row for row in rows}
        self._now = now
        self._moments: dict[int, tuple[datetime, datetime | None]] = {}
        self._blocks: dict[int, str | None] = {}
        self._over: dict[tuple[MessageStatus, str], list[int]] = defaultdict(list)
        self._decisions: list[NewDecision] = []

    @property
    def given_up(self) -> Counter[str]:
        return Counter({status.value: len(ids) for (status, _), ids in self._over.items()})

    def clear(self, waiting: Mapping[int, Waiting]) -> None:
        """By the last look at each and at its lead."""
        for row in list(self.going.values()):
            match clear(waiting[row.id], self._now):
                case Go():
                    pass
                case NotNow(until=until, code=code):
                    give_up_at = moved_along(row, until, code, self._now)
                    self._keep_back(row.id, until, give_up_at, code, {})
                case Never(code=code, why=why) as never:
                    del self.going[row.id]
                    self._over[(never.status, why)].append(row.id)
                    self._decide(row, code, why_never(why, waiting[row.id].expires_at, code))

    def shut(self, gate: Gate, waiting: Mapping[int, Waiting]) -> None:
        """By pauses of recipients' domains."""
        for row_id, pause in gate.barred.items():
            until, give_up_at = held_by(pause, self.going[row_id], waiting[row_id].expires_at)
            why = {"why": str(pause), "until": pause.until.isoformat()}
            self._keep_back(row_id, until, give_up_at, Reason.PAUSED, why)
        self._leave(gate.left)

    def limit(self, permits: Permits) -> None:
        """By limits of servers, senders and domains."""
        for row_id, (until, limit) in permits.barred.items():
            give_up_at = moved_along(self.going[row_id], until, Reason.LIMITED, self._now)
            self._keep_back(row_id, until, give_up_at, Reason.LIMITED, {"limit": limit})
        self._leave(permits.left)

    def write(self, connection: Connection) -> None:
        self._blocks |= {row.id: None for row in self.going.values() if row.blocked_by is not None}
        for (status, why), ids in self._over.items():
            give_up(connection, ids, status, why=why, now=self._now)
        postpone(connection, self._moments)
        tell_blocks(connection, self._blocks)
        record_decisions(connection, self._decisions)

    def _keep_back(
        self, row_id: int, until: datetime, give_up_at: datetime | None, code: Reason, detail: dict[str, Any]
    ) -> None:
        row = self.going.pop(row_id)
        self._moments[row_id] = (until, give_up_at)
        if row.blocked_by != code.value:  # told once, not at every look
            self._blocks[row_id] = code.value
            self._decide(row, code, {"until": until.isoformat(), **detail})

    def _leave(self, ids: Collection[int]) -> None:
        """They stay due: there is room as soon as another is done."""
        for row_id in ids:
            del self.going[row_id]

    def _decide(self, row: Any, code: Reason, detail: dict[str, Any]) -> None:
        self._decisions += decision(row, code, self._now, detail)
