"""The stable key of every step (spec 4.5): its id; without one, the last id before it on its path, its kind and its
place among that kind up to the next id. `intro/wait/1`, `intro/if/1.then/tag/1`; `^` where no id comes before.

An edit elsewhere leaves these keys alone: another kind of step, or anything behind another id, does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nurture.authoring.cadence_file import IfStep, SplitStep, StepBody
from nurture.documents.document import Path
from nurture.domain.cadence import StepKey

TOP_OF_PATH = "^"


@dataclass(frozen=True, kw_only=True)
class KeyedStep:
    """A step of the file with its key, its place in the file and the paths that begin in it."""

    key: StepKey
    kind: str
    path: Path
    body: StepBody
    branches: tuple[Branching, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Branching:
    """One path of an `if` ("then", "elif1", "else") or of a `split` (by its name)."""

    name: str
    steps: tuple[KeyedStep, ...] = field(default=())


def key_steps(steps: Sequence[StepBody], path: Path = ("steps",), anchor: str = TOP_OF_PATH) -> tuple[KeyedStep, ...]:
    """The steps of one path with their keys, and those of the paths inside."""
    keyed = []
    seen: Counter[str] = Counter()
    for index, body in enumerate(steps):
        kind = kind_name(body)
        if body.id is not None:
            key = anchor = body.id
            seen.clear()
        else:
            seen[kind] += 1
            key = f"{anchor}/{kind}/{seen[kind]}"
        place = (*path, index)
        branches = tuple(_branches(body, place, key))
        keyed.append(KeyedStep(key=key, kind=kind, path=place, body=body, branches=branches))
    return tuple(keyed)


def kind_name(body: StepBody) -> str:
    """The key that names the step in the file: `email`, `wait_for`, `if` …"""
    first = next(name for name in type(body).model_fields if name not in StepBody.model_fields)
    return type(body).model_fields[first].alias or first


def in_file_order(steps: Sequence[KeyedStep]) -> Iterator[KeyedStep]:
    for step in steps:
        yield step
        for branch in step.branches:
            yield from in_file_order(branch.steps)


def _branches(body: StepBody, place: Path, key: StepKey) -> Iterator[Branching]:
    if isinstance(body, SplitStep):
        for name, path in body.split.items():
            inside = (*place, "split", name, "steps")
            yield Branching(name=name, steps=key_steps(path.steps, inside, f"{key}.{name}"))
    if isinstance(body, IfStep):
        yield from _arms(body, place, key)


def _arms(body: IfStep, place: Path, key: StepKey) -> Iterator[Branching]:
    yield Branching(name="then", steps=key_steps(body.then, (*place, "then"), f"{key}.then"))
    for number, arm in enumerate(body.elif_):
        inside = (*place, "elif", number, "then")
        yield Branching(name=f"elif{number + 1}", steps=key_steps(arm.then, inside, f"{key}.elif{number + 1}"))
    yield Branching(name="else", steps=key_steps(body.else_ or (), (*place, "else"), f"{key}.else"))
