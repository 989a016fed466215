"""Cadence tests as far as they can be judged unrun: each entry is one thing, and every step and variant exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nurture.authoring.reading import Reading
from nurture.authoring.test_file import EFFECTS, ENDS, HAPPENINGS, STEP_EVENTS, ExpectedBody, HappeningBody, TestFile
from nurture.documents.document import Path
from nurture.domain.cadence import Cadence, Email


def check_tests(reading: Reading, file: TestFile, cadence: Cadence) -> None:
    """What is wrong with the tests of this cadence is in `reading.findings`."""
    names: dict[str, int] = {}
    for index, case in enumerate(file.tests):
        path: Path = ("tests", index)
        if case.name in names:
            message = f"a test of this name stands in line {names[case.name]}"
            reading.report((*path, "name"), "duplicate-test", message)
        names.setdefault(case.name, reading.document.value_at((*path, "name")).line)
        for number, happening in enumerate(case.events):
            _check_happening(reading, (*path, "events", number), happening, cadence)
        for number, expected in enumerate(case.expect):
            last = number == len(case.expect) - 1
            _check_expected(reading, (*path, "expect", number), expected, cadence, last=last)


def _check_happening(reading: Reading, path: Path, body: HappeningBody, cadence: Cadence) -> None:
    kind = _only_one(reading, path, body, HAPPENINGS)
    if kind is not None:
        _check_companions(reading, path, body, kind)
    if kind in STEP_EVENTS:
        _sending_step(reading, (*path, kind), getattr(body, kind), cadence)


_COMPANIONS: Mapping[str, Sequence[str]] = {
    "value": ("event",),
    "props": ("event",),
    "link": ("clicked",),
    "class": ("bounced",),
    "verdict": ("opened", "clicked", "replied", "event"),
}
"""key -> the kinds of happening beside which it says something."""


def _check_companions(reading: Reading, path: Path, body: HappeningBody, kind: str) -> None:
    for key, kinds in _COMPANIONS.items():
        said = body.class_ if key == "class" else getattr(body, key)
        if said is not None and kind not in kinds:
            reading.report((*path, key), "test", f"'{key}' says nothing beside '{kind}'", at_key=True)


def _check_expected(reading: Reading, path: Path, body: ExpectedBody, cadence: Cadence, *, last: bool) -> None:
    kind = _only_one(reading, path, body, (*EFFECTS, *ENDS))
    if kind in ENDS and not last:
        reading.report(path, "test", f"'{kind}' is the end: nothing comes after it")
    if kind in EFFECTS and body.at is None:
        reading.report(path, "missing-key", "missing key 'at': say when, e.g. '2026-11-02 10:00'")
    for key in ("variant", "subject"):
        if getattr(body, key) is not None and kind not in (None, "email"):
            reading.report((*path, key), "test", f"'{key}' says nothing beside '{kind}'", at_key=True)
    if kind == "email":
        step = _sending_step(reading, (*path, "email"), body.email or "", cadence)
        if step is not None:
            reading.known((*path, "variant"), body.variant, "variant", step.subjects)


def _only_one(reading: Reading, path: Path, body: HappeningBody | ExpectedBody, kinds: Sequence[str]) -> str | None:
    found = [kind for kind in kinds if getattr(body, kind) is not None]
    for kind in found:
        if getattr(body, kind) is False:
            reading.report((*path, kind), "test", f"'{kind}' is true, or not said")
    if len(found) == 1:
        return found[0]
    said = " and ".join(f"'{kind}'" for kind in found) or "none"
    reading.report(path, "test", f"an entry is one of {', '.join(kinds)}, found {said}")
    return None


def _sending_step(reading: Reading, path: Path, name: str, cadence: Cadence) -> Email | None:
    sending = {key: step for key, step in cadence.steps.items() if isinstance(step, Email)}
    reading.known(path, name, "step", sending)
    return sending.get(name)
