"""When a rep's desk is open: the hours of `alerts:` in _lifecycle.yaml, on the rep's own clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from nurture.calendar import Calendar
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.timing import next_opening
from nurture.settings import Settings


class DeskHours:
    """The hours at one moment."""

    def __init__(self, lifecycle: Lifecycle, settings: Settings, now: datetime) -> None:
        self._window = lifecycle.alert_hours
        self._reps = settings.reps
        self._zone = ZoneInfo(settings.workspace.timezone)
        self._calendar = Calendar(settings.holidays.extra, settings.workspace.country)
        self._now = now
        self._known: dict[str | None, datetime] = {}

    def opening(self, rep: str | None) -> datetime:
        """When this rep is told next, or (None) a room that many read; never is taken for always."""
        if rep not in self._known:
            self._known[rep] = self._opening(rep)
        return self._known[rep]

    def is_open(self, rep: str | None) -> bool:
        return self.opening(rep) <= self._now

    def _opening(self, rep: str | None) -> datetime:
        if self._window.any_time:
            return self._now
        is_holiday = self._calendar.is_holiday(None)
        opening = next_opening(self._window, self._now, zone=self._zone_of(rep), is_holiday=is_holiday)
        return opening or self._now

    def _zone_of(self, rep: str | None) -> ZoneInfo:
        match self._window.timezone:
            case "rep":
                own = self._reps[rep].timezone if rep is not None else None
                return ZoneInfo(own) if own else self._zone
            case "lead" | "workspace":
                return self._zone
            case named:
                return ZoneInfo(named)
