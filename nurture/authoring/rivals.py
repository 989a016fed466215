"""Live cadences of equal priority that provably want the same leads: which of them runs is then a matter of chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from nurture.authoring.workspace import Compiled
from nurture.documents.document import Path
from nurture.documents.finding import Finding
from nurture.domain.cadence import Cadence
from nurture.domain.conditions import ConditionError, Vocabulary, parse_condition
from nurture.domain.conditions.tree import Always, Among, And, Compare, CompareDays, Or, Tree
from nurture.domain.conditions.vocabulary import GRADES, Kind


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Whom a cadence takes: those of whom `tree` is true, at `event` where there is one."""

    stem: str
    event: str | None
    tree: Tree


def rivals(compiled: Compiled) -> Iterator[Finding]:
    """A warning at the later one (by name) of each two."""
    entries: dict[int, list[_Entry]] = {}
    for stem, cadence in sorted(compiled.cadences.items()):
        entry = _entry(stem, cadence, compiled.sources.vocabulary(stem))
        if entry is not None and cadence.status == "live" and not cadence.concurrent:
            entries.setdefault(cadence.priority, []).append(entry)
    for equals in entries.values():
        for one, other in combinations(equals, 2):
            said = _overlap(one, other)
            if said is not None:
                document = compiled.sources.cadences[other.stem]
                path: Path = ("segment",) if document.holds(("segment",)) else ("trigger",)
                message = f"{said}, and of equal priority: give one of them another priority"
                yield document.finding(document.value_at(path), "rivals", message, level="warning")


def _entry(stem: str, cadence: Cadence, vocabulary: Vocabulary) -> _Entry | None:
    """None where nobody enters by itself, or a condition is wrong (which is told elsewhere)."""
    trigger = cadence.trigger
    texts = [each for each in (cadence.segment, trigger.where if trigger else None) if each is not None]
    if trigger is None and not texts:
        return None
    known = replace(vocabulary, trigger=trigger is not None)
    try:
        parts = tuple(parse_condition(text, known).tree for text in texts)
    except ConditionError:
        return None
    return _Entry(stem=stem, event=trigger.event if trigger else None, tree=And(parts=parts))


def _overlap(one: _Entry, other: _Entry) -> str | None:
    """How the leads of both are the same, said of `other`; None where that can't be proved."""
    inside, around = _within(other, one), _within(one, other)
    if inside and around:
        return f"the same leads as cadence '{one.stem}'"
    if inside:
        return f"all its leads are wanted by cadence '{one.stem}' too"
    return f"it wants all the leads of cadence '{one.stem}' too" if around else None


def _within(inner: _Entry, outer: _Entry) -> bool:
    return outer.event in (None, inner.event) and implies(inner.tree, outer.tree)


def implies(one: Tree, other: Tree) -> bool:
    """Whether the second surely holds wherever the first does. False means: not proved."""
    if one == other or other == Always(holds=True):
        return True
    if isinstance(other, And):
        return all(implies(one, part) for part in other.parts)
    if isinstance(one, Or):
        return all(implies(part, other) for part in one.parts)
    if isinstance(other, Or) and any(implies(one, part) for part in other.parts):
        return True
    if isinstance(one, And):
        return any(implies(part, other) for part in one.parts)
    return _narrower(one, other)


def _narrower(one: Tree, other: Tree) -> bool:
    """Two simple tests of one field: its value among fewer, or beyond a higher line."""
    if isinstance(one, Compare | CompareDays) and isinstance(other, Compare | CompareDays):
        return _beyond(one, other)
    if isinstance(other, Among) and not other.negated:
        if isinstance(one, Among) and not one.negated:
            return one.field == other.field and set(one.values) <= set(other.values)
        if isinstance(one, Compare) and one.operator == "==":
            return one.left == other.field and one.right in other.values
    return False


def _beyond(one: Compare | CompareDays, other: Compare | CompareDays) -> bool:
    if one.left != other.left or one.operator[0] != other.operator[0] or one.operator[0] not in "<>":
        return False
    graded = isinstance(one, Compare) and one.left.kind is Kind.GRADE
    mine, theirs = _rank(one.right, graded=graded), _rank(other.right, graded=graded)
    if mine is None or theirs is None:
        return False
    if mine == theirs:
        return one.operator == other.operator or other.operator.endswith("=")
    return mine > theirs if one.operator.startswith(">") else mine < theirs


def _rank(value: object, *, graded: bool) -> float | None:
    """Where a number, or a grade, stands among its like."""
    if graded:
        return GRADES.index(value) if isinstance(value, str) and value in GRADES else None
    return value if isinstance(value, int | float) else None
