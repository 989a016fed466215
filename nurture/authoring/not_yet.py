"""What the files may say and this version does not do: an error where it would change what leads get.

One table a place; an entry goes when its capability comes. A key at its default value asks for nothing, and passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nurture.authoring.cadence_file import kind_of
from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding

STEPS: frozenset[str] = frozenset({"wait_until", "split", "goto", "task", "set", "enroll", "webhook", "sunset"})
CADENCE_KEYS: Mapping[str, Any] = {
    "trigger": None,
    "starts": None,
    "ends": None,
    "enroll_limit": None,
    "reentry": "never",
    "exit_on_leave": False,
    "max_pause": "14 days",
    "account": None,
    "on_edit": "follow",
    "holdout": None,
    "canary": None,
    "track": None,
}
"""key -> its default."""
STEP_KEYS: Mapping[str, Mapping[str, Any]] = {
    "email": {
        "body": None,
        "vars": None,
        "locales": None,
        "attachments": None,
        "ics": False,
        "reply_in_thread": False,
        "expires": None,
    },
    "notify": {"alert": False},
}
LIFECYCLE_KEYS: Mapping[str, Any] = {"cold": None, "personas": None}
FORM_KEYS: Mapping[str, Any] = {"embed": False, "variants": None}
OFFER_KEYS: Mapping[str, Any] = {"codes": None}


def unready_in_cadence(document: Document) -> Iterator[Finding]:
    """What a cadence asks for that this version does not run."""
    yield from unready_keys(document, (), CADENCE_KEYS)
    if isinstance(document.data, dict):
        if document.data.get("sender") == "owner":
            yield _finding(document, ("sender",), "'sender: owner'", at_value=True)
        yield from _in_steps(document, ("steps",), document.data.get("steps"))


def unready_keys(document: Document, path: Path, keys: Mapping[str, Any]) -> Iterator[Finding]:
    """Keys of the mapping at `path` that are set to something else than their default."""
    held = document.data
    for part in path:
        held = held[part]
    if not isinstance(held, dict):
        return
    for key, default in keys.items():
        if key in held and held[key] != default:
            yield _finding(document, (*path, key), f"'{key}'")


def _in_steps(document: Document, path: Path, steps: Any) -> Iterator[Finding]:
    if not isinstance(steps, list):
        return
    for index, step in enumerate(steps):
        kind, place = kind_of(step), (*path, index)
        if kind is None:
            continue
        if kind in STEPS:
            yield _finding(document, (*place, kind), f"the step '{kind}'")
            continue
        yield from unready_keys(document, place, STEP_KEYS.get(kind, {}))
        if kind == "email" and (isinstance(step.get("sender"), dict) or step.get("sender") == "owner"):
            yield _finding(document, (*place, "sender"), "'sender' by variant or owner")
        for branch in ("then", "else"):
            yield from _in_steps(document, (*place, branch), step.get(branch))
        arms = step.get("elif")
        for number, arm in enumerate(arms if isinstance(arms, list) else []):
            if isinstance(arm, dict):
                yield from _in_steps(document, (*place, "elif", number, "then"), arm.get("then"))


def _finding(document: Document, path: Path, what: str, *, at_value: bool = False) -> Finding:
    place = document.value_at(path) if at_value else document.key_at(path)
    return document.finding(place, "not-yet", f"{what}: this version of nurture does not run it")
