"""What `_lifecycle.yaml` says: stages, fit, engagement, the hot line, alerts and routing, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from nurture.domain.cadence import ANY_TIME, ConditionText, Span, Window


@dataclass(frozen=True, kw_only=True)
class StageRule:
    stage: str
    when: ConditionText | None = None
    demote_when: ConditionText | None = None
    demote_after: timedelta = timedelta(0)
    """How long `demote_when` must have held."""
    requires: tuple[str, ...] = ()
    alert: Literal["now", "digest", "none"] = "none"


@dataclass(frozen=True, kw_only=True)
class FitRule:
    when: ConditionText
    points: float


@dataclass(frozen=True, kw_only=True)
class AtMost:
    points: float
    within: timedelta = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class PointsRule:
    """Each rule that an event matches books its own line; `path` is a glob on the page's path."""

    event: str
    points: float
    at_most: AtMost | None = None
    path: str | None = None

    @property
    def name(self) -> str:
        """How the ledger and reports call it: 'clicked', 'page viewed /pricing*'."""
        return f"{self.event} {self.path}" if self.path else self.event


@dataclass(frozen=True, kw_only=True)
class Engagement:
    half_life: timedelta = timedelta(days=14)
    cap: float = 60
    points: tuple[PointsRule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hot:
    when: ConditionText
    fit: str | None = None
    """The lowest grade that raises an alert: A, B, C or D."""
    unknown_fit: Literal["pass", "block"] = "pass"
    hysteresis: float = 15
    cool_down: timedelta = timedelta(days=14)
    always: tuple[str, ...] = ("demo requested", "meeting booked", "information requested")
    """Events that raise an alert at once, past score, fit, hysteresis and cool-down."""


@dataclass(frozen=True, kw_only=True)
class Route:
    reps: tuple[str, ...]
    when: ConditionText | None = None


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    stages: tuple[StageRule, ...] = ()
    fit: tuple[FitRule, ...] = ()
    engagement: Engagement = Engagement()
    hot: Hot | None = None
    alert_channels: tuple[str, ...] = ("email",)
    alert_hours: Window = ANY_TIME
    """`timezone: rep` means the rep's own."""
    routing: tuple[Route, ...] = ()
    hold_claim: timedelta = timedelta(days=14)
    hold_reply: timedelta = timedelta(days=5)
    recycle_after: timedelta = timedelta(days=60)
    recycle_into: str | None = None
    sla_respond: Span | None = None
    sla_escalate: str | None = None
    digest: str = "08:30"
