"""Tasks reach a rep: routed as alerts are, within business hours, as mail; and once more when they are due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any

from sqlalchemy import Connection

from nurture.domain.message import MessageKind
from nurture.pipeline.desk_hours import DeskHours
from nurture.pipeline.roster import Roster, Routed
from nurture.settings import Settings
from nurture.store.messages import NewMessage, queue_intents
from nurture.store.routing import own_leads
from nurture.store.tasks import cancel_tasks, overdue_tasks, reminder_key, tell_tasks, untold_tasks

BATCH = 200


class TaskDesk:
    """One pass at one moment."""

    def __init__(self, settings: Settings, hours: DeskHours, now: datetime) -> None:
        self._settings = settings
        self._hours = hours
        self._now = now

    def hand_out(self, connection: Connection, roster: Roster, total: Counter[str], *, after: int) -> int | None:
        """Tell reps of one batch of tasks; the last one looked at, None after the last batch.

        One that no rep is found for, or whose rep's desk is closed, stays untold and is looked at again.
        """
        rows = untold_tasks(connection, after=after, limit=BATCH)
        if not rows:
            return None
        cancel_tasks(connection, [row.id for row in rows if not row.lead_email], now=self._now)
        telling = [row for row in rows if row.lead_email]
        routed = {
            task_id: found for task_id, found in roster.route_tasks(telling).items() if self._hours.is_open(found.rep)
        }
        going = [row for row in telling if row.id in routed]
        self._tell(connection, going, routed)
        total["tasks_told"] += len(going)
        return int(rows[-1].id)

    def _tell(self, connection: Connection, rows: Sequence[Any], routed: dict[int, Routed]) -> None:
        tell_tasks(connection, {row.id: routed[row.id].rep for row in rows}, now=self._now)
        own_leads(connection, {row.lead_id: routed[row.id].rep for row in rows if routed[row.id].owns})
        mails = [self._mail(row, routed[row.id].rep, f"task:{row.id}", f"task:{row.id}") for row in rows]
        queue_intents(connection, mails, now=self._now)

    def remind(self, connection: Connection, total: Counter[str], *, after: int) -> int | None:
        """As `hand_out`, for tasks that are due and not done: one mail each."""
        rows = overdue_tasks(connection, list(self._settings.reps), now=self._now, after=after, limit=BATCH)
        if not rows:
            return None
        due = [row for row in rows if self._hours.is_open(row.rep)]
        mails = [self._mail(row, row.rep, reminder_key(row.id), f"due:{row.id}") for row in due]
        queue_intents(connection, mails, now=self._now)
        total["tasks_reminded"] += len(due)
        return int(rows[-1].id)

    def _mail(self, row: Any, rep: str, intent_key: str, letter: str) -> NewMessage:
        return NewMessage(
            intent_key=intent_key,
            kind=MessageKind.ALERT,
            to_address=parseaddr(self._settings.reps[rep].email)[1],
            sender=self._settings.sending.sender,
            lead_id=row.lead_id,
            payload={"alert": letter},
        )
