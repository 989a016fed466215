"""What a rule of the lifecycle may rest on: conditions seen as trees, so that opens and old news decide nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from nurture.domain.conditions import Condition
from nurture.domain.conditions.tree import (
    Always,
    And,
    Compare,
    FieldOperand,
    Happened,
    LeadField,
    Not,
    Or,
    Tree,
    fields_in,
    say,
)
from nurture.domain.event import EventName

# What a person did not do by itself, or did to be left alone: it is told to nobody as interest.
NO_INTEREST = frozenset(
    {
        EventName.BOUNCED,
        EventName.COMPLAINED,
        EventName.UNSUBSCRIBED,
        EventName.AUTO_REPLIED,
        EventName.WEBINAR_MISSED,
        EventName.DEAL_OPENED,
        EventName.DEAL_WON,
        EventName.DEAL_LOST,
    }
)


def shows_interest(kind: str) -> bool:
    """Whether an event of this kind, by a person, is that person's own doing; only such make `last_engaged_at`."""
    return kind not in NO_INTEREST


def may_promote(kind: str) -> bool:
    """Opens alone never decide anything that promotes."""
    return kind != EventName.OPENED


def without_opens(condition: Condition) -> Condition | None:
    """The condition for someone whose opens nobody saw; None where it does not speak of opens.

    A rule that promotes must hold both as it is and so.
    """
    tree = _mapped(condition.tree, lambda test: Always(holds=False) if test.event == EventName.OPENED else test)
    return None if tree == condition.tree else Condition(text=say(tree), tree=tree)


def lately(condition: Condition, span: timedelta) -> Condition:
    """The condition with every test of events narrowed to the last `span`."""
    written = f"{max(span, timedelta(0)) / timedelta(minutes=1):.6f} minutes"

    def narrowed(test: Happened) -> Happened:
        inside = test.within_span
        return test if inside is not None and inside <= span else replace(test, within=written)

    tree = _mapped(condition.tree, narrowed)
    return Condition(text=say(tree), tree=tree)


def score_line(condition: Condition) -> float | None:
    """T of the `score >= T` that makes the condition true or takes part in it; the lowest of several, None without."""
    return min(_lines(condition.tree), default=None)


def falling_line(condition: Condition) -> float | None:
    """T where the whole condition is `score < T`, so that the moment at which it came true can be computed."""
    match condition.tree:
        case Compare(left=LeadField(name="score"), operator="<" | "<=", right=float() | int() as line):
            return float(line)
    return None


def fields_named(condition: Condition) -> frozenset[FieldOperand]:
    """The lead's fields that the condition speaks of."""
    return frozenset(fields_in(condition.tree))


def _mapped(tree: Tree, change: Callable[[Happened], Tree]) -> Tree:
    match tree:
        case Not(part=part):
            return Not(part=_mapped(part, change))
        case And(parts=parts):
            return And(parts=tuple(_mapped(part, change) for part in parts))
        case Or(parts=parts):
            return Or(parts=tuple(_mapped(part, change) for part in parts))
        case Happened():
            return change(tree)
    return tree


def _lines(tree: Tree) -> list[float]:
    match tree:
        case And(parts=parts) | Or(parts=parts):
            return [line for part in parts for line in _lines(part)]
        case Compare(left=LeadField(name="score"), operator=">" | ">=", right=float() | int() as line):
            return [float(line)]
    return []
