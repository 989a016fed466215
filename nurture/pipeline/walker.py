"""One enrollment of a batch, while `advance` follows its steps; what is decided of it is noted, and written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nurture.domain.cadence import Cadence, Step
from nurture.domain.reasons import Reason
from nurture.store.decisions import NewDecision
from nurture.store.enrollments import Placing


@dataclass
class Walker:
    """`row` is the enrollment with its lead's columns, as claimed; the rest is where it has come to since."""

    row: Any
    cadence: Cadence
    step: str | None
    since_at: datetime
    zone: ZoneInfo
    floor_at: datetime | None
    message_id: int | None
    visit: int
    ends_at: datetime | None = None
    """When an exit will hold by the mere passing of time."""
    behind: bool = False
    """Paused behind another cadence: it takes no step, but its exits act."""
    beside: bool = False
    """Paused as well, but on its way to mail that waits for no other cadence."""
    settled: bool = False
    decisions: list[NewDecision] = field(default_factory=list)

    @property
    def current(self) -> Step | None:
        return self.cadence.steps.get(self.step) if self.step is not None else None

    @property
    def deed(self) -> str:
        """What makes an effect of the present step unique."""
        return f"{self.row.id}:{self.step}:{self.visit}"

    def note(self, code: Reason, now: datetime, detail: Mapping[str, Any] | None = None) -> None:
        self.decisions.append(
            NewDecision(
                lead_id=self.row.lead_id,
                enrollment_id=self.row.id,
                cadence=self.row.cadence,
                step=self.step,
                code=code,
                at=now,
                detail=dict(detail or {}),
            )
        )

    def go_on(self, step: str | None, since_at: datetime) -> None:
        self.step, self.since_at, self.message_id, self.floor_at = step, since_at, None, None

    def placing(self, *, due_at: datetime | None, blocked_by: Reason | None) -> Placing:
        """Where it stands, for the table."""
        return Placing(
            enrollment_id=self.row.id,
            step=self.step,
            due_at=due_at,
            since_at=self.since_at,
            ready_at=due_at,
            late_from=self.floor_at,
            message_id=self.message_id,
            blocked_by=blocked_by.value if blocked_by is not None else None,
            visit=self.visit,
        )
