"""A cadence file becomes the graph that the engine runs: its keys here, its steps in `compile_steps.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path as FilePath
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from nurture.authoring.cadence_file import MODES, CadenceFile, EmailStep, Mode
from nurture.authoring.cadence_file import AccountRules as AccountBody
from nurture.authoring.cadence_file import Trigger as TriggerBody
from nurture.authoring.compile_steps import StepCompiler, window_within
from nurture.authoring.cycles import goto_cycles
from nurture.authoring.reading import Reading
from nurture.authoring.step_keys import KeyedStep, in_file_order, key_steps
from nurture.documents.values import read_cap, read_duration
from nurture.domain.cadence import AccountRules, Cadence, EnrollLimit, Tracking, Trigger, Window
from nurture.domain.conditions.vocabulary import LEAD_FIELDS
from nurture.domain.timing import from_local

DAY = timedelta(days=1)
_SHARE = re.compile(r"(\d{1,2}(?:\.\d+)?)\s?%", re.ASCII)
_BOUND = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Outer:
    """What the workspace says where a cadence does not; `root` is its folder."""

    sender: str
    window: Window
    zone: ZoneInfo
    root: FilePath


def compile_cadence(reading: Reading, file: CadenceFile, *, name: str, outer: Outer) -> Cadence:
    """The cadence. What is wrong with it is in `reading.findings`; then the result is only good for more checks."""
    window = window_within(file.window, outer.window)
    keyed = key_steps(file.steps)
    _check_ids(reading, keyed)
    _check_names(reading, file)
    _check_entry(reading, file)
    steps = StepCompiler(reading, window, root=outer.root).steps(keyed)
    cadence = Cadence(
        name=name,
        title=file.name or name,
        status=file.status,
        funnel=file.funnel,
        segment=_segment(reading, file.segment),
        trigger=_trigger(reading, file.trigger),
        enroll=file.enroll,
        starts=_bound(reading, "starts", file.starts, outer.zone),
        ends=_bound(reading, "ends", file.ends, outer.zone),
        enroll_limit=_enroll_limit(reading, file.enroll_limit),
        reentry=_reentry(reading, file.reentry),
        priority=file.priority,
        concurrent=file.concurrent,
        customers=file.customers,
        topic=file.topic,
        sender=file.sender or outer.sender,
        goal=reading.condition_text(("goal",), file.goal),
        goal_within=file.goal_within,
        exit=reading.condition_text(("exit",), file.exit),
        exit_on_leave=file.exit_on_leave,
        max_pause=Cadence.max_pause if file.max_pause is None else file.max_pause,
        window=window,
        account=_account(file.account),
        max_late=Cadence.max_late if file.max_late is None else file.max_late,
        on_edit=file.on_edit,
        holdout=_holdout(reading, file.holdout),
        canary=file.canary,
        track=_track(reading, file.track),
        first=keyed[0].key,
        steps=steps,
    )
    places = {each.key: each.path for each in in_file_order(keyed)}
    for goto in goto_cycles(cadence):
        message = f"this jump comes back to itself without a wait: put e.g. '- wait: 1 day' after '{goto.to}'"
        reading.report((*places[goto.key], "goto"), "goto-cycle", message)
    return cadence


def step_ids(data: Any) -> frozenset[str]:
    """The ids in a written cadence, valid or not, so that conditions elsewhere may name them."""
    found: set[str] = set()
    waiting = [data]
    while waiting:
        held = waiting.pop()
        if isinstance(held, dict):
            if isinstance(held.get("id"), str):
                found.add(held["id"])
            waiting.extend(held.values())
        elif isinstance(held, list):
            waiting.extend(held)
    return frozenset(found)


def _segment(reading: Reading, text: str | None) -> str | None:
    """A named segment, or a condition. A lone word that is no field is taken for a misspelled segment."""
    if text is None:
        return None
    name = text.strip()
    if name in reading.names.segments:
        return reading.condition_text(("segment",), f'in_segment("{name}")')
    if name.isidentifier() and name not in LEAD_FIELDS:
        reading.known(("segment",), name, "segment", reading.names.segments, none="there is none in _segments.yaml")
        return text
    return reading.condition_text(("segment",), text)


def _check_ids(reading: Reading, keyed: Sequence[KeyedStep]) -> None:
    first: dict[str, int] = {}
    for step in in_file_order(keyed):
        path = (*step.path, "id")
        if step.body.id is None:
            if isinstance(step.body, EmailStep):
                cure = "a step that sends needs an id, by which it is known when the file changes: add e.g. 'id: intro'"
                reading.report(step.path, "missing-id", cure)
            continue
        if step.body.id in first:
            reading.report(path, "duplicate-id", f"duplicate id '{step.body.id}' (first in line {first[step.body.id]})")
        else:
            first[step.body.id] = reading.document.value_at(path).line


def _check_names(reading: Reading, file: CadenceFile) -> None:
    names = reading.names
    if file.sender != "owner":
        reading.known(("sender",), file.sender, "sender", names.senders)
    reading.known(("topic",), file.topic, "topic", names.topics, none="there is no [topics] in config.toml")


def _check_entry(reading: Reading, file: CadenceFile) -> None:
    """How leads enter must fit together."""
    if file.reentry.strip() == "each_event" and file.trigger is None:
        reading.report(("reentry",), "reentry", "'each_event' goes with a trigger: add 'trigger: {event: …}'")
    if file.enroll == "only_current" and file.trigger is not None:
        reading.report(("enroll",), "enroll", "'only_current' goes by a segment: leave it out, or leave out 'trigger'")
    if file.exit_on_leave and file.segment is None:
        reading.report(("exit_on_leave",), "exit-on-leave", "there is no segment to leave: add 'segment: …'")
    if file.starts is not None and file.ends is not None and file.ends.strip() < file.starts.strip():
        reading.report(("ends",), "ends", f"it ends ({file.ends}) before it starts ({file.starts})")


def _trigger(reading: Reading, body: TriggerBody | None) -> Trigger | None:
    if body is None:
        return None
    return Trigger(event=body.event, where=reading.condition_text(("trigger", "where"), body.where))


def _bound(reading: Reading, key: Literal["starts", "ends"], text: str | None, zone: ZoneInfo) -> datetime | None:
    """A day, from its first moment or (`ends`) to its last, or a minute; in the workspace's zone."""
    if text is None:
        return None
    found = _BOUND.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        day, at = date.fromisoformat(found[1]), time.fromisoformat(found[2] or "00:00")
        return from_local(day + DAY if key == "ends" and not found[2] else day, at, zone)
    except (ValueError, OverflowError):
        reading.report((key,), "moment", f"'{text}' is no date: use e.g. '2026-12-01' or '2026-12-01 09:00'")
        return None


def _enroll_limit(reading: Reading, text: str | None) -> EnrollLimit | None:
    if text is None:
        return None
    try:
        cap = read_cap(text)
    except ValueError as error:
        reading.report(("enroll_limit",), "enroll-limit", str(error))
        return None
    return EnrollLimit(count=cap.count, within=cap.within)


def _reentry(reading: Reading, text: str) -> Literal["never", "each_event"] | timedelta:
    said = text.strip()
    if said in ("never", "each_event"):
        return cast(Literal["never", "each_event"], said)
    try:
        if not said.startswith("after "):
            raise ValueError(f"'{said}': use 'never', 'each_event' or e.g. 'after 90 days'")
        return read_duration(said.removeprefix("after "))
    except ValueError as error:
        reading.report(("reentry",), "reentry", str(error))
        return "never"


def _account(body: AccountBody | None) -> AccountRules | None:
    if body is None:
        return None
    return AccountRules(at_once=body.at_once, hold=body.hold, won=body.won or "nothing")


def _holdout(reading: Reading, text: str | None) -> float:
    """'10%' -> 0.1."""
    if text is None:
        return 0.0
    found = _SHARE.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) <= 90:
        reading.report(("holdout",), "holdout", f"'{text}' is no share of the leads: use e.g. '10%', at most 90%")
        return 0.0
    return float(found[1]) / 100


def _track(reading: Reading, said: Any) -> Tracking:
    """One mode for both, or one each."""
    if said is None:
        return Tracking()
    both = {"opens": said, "clicks": said} if isinstance(said, str) else said
    for key, mode in both.items():
        path = ("track",) if isinstance(said, str) else ("track", key)
        if key not in ("opens", "clicks"):
            reading.report(path, "unknown-key", f"unknown key '{key}': use opens and clicks", at_key=True)
            return Tracking()
        if mode not in MODES:
            reading.known(path, mode, "mode", MODES)
            return Tracking()
    return Tracking(opens=cast("Mode | None", both.get("opens")), clicks=cast("Mode | None", both.get("clicks")))
