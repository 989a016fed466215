"""What each message that is due depends on now, read for a whole claim at once; `domain.clearance` decides on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.calendar import Calendar
from nurture.domain.cadence import JUST_ASKED, Cadence, Email
from nurture.domain.clearance import Waiting
from nurture.domain.decide import A_MOMENT, Facts, exit_of, window_zone
from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import MessageKind
from nurture.domain.timing import caps_free_at, days_off, next_opening, shift, zone_of
from nurture.pipeline.gathering import Gathering
from nurture.pipeline.rules import Rules
from nurture.settings import Settings
from nurture.store.dates import date_values
from nurture.store.enrollments import load_enrollments, sends_besides
from nurture.store.suppressions import suppressed_among

StepOf = Callable[[Any], tuple[Cadence, Email] | None]
"""The step that a message row is of; None where its version has it no more."""


class LastLook:
    """Looks for one workspace."""

    def __init__(self, settings: Settings, calendar: Calendar) -> None:
        self._caps = settings.limits.per_lead
        self._calendar = calendar
        self._zone = ZoneInfo(settings.workspace.timezone)

    def waiting(
        self, connection: Connection, rows: Sequence[Any], step_of: StepOf, rules: Rules, now: datetime
    ) -> dict[int, Waiting]:
        """message row -> what it depends on."""
        seen = _enrollments(connection, rows, rules, now)
        keys = sorted({row.lead_email_key for row in rows if row.lead_email_key is not None})
        suppressed = suppressed_among(connection, keys)
        free = self._free_at(connection, rows, now)
        steps = {row.id: step_of(row) for row in rows if row.kind == MessageKind.STEP.value}
        expiries = self._expiries(connection, [row for row in rows if row.id in steps], steps)
        return {
            row.id: self._one(
                row,
                now,
                suppressed=suppressed.get(row.lead_email_key) if row.lead_email_key is not None else None,
                opens_at=self._opens_at(row, steps.get(row.id), now),
                free_at=free.get(row.id, now),
                expires_at=expiries.get(row.id),
                seen=seen.get(row.enrollment_id),
            )
            for row in rows
        }

    def zone(self, row: Any) -> ZoneInfo:
        """The lead's zone."""
        return zone_of(row.lead_timezone, row.lead_country, self._zone.key)

    def _one(
        self,
        row: Any,
        now: datetime,
        *,
        suppressed: str | None,
        opens_at: datetime | None,
        free_at: datetime,
        expires_at: datetime | None,
        seen: Facts | None,
    ) -> Waiting:
        consented = row.lead_consented_at is not None and (
            row.lead_consent_until is None or row.lead_consent_until > now
        )
        status = row.enrollment_status
        leaves = exit_of(seen) if seen is not None else None
        return Waiting(
            kind=MessageKind(row.kind),
            transactional=row.transactional is not None,
            just_asked=row.transactional in JUST_ASKED and row.event_id is not None,
            give_up_at=row.give_up_at,
            suppressed=suppressed,
            consented=consented,
            enrollment_status=EnrollmentStatus(status) if status is not None else None,
            is_awaited=row.awaited_message == row.id,
            is_resent=row.resent_at is not None,
            leaves=leaves.value if leaves is not None else None,
            hold_until=seen.held_until if seen is not None else row.lead_hold_until,
            opens_at=opens_at,
            free_at=free_at,
            expires_at=expires_at,
        )

    def _free_at(self, connection: Connection, rows: Sequence[Any], now: datetime) -> dict[int, datetime]:
        """When the frequency caps have room for the messages that waited so long that their place is gone."""
        caps = self._caps
        if not caps:
            return {}
        place_gone = now - min(cap.within for cap in caps)
        late = {row.id: row.lead_id for row in rows if row.created_at <= place_gone and _takes_a_place(row)}
        if not late:
            return {}
        sends = sends_besides(connection, late, since=now - max(cap.within for cap in caps), now=now)
        free: dict[int, datetime] = {}
        for message_id, lead_id in late.items():
            free[message_id], _ = caps_free_at(caps, sends[message_id], now)
            if free[message_id] <= now:  # it goes now, so that others of this lead's wait
                for other in (each for each, lead in late.items() if lead == lead_id and each != message_id):
                    sends[other].append(now)
        return free

    def _opens_at(self, row: Any, of: tuple[Cadence, Email] | None, now: datetime) -> datetime | None:
        window = (of[1].window or of[0].window) if of is not None else None
        if window is None or window.any_time:
            return now
        zone = window_zone(window, lead=self.zone(row), workspace=self._zone)
        return next_opening(window, now, zone=zone, is_holiday=self._calendar.is_holiday(row.lead_country))

    def _expiries(
        self, connection: Connection, rows: Sequence[Any], steps: Mapping[int, tuple[Cadence, Email] | None]
    ) -> dict[int, datetime]:
        """When the step's `expires` ends these messages; one whose date is missing does not end."""
        expiring = [(row, of) for row in rows if (of := steps[row.id]) is not None and of[1].expires is not None]
        fields = {of[1].expires.field for _, of in expiring if of[1].expires is not None}
        zones = {row.enrollment_id: self.zone(row) for row, _ in expiring if row.enrollment_id is not None}
        dates = date_values(connection, zones, fields) if zones else {}
        found = {}
        for row, (cadence, step) in expiring:
            moment = dates.get((row.enrollment_id, step.expires.field)) if step.expires is not None else None
            if moment is not None and step.expires is not None:
                is_holiday = days_off(cadence.window, self._calendar.is_holiday(row.lead_country))
                found[row.id] = shift(moment, step.expires.offset, zone=zones[row.enrollment_id], is_holiday=is_holiday)
        return found


def _enrollments(connection: Connection, rows: Sequence[Any], rules: Rules, now: datetime) -> dict[int, Facts]:
    """enrollment id -> its facts now, of messages that waited since `advance` decided them: exits act again."""
    ids = [
        row.enrollment_id
        for row in rows
        if row.enrollment_id is not None and row.resent_at is None and (row.attempt or row.created_at < now - A_MOMENT)
    ]
    if not ids:
        return {}
    gathering = Gathering(connection, rules, now)
    gathering.take(load_enrollments(connection, ids))
    return {walker.row.id: facts for walker, facts in gathering.facts(list(gathering.walkers.values()))}


def _takes_a_place(row: Any) -> bool:
    return row.kind == MessageKind.STEP.value and row.transactional is None and row.resent_at is None
