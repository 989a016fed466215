"""What of the workspace `advance` depends on, made concrete in `bootstrap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from nurture.calendar import Calendar
from nurture.domain.cadence import FrequencyCap
from nurture.domain.conditions import Vocabulary
from nurture.store.segments import Asking

Say = Callable[[str, Mapping[str, Any]], str]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Read once from the files; a change of them makes new rules."""

    vocabulary: Vocabulary
    calendar: Calendar
    workspace_zone: ZoneInfo
    caps: tuple[FrequencyCap, ...]
    half_life: timedelta
    engagement_cap: float
    arm_key: bytes
    """Keys the assignment of experiment arms."""
    say: Say
    """Renders a one-line Jinja text with the given context. Raises RenderProblem."""
    default_sender: str
    rep_senders: Mapping[str, str]
    """rep -> the sender that `sender: owner` means for the leads it owns."""

    def asking(self, now: datetime) -> Asking:
        """How conditions are asked at this moment."""
        return Asking(now=now, half_life=self.half_life, engagement_cap=self.engagement_cap)
