"""Stage 5: alerts and tasks reach a rep: routed, within business hours, as mail, and alerts over channels as well.

Answers are taken in `answers.py` and `task_answers.py`. An alert is told only while the event that raised it is still
a person's. Its mail and its posts are intents like any other, written in the same transaction, so that each goes out
once; `deliver` renders the one, `post` carries the others.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any

from sqlalchemy import Connection

from nurture.content.tokens import Tokens
from nurture.domain.alerts import AlertStatus
from nurture.domain.conditions import Vocabulary
from nurture.domain.event import Verdict
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.message import MessageKind
from nurture.domain.reasons import Reason
from nurture.notify.alert_posts import alert_post
from nurture.pipeline.desk_hours import DeskHours
from nurture.pipeline.roster import Roster, Routed
from nurture.pipeline.task_desk import TaskDesk
from nurture.settings import Settings
from nurture.store.alerts import Telling, alert_view, claim_due_alerts, due_anywhere, forget_due, postpone, tell
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.evidence import gather_evidence
from nurture.store.messages import NewMessage, queue_intents
from nurture.store.posts import queue_posts
from nurture.store.routing import own_leads, take_turn
from nurture.store.segments import Asking
from nurture.store.tasks import anything_to_tell

BATCH = 200
ROUNDS = 1000
EMAIL = "email"
LOOK_AGAIN = timedelta(minutes=1)
"""For an alert whose event was revised: `react` closes it. And for one that no rep can be found for."""


@dataclass(frozen=True, kw_only=True)
class HandOverReport:
    told: int = 0
    """Alerts and notices that were told."""
    unrouted: int = 0
    """Left waiting, because config.toml names no rep."""
    tasks_told: int = 0
    tasks_reminded: int = 0


def hand_over(
    *,
    database: Database,
    lifecycle: Lifecycle,
    settings: Settings,
    vocabulary: Vocabulary,
    tokens: Tokens,
    rng: random.Random,  # noqa: ARG001  every stage is called alike; turns are counted, not drawn
    now: datetime,
) -> HandOverReport:
    """Tell reps of all alerts and tasks that are due. Commits batch by batch."""
    total: Counter[str] = Counter()
    with database.reading() as connection:
        alerts = due_anywhere(connection, now=now)
        tasks = anything_to_tell(connection, list(settings.reps), now=now)
    desk = _Desk(lifecycle, settings, vocabulary, tokens, now)
    if alerts:
        _until_done(database, lambda connection, _: desk.hand_out(connection, total) or None)
    if tasks:
        _until_done(database, lambda connection, after: desk.hand_out_tasks(connection, total, after))
        _until_done(database, lambda connection, after: desk.tasks.remind(connection, total, after=after))
    return HandOverReport(**total)


def _until_done(database: Database, work: Callable[[Connection, int], int | None]) -> None:
    """Batch after batch, each in a transaction of its own; `work` gets what it returned last, and ends with None."""
    last = 0
    for _ in range(ROUNDS):
        with database.transaction() as connection:
            following = work(connection, last)
        if following is None:
            return
        last = following


class _Desk:
    """One pass at one moment."""

    def __init__(
        self, lifecycle: Lifecycle, settings: Settings, vocabulary: Vocabulary, tokens: Tokens, now: datetime
    ) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._vocabulary = vocabulary
        self._tokens = tokens
        self._now = now
        self._hours = DeskHours(lifecycle, settings, now)
        self.tasks = TaskDesk(settings, self._hours, now)
        self._asking = Asking.by(lifecycle.engagement, now=now)

    def hand_out(self, connection: Connection, total: Counter[str]) -> int:
        """One batch; how many alerts were looked at."""
        take_turn(connection)
        due = claim_due_alerts(connection, now=self._now, limit=BATCH)
        forget_due(connection, [row.id for row in due if not row.lead_email])
        doubtful = [row for row in due if row.lead_email and not _may_be_told(row)]
        postpone(connection, {row.id: self._now + LOOK_AGAIN for row in doubtful})
        telling = [row for row in due if row.lead_email and _may_be_told(row)]
        routed = self._routed(connection, telling)
        lost = [row for row in telling if row.id not in routed]
        later = {
            row.id: at
            for row in telling
            if row.id in routed and (at := self._hours.opening(routed[row.id].rep or None)) > self._now
        }
        postpone(connection, {row.id: self._now + LOOK_AGAIN for row in lost} | later)
        self._tell(connection, [row for row in telling if row.id in routed and row.id not in later], routed)
        total["told"] += len(telling) - len(lost) - len(later)
        total["unrouted"] += len(lost)
        return len(due)

    def hand_out_tasks(self, connection: Connection, total: Counter[str], after: int) -> int | None:
        """One batch of tasks, after those up to this one."""
        take_turn(connection)
        return self.tasks.hand_out(connection, self._roster(connection), total, after=after)

    def _routed(self, connection: Connection, rows: Sequence[Any]) -> dict[int, Routed]:
        """alert id -> its rep; one for a channel is nobody's, and whoever answers there says who it is."""
        shared = {row.id for row in rows if self._is_shared(row)}
        routed = self._roster(connection).route([row for row in rows if row.id not in shared])
        return routed | {alert_id: Routed(rep="", by="channel", owns=False) for alert_id in shared}

    def _is_shared(self, row: Any) -> bool:
        """A step named a room, and no rep has taken it up there: one who did, and snoozed it, is told alone."""
        return self._is_room(row.to) and not (row.told_count and row.rep in self._settings.reps)

    def _is_room(self, to: str) -> bool:
        return to in self._settings.alerts and to not in self._settings.reps

    def _roster(self, connection: Connection) -> Roster:
        return Roster(connection, self._settings, self._lifecycle, self._vocabulary, self._asking)

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
                    channel=self._channels(row)[0],
                )
                for row in rows
            ],
            now=self._now,
        )
        owners = {row.lead_id: routed[row.id].rep for row in rows if routed[row.id].owns}
        own_leads(connection, owners)
        mailed = [row for row in rows if EMAIL in self._channels(row)]
        queue_intents(connection, [self._mail(row, routed[row.id]) for row in mailed], now=self._now)
        self._post(connection, rows)
        record_decisions(connection, [self._decision(row, routed[row.id]) for row in rows])

    def _channels(self, row: Any) -> tuple[str, ...]:
        """Over what it is told, the first one first. A room that a step names is told alone; a notice is mail."""
        if self._is_shared(row):
            return (row.to,)
        if row.status == AlertStatus.NOTICE.value or self._is_room(row.to):
            return (EMAIL,)
        named = (EMAIL,) if row.to in self._settings.reps else ()
        known = [each for each in self._lifecycle.alert_channels if each == EMAIL or each in self._settings.alerts]
        return tuple(dict.fromkeys((*named, *known))) or (EMAIL,)

    def _post(self, connection: Connection, rows: Sequence[Any]) -> None:
        """What goes to channels, one after the other as the rows stand."""
        posts = []
        for row in rows:
            channels = [each for each in self._channels(row) if each != EMAIL]
            view = alert_view(connection, row.id) if channels else None
            if view is not None:
                key = f"alert:{row.id}{_again(row)}"
                posts += [
                    alert_post(view, channel, key=key, settings=self._settings, tokens=self._tokens)
                    for channel in channels
                ]
        queue_posts(connection, posts, now=self._now)

    def _mail(self, row: Any, routed: Routed) -> NewMessage:
        return NewMessage(
            intent_key=f"alert:{row.id}{_again(row)}",
            kind=MessageKind.ALERT,
            to_address=parseaddr(self._settings.reps[routed.rep].email)[1],
            sender=self._settings.sending.sender,
            lead_id=row.lead_id,
            payload={"alert": row.id},
        )

    def _decision(self, row: Any, routed: Routed) -> NewDecision:
        detail = {"rep": routed.rep or row.to, "rule": row.rule, "reason": "; ".join(row.reasons)}
        return NewDecision(lead_id=row.lead_id, code=Reason.ALERTED, at=self._now, detail=detail)


def _again(row: Any) -> str:
    """Numbers what it is told in, from the second time on."""
    return f":{row.told_count + 1}" if row.told_count else ""


def _may_be_told(row: Any) -> bool:
    """Whether what raised it is a person's still; one that was told before stays told."""
    return row.event_verdict in (None, Verdict.HUMAN.value) or row.told_count > 0
