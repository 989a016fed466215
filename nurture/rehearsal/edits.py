"""What the files say otherwise than what is in force: cadences that come, go and change, and their steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import SequenceMatcher
from enum import StrEnum

from nurture.domain.cadence import Branch, Cadence, Split, Step, StepKey
from nurture.store.cadences import InForce, version_of


class Change(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"
    SAME = "same"


@dataclass(frozen=True, kw_only=True)
class StepChanges:
    """Steps by their keys, in the order of the file. `changed` says something else, `moved` stands elsewhere."""

    added: tuple[StepKey, ...] = ()
    removed: tuple[StepKey, ...] = ()
    changed: tuple[StepKey, ...] = ()
    moved: tuple[StepKey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One cadence in force (`before`) and in the files (`after`); `version` is that of the files.

    `keys` are the keys of the file beside its steps that say something else. `is_tried`: the change goes ahead for
    its first enrollments only (`canary`).
    """

    cadence: str
    change: Change
    before: Cadence | None
    after: Cadence | None
    version: str | None
    steps: StepChanges = StepChanges()
    keys: tuple[str, ...] = ()
    is_tried: bool = False


def edits(files: Mapping[str, Cadence], states: Mapping[str, InForce]) -> list[Edit]:
    """What taking the files up changes, a cadence each, by name."""
    return [_edit(name, files.get(name), states.get(name)) for name in sorted({*files, *states})]


def _edit(name: str, after: Cadence | None, state: InForce | None) -> Edit:
    version = version_of(after) if after is not None else None
    before = _compared(state, version)
    change = _change(after, state, version)
    return Edit(
        cadence=name,
        change=change,
        before=before,
        after=after,
        version=version,
        steps=_steps(before, after),
        keys=_keys(before, after),
        is_tried=change is Change.CHANGED
        and after is not None
        and after.canary is not None
        and after.status == "live"
        and state is not None
        and version != state.version,
    )


def _compared(state: InForce | None, version: str | None) -> Cadence | None:
    """What the file is held against: what is in force, or the change that is being tried where the file ends that."""
    if state is None:
        return None
    return state.trial.cadence if state.trial is not None and version == state.version else state.cadence


def _change(after: Cadence | None, state: InForce | None, version: str | None) -> Change:
    if state is None:
        return Change.NEW
    if after is None:
        return Change.REMOVED
    known = state.trial.version if state.trial is not None else state.version
    return Change.SAME if version == known else Change.CHANGED


def _steps(before: Cadence | None, after: Cadence | None) -> StepChanges:
    old: Mapping[StepKey, Step] = before.steps if before is not None else {}
    new: Mapping[StepKey, Step] = after.steps if after is not None else {}
    return StepChanges(
        added=tuple(key for key in new if key not in old),
        removed=tuple(key for key in old if key not in new),
        changed=tuple(key for key in new if key in old and _itself(new[key]) != _itself(old[key])),
        moved=_moved([key for key in old if key in new], [key for key in new if key in old]),
    )


def _itself(step: Step) -> Step:
    """A step without where it goes on: that is another step's edit."""
    match step:
        case Branch():
            return replace(step, next=None, after=None, arms=tuple(replace(arm, next=None) for arm in step.arms))
        case Split():
            paths = {name: replace(path, next=None) for name, path in step.paths.items()}
            return replace(step, next=None, paths=paths)
        case _:
            return replace(step, next=None)


def _moved(before: list[StepKey], after: list[StepKey]) -> tuple[StepKey, ...]:
    """As few as may be that stand in another place of the order."""
    blocks = SequenceMatcher(a=before, b=after, autojunk=False).get_matching_blocks()
    stayed = {key for block in blocks for key in after[block.b : block.b + block.size]}
    return tuple(key for key in after if key not in stayed)


def _keys(before: Cadence | None, after: Cadence | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    names = [each.name for each in fields(Cadence) if each.name not in ("name", "first", "steps")]
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
