"""The lifecycle's rules with their conditions read, for one pass at one moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nurture.domain.conditions import Condition, Vocabulary, parse_condition
from nurture.domain.conditions.tree import FieldOperand
from nurture.domain.lifecycle import FitRule, Lifecycle, StageRule
from nurture.domain.promotion import fields_named, score_line, without_opens
from nurture.domain.scoring import engagement_at, hot_until
from nurture.store.segments import Asking, leads_meeting


class LifecycleRules:
    """What `react` asks of leads. `line` is the T of a hot `score >= T`; None where being hot is something else."""

    def __init__(self, lifecycle: Lifecycle, vocabulary: Vocabulary, now: datetime) -> None:
        self.lifecycle = lifecycle
        self.now = now
        self.asking = Asking.by(lifecycle.engagement, now=now)
        self.fit: list[tuple[FitRule, Condition]] = [
            (rule, parse_condition(rule.when, vocabulary)) for rule in lifecycle.fit
        ]
        self.fit_fields: frozenset[FieldOperand] = frozenset[FieldOperand]().union(
            *(fields_named(condition) for _, condition in self.fit)
        )
        self.promoting: list[tuple[StageRule, Condition]] = [
            (rule, parse_condition(rule.when, vocabulary)) for rule in lifecycle.stages if rule.when is not None
        ]
        self.demoting: list[tuple[StageRule, Condition]] = [
            (rule, parse_condition(rule.demote_when, vocabulary))
            for rule in lifecycle.stages
            if rule.demote_when is not None
        ]
        self.hot = lifecycle.hot
        self.hot_condition = parse_condition(lifecycle.hot.when, vocabulary) if lifecycle.hot is not None else None
        self.line = score_line(self.hot_condition) if self.hot_condition is not None else None

    def score(self, lead: Mapping[str, Any], at: datetime) -> float:
        """Fit and engagement together at that moment."""
        engagement = self.lifecycle.engagement
        points = engagement_at(lead["gains"], lead["losses"], at, half_life=engagement.half_life, cap=engagement.cap)
        fit_points: float = lead["fit_points"]
        return fit_points + points

    def hot_until(self, lead: Mapping[str, Any]) -> datetime | None:
        """Until when the lead stands over the hot line, if nothing more happens; None: it does not."""
        return self.until(self.line, lead) if self.line is not None else None

    def until(self, line: float, lead: Mapping[str, Any]) -> datetime | None:
        """Until when the score reaches `line`, if nothing more happens; None: it does not."""
        engagement = self.lifecycle.engagement
        return hot_until(
            line,
            fit_points=lead["fit_points"],
            gains=lead["gains"],
            losses=lead["losses"],
            half_life=engagement.half_life,
            cap=engagement.cap,
        )

    def leads_deserving(self, connection: Connection, condition: Condition, ids: Collection[int]) -> set[int]:
        """Those of whom the condition is true, and would be had nobody seen their opens."""
        met = leads_meeting(connection, condition, self.asking, ids=sorted(ids)) if ids else set()
        blind = without_opens(condition)
        if met and blind is not None:
            met = leads_meeting(connection, blind, self.asking, ids=sorted(met))
        return met
