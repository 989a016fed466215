"""Circles: jumps back and enrollments by step that would go round and round without time passing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nurture.documents.document import Document
from nurture.documents.finding import Finding
from nurture.domain.cadence import (
    Branch,
    Cadence,
    EnrollIn,
    Exit,
    Goto,
    Split,
    Step,
    StepKey,
    Sunset,
    Wait,
    WaitUntil,
)


def onward_of(step: Step) -> list[StepKey | None]:
    """The steps that a lead may come to right after this one; None is the end."""
    skipped = [step.next] if step.when is not None else []
    match step:
        case Branch():
            onward = [step.next, *(arm.next for arm in step.arms)]
            return [*onward, step.after] if step.when is not None else onward
        case Split():
            return [path.next for path in step.paths.values()] + skipped
        case Goto():
            return [step.to, *skipped]
        case Exit() | Sunset():
            return list(skipped)
        case _:
            return [step.next]


def reachable(cadence: Cadence, start: StepKey | None = None, *, without_waits: bool = False) -> frozenset[StepKey]:
    """The steps that some lead can come to, from the top or from `start` on.

    `without_waits` does not go past a step where time surely passes.
    """
    found: set[StepKey] = set()
    waiting: list[StepKey | None] = [start or cadence.first]
    while waiting:
        key = waiting.pop()
        if key is None or key in found or key not in cadence.steps:
            continue
        found.add(key)
        if not (without_waits and takes_time(cadence.steps[key])):
            waiting.extend(onward_of(cadence.steps[key]))
    return frozenset(found)


def takes_time(step: Step) -> bool:
    """Whether time surely passes in it: it has no `when:`, and waits for more than nothing or for a weekday."""
    if step.when is not None:
        return False
    match step:
        case Wait():
            # days at an hour may be over at once, when the first is today
            return step.span.amount >= 1 if step.span.at is not None else step.span.amount > 0
        case WaitUntil():
            return step.weekday is not None
        case _:
            return False


def goto_cycles(cadence: Cadence) -> Iterator[Goto]:
    """The jumps from which a lead may come back to them without time passing."""
    for step in cadence.steps.values():
        if isinstance(step, Goto) and step.key in reachable(cadence, step.to, without_waits=True):
            yield step


def enroll_cycles(cadences: Mapping[str, Cadence], documents: Mapping[str, Document]) -> Iterator[Finding]:
    """Cadences that enroll into each other with no wait on the way."""
    at_once = {name: _enrolls_at_once(cadence) for name, cadence in cadences.items()}
    for name in sorted(cadences):
        circle = _circle(name, at_once)
        if circle is None:
            continue
        document = documents[name]
        way = " -> ".join((*circle, name))
        message = f"cadences enroll in a circle without a wait: {way}: put a wait before one of these steps"
        step = at_once[name][circle[1] if len(circle) > 1 else name]
        path = _path_of(document.data, circle[1] if len(circle) > 1 else name)
        yield document.finding(document.value_at(path or ("steps",)), "enroll-cycle", f"{message} ({step})")


def _enrolls_at_once(cadence: Cadence) -> dict[str, StepKey]:
    """cadence -> the step by which a lead that enters this one is enrolled there before any time passes."""
    steps = reachable(cadence, without_waits=True)
    return {step.cadence: key for key in steps if isinstance(step := cadence.steps[key], EnrollIn)}


def _circle(start: str, at_once: Mapping[str, Mapping[str, StepKey]]) -> tuple[str, ...] | None:
    """The shortest way from `start` back to it."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for name in at_once.get(way[-1], ()):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return None


def _path_of(data: object, cadence: str, path: tuple[str | int, ...] = ()) -> tuple[str | int, ...] | None:
    """Where `enroll: cadence` is written."""
    if isinstance(data, dict):
        if data.get("enroll") == cadence and path and isinstance(path[-1], int):
            return (*path, "enroll")
        pairs: list[tuple[str | int, object]] = list(data.items())
    elif isinstance(data, list):
        pairs = list(enumerate(data))
    else:
        return None
    for key, value in pairs:
        found = _path_of(value, cadence, (*path, key))
        if found is not None:
            return found
    return None
