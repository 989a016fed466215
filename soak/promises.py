"""What must hold of a day's mail and of everybody under way, checked by rules that share no code with the engine.

No mail outside of its window, over a cap, to who is suppressed, without consent, after its enrollment's end, or twice;
and whoever is under way has a next date, awaits a message, or is paused behind another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays
from sqlalchemy import text

from nurture.rehearsal.transport import InMemoryServer
from nurture.store.database import Database

CAPS = ((1, timedelta(days=1)), (3, timedelta(days=7)), (8, timedelta(days=30)))
WEEKDAYS, EVERY_DAY = frozenset(range(1, 6)), frozenset(range(1, 8))
OFFICE = (WEEKDAYS, time(9), time(17), True)
WINDOWS = {
    ("welcome", "again"): (frozenset({2, 3, 4}), time(9), time(17), True),
    ("trial", "over"): (EVERY_DAY, time(22), time(6), True),
    ("webinar", "after"): (EVERY_DAY, time(7), time(21), False),
    ("webinar", "day-before"): None,
}
"""(cadence, step) -> (days, from, to, closed on holidays); the others are OFFICE, and None is any time."""
COUNTRY_ZONES = {"DE": "Europe/Berlin", "US": "America/New_York", "JP": "Asia/Tokyo", "FR": "Europe/Paris"}
COUNTRY_ZONES["GB"] = "Europe/London"
SENT = """
SELECT m.id, m.lead_id, m.cadence, m.step, m.visit, m.enrollment_id, m.transactional, m.sent_at, l.timezone, l.country,
       l.consent_until, e.ended_at, e.status,
       (SELECT min(s.at) FROM suppression s WHERE s.address_key = l.email_key AND s.lifted_at IS NULL) AS suppressed_at
FROM message m JOIN lead l ON l.id = m.lead_id JOIN enrollment e ON e.id = m.enrollment_id
WHERE m.sent_at > :since AND m.sent_at <= :until ORDER BY m.sent_at, m.id
"""
MAILED = """
SELECT lead_id, sent_at FROM message
WHERE sent_at > :since AND transactional IS NULL AND kind = 'step' ORDER BY lead_id, sent_at
"""
REPEATED = """
SELECT enrollment_id, step, visit, count(*) FROM message
WHERE sent_at IS NOT NULL AND enrollment_id IS NOT NULL GROUP BY enrollment_id, step, visit HAVING count(*) > 1
"""
HANGING = """
SELECT e.id, e.cadence, e.step, e.status, e.blocked_by FROM enrollment e
LEFT JOIN message m ON m.id = e.message_id AND m.status IN ('queued', 'sending', 'deferred')
WHERE (e.status = 'active' AND e.due_at IS NULL AND m.id IS NULL)
   OR (e.status = 'active' AND e.due_at <= :now
       AND NOT EXISTS (SELECT 1 FROM pause p WHERE p.scope IN ('all', 'cadence:' || e.cadence)))
   OR (e.status = 'paused' AND NOT EXISTS (
        SELECT 1 FROM enrollment o WHERE o.lead_id = e.lead_id AND o.id <> e.id AND o.status = 'active'))
"""


class Promises:
    """Looks at what came since it last looked."""

    def __init__(self, database: Database, hop: InMemoryServer) -> None:
        self._database = database
        self._hop = hop
        self._since = datetime(2000, 1, 1, tzinfo=UTC)
        self._message_ids: set[str] = set()
        self._arrived = 0
        self._closed: dict[str | None, Any] = {}
        self.looked_at = 0
        self.by_rule: Counter[str] = Counter()

    def broken_by(self, now: datetime) -> list[str]:
        """What was broken since the last look, a line each."""
        broken: list[str] = []
        with self._database.reading() as connection:
            span = {"since": _stored(self._since), "until": _stored(now)}
            for row in connection.execute(text(SENT), span):
                self.looked_at += 1
                broken += [f"message {row.id} ({row.cadence}/{row.step}): {why}" for why in self._of_mail(row)]
            month = {"since": _stored(self._since - timedelta(days=31))}
            broken += self._over_caps(connection.execute(text(MAILED), month).all())
            broken += [f"sent twice: {tuple(row)}" for row in connection.execute(text(REPEATED))]
            broken += [f"hangs: {tuple(row)}" for row in connection.execute(text(HANGING), {"now": _stored(now)})]
        broken += self._arrived_twice()
        self._since = now
        return broken

    def summary(self, *, lead_days: int, seed: int, seconds: float) -> str:
        """The numbers of the whole run."""
        checks = ", ".join(f"{name} {count:,}" for name, count in sorted(self.by_rule.items()))
        looked = f"{lead_days:,} lead-days, {self.looked_at:,} messages, 0 broken"
        return f"soak: {looked} ({checks}); seed {seed}, {seconds:.0f} s"

    def _of_mail(self, row: Any) -> list[str]:
        sent_at = _read(row.sent_at)
        wrong = []
        if row.transactional is None:
            self.by_rule["window"] += 1
            if not self._is_open(row, sent_at):
                wrong.append(f"outside of its window at {sent_at}")
        self.by_rule["consent and suppression"] += 1
        if row.suppressed_at is not None and _read(row.suppressed_at) < sent_at:
            wrong.append("to a suppressed address")
        if row.consent_until is not None and _read(row.consent_until) <= sent_at:
            wrong.append("without consent")
        self.by_rule["after the end"] += 1
        if row.status == "exited" and row.ended_at is not None and _read(row.ended_at) < sent_at:
            wrong.append("after its enrollment had ended")
        return wrong

    def _is_open(self, row: Any, sent_at: datetime) -> bool:
        window = WINDOWS.get((row.cadence, row.step), OFFICE)
        if window is None:
            return True
        days, opens, closes, holiday_closes = window
        zone = row.timezone or COUNTRY_ZONES.get(row.country, "Europe/Berlin")
        hands = sent_at.astimezone(ZoneInfo(zone))
        day, clock = hands.date(), hands.time()
        if opens < closes:
            return opens <= clock < closes and self._has_window(day, days, row.country, holiday_closes)
        evening = clock >= opens and self._has_window(day, days, row.country, holiday_closes)
        yesterday = day - timedelta(days=1)
        return evening or (clock < closes and self._has_window(yesterday, days, row.country, holiday_closes))

    def _has_window(self, day: date, days: frozenset[int], country: str | None, holiday_closes: bool) -> bool:
        return day.isoweekday() in days and not (holiday_closes and self._is_holiday(day, country))

    def _is_holiday(self, day: date, country: str | None) -> bool:
        if country not in self._closed:
            self._closed[country] = holidays.country_holidays(country or "DE")
        return day in self._closed[country]

    def _over_caps(self, rows: Any) -> list[str]:
        sends: dict[int, list[datetime]] = defaultdict(list)
        for row in rows:
            sends[row.lead_id].append(_read(row.sent_at))
        broken = []
        for lead_id, moments in sends.items():
            for count, within in CAPS:
                self.by_rule["caps"] += 1
                pairs = zip(moments, moments[count:], strict=False)
                if any(last - first < within for first, last in pairs):
                    broken.append(f"lead {lead_id}: more than {count} in {within}")
        return broken

    def _arrived_twice(self) -> list[str]:
        broken = []
        for kept in self._hop.kept[self._arrived :]:
            header = next(line for line in kept.wire.split(b"\r\n") if line.lower().startswith(b"message-id:")).decode()
            self.by_rule["arrived once"] += 1
            if header in self._message_ids:
                broken.append(f"arrived twice: {header}")
            self._message_ids.add(header)
        self._hop.kept.clear()
        return broken


def _stored(moment: datetime) -> str:
    """As SQLite holds it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def _read(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)
