"""Stage 5: alerts reach a rep: routed, within business hours, as mail. Answers are taken in `answers.py`.

An alert is told only while the event that raised it is still a person's. Its mail is an intent like any other, written
in the same transaction, so that it goes out once; `deliver` renders it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.calendar import Calendar
from nurture.content.tokens import Tokens
from nurture.domain.alerts import AlertStatus
from nurture.domain.conditions import Vocabulary
from nurture.domain.event import Verdict
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.message import MessageKind
from nurture.domain.reasons import Reason
from nurture.domain.timing import next_opening
from nurture.pipeline.roster import Roster, Routed
from nurture.settings import Settings
from nurture.store.alerts import Telling, claim_due_alerts, due_anywhere, forget_due, postpone, tell
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.evidence import gather_evidence
from nurture.store.messages import NewMessage, queue_intents
from nurture.store.routing import own_leads, take_turn
from nurture.store.segments import Asking

BATCH = 200
ROUNDS = 1000
LOOK_AGAIN = timedelta(minutes=1)
"""For an alert whose event was revised: `react` closes it. And for one that no rep can be found for."""


@dataclass(frozen=True, kw_only=True)
class HandOverReport:
    told: int = 0
    """Alerts and notices whose mail was queued."""
    unrouted: int = 0
    """Left waiting, because config.toml names no rep."""


def hand_over(
    *,
    database: Database,
    lifecycle: Lifecycle,
    settings: Settings,
    vocabulary: Vocabulary,
    tokens: Tokens,  # noqa: ARG001  every stage is called alike; links are signed when the mail is written
    rng: random.Random,  # noqa: ARG001  every stage is called alike; turns are counted, not drawn
    now: datetime,
) -> HandOverReport:
    """Tell reps of all alerts that are due. Commits batch by batch."""
    total: Counter[str] = Counter()
    with database.reading() as connection:
        if not due_anywhere(connection, now=now):
            return HandOverReport()
    desk = _Desk(lifecycle, settings, vocabulary, now)
    for _ in range(ROUNDS):
        with database.transaction() as connection:
            if not desk.hand_out(connection, total):
                break
    return HandOverReport(told=total["told"], unrouted=total["unrouted"])


class _Desk:
    """One pass at one moment."""

    def __init__(self, lifecycle: Lifecycle, settings: Settings, vocabulary: Vocabulary, now: datetime) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._vocabulary = vocabulary
        self._now = now
        self._zone = ZoneInfo(settings.workspace.timezone)
        self._calendar = Calendar(settings.holidays.extra, settings.workspace.country)
        engagement = lifecycle.engagement
        self._asking = Asking(now=now, half_life=engagement.half_life, engagement_cap=engagement.cap)

    def hand_out(self, connection: Connection, total: Counter[str]) -> int:
        """One batch; how many alerts were looked at."""
        take_turn(connection)
        due = claim_due_alerts(connection, now=self._now, limit=BATCH)
        forget_due(connection, [row.id for row in due if not row.lead_email])
        doubtful = [row for row in due if row.lead_email and not _may_be_told(row)]
        postpone(connection, {row.id: self._now + LOOK_AGAIN for row in doubtful})
        telling = [row for row in due if row.lead_email and _may_be_told(row)]
        roster = Roster(connection, self._settings, self._lifecycle, self._vocabulary, self._asking)
        routed = roster.route(telling)
        lost = [row for row in telling if row.id not in routed]
        later = {
            row.id: at for row in telling if row.id in routed and (at := self._opening(routed[row.id])) > self._now
        }
        postpone(connection, {row.id: self._now + LOOK_AGAIN for row in lost} | later)
        self._tell(connection, [row for row in telling if row.id in routed and row.id not in later], routed)
        total["told"] += len(telling) - len(lost) - len(later)
        total["unrouted"] += len(lost)
        return len(due)

    def _opening(self, routed: Routed) -> datetime:
        """When the rep's hours are open next; never is taken for always."""
        window = self._lifecycle.alert_hours
        if window.any_time:
            return self._now
        own = self._settings.reps[routed.rep].timezone
        match window.timezone:
            case "rep":
                zone = ZoneInfo(own) if own else self._zone
            case "lead" | "workspace":
                zone = self._zone
            case named:
                zone = ZoneInfo(named)
        opening = next_opening(window, self._now, zone=zone, is_holiday=self._calendar.is_holiday(None))
        return opening or self._now

    def _tell(self, connection: Connection, rows: Sequence[Any], routed: dict[int, Routed]) -> None:
        if not rows:
            return
        evidence = gather_evidence(connection, [row.lead_id for row in rows], self._asking)
        tell(
            connection,
            [
                Telling(
                    alert_id=row.id,
                    before=AlertStatus(row.status),
                    rep=routed[row.id].rep,
                    routed_by=routed[row.id].by,
                    evidence=evidence[row.lead_id],
                )
                for row in rows
            ],
            now=self._now,
        )
        owners = {row.lead_id: routed[row.id].rep for row in rows if routed[row.id].owns}
        own_leads(connection, owners)
        queue_intents(connection, [self._mail(row, routed[row.id]) for row in rows], now=self._now)
        record_decisions(connection, [self._decision(row, routed[row.id]) for row in rows])

    def _mail(self, row: Any, routed: Routed) -> NewMessage:
        again = f":{row.told_count + 1}" if row.told_count else ""
        return NewMessage(
            intent_key=f"alert:{row.id}{again}",
            kind=MessageKind.ALERT,
            to_address=parseaddr(self._settings.reps[routed.rep].email)[1],
            sender=self._settings.sending.sender,
            lead_id=row.lead_id,
            payload={"alert": row.id},
        )

    def _decision(self, row: Any, routed: Routed) -> NewDecision:
        detail = {"rep": routed.rep, "rule": row.rule, "reason": "; ".join(row.reasons)}
        return NewDecision(lead_id=row.lead_id, code=Reason.ALERTED, at=self._now, detail=detail)


def _may_be_told(row: Any) -> bool:
    """Whether what raised it is a person's still; one that was told before stays told."""
    return row.event_verdict in (None, Verdict.HUMAN.value) or row.told_count > 0
