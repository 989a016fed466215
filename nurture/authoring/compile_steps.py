"""The steps of a cadence file, flattened into the graph that the engine runs; names and conditions are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any
from zoneinfo import ZoneInfo

from nurture.authoring.cadence_file import (
    PROMOTABLE,
    EmailStep,
    EnrollStep,
    ExitStep,
    GotoStep,
    IfStep,
    NotifyStep,
    PromoteStep,
    SetStep,
    SplitStep,
    StepBody,
    SunsetStep,
    TagStep,
    TaskStep,
    TestBody,
    UntagStep,
    WaitForStep,
    WaitStep,
    WaitUntilStep,
    WebhookStep,
)
from nurture.authoring.cycles import reachable
from nurture.authoring.reading import Reading
from nurture.authoring.step_keys import KeyedStep, in_file_order
from nurture.documents.document import Path
from nurture.documents.values import read_span
from nurture.domain.cadence import (
    Arm,
    Branch,
    Cadence,
    Email,
    EnrollIn,
    Exit,
    Expiry,
    Goto,
    Locale,
    Notify,
    Promote,
    SetFields,
    Shift,
    Split,
    SplitPath,
    Step,
    StepKey,
    Sunset,
    Tag,
    Task,
    Test,
    Untag,
    Wait,
    WaitFor,
    WaitUntil,
    Webhook,
    Window,
)
from nurture.domain.conditions.vocabulary import LEAD_FIELDS, Kind
from nurture.domain.problem import Problem
from nurture.domain.timing import check_weekday_time, field_moment
from nurture.domain.windows import parse_window
from nurture.store.lead_fields import CUSTOM, is_custom_name, read_custom_field, read_field
from nurture.store.lead_fields import LEAD_FIELDS as SETTABLE

_WEEKDAY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2}(-[A-Za-z]{2})?")


def window_within(said: Any, outer: Window) -> Window:
    """The window as written, its missing keys from the outer one."""
    return outer if said is None else parse_window(said, outer)


class StepCompiler:
    """Builds the steps of a path and of the paths inside of it, each with where it goes on."""

    def __init__(self, reading: Reading, window: Window, *, root: FilePath) -> None:
        self._reading = reading
        self._window = window
        self._root = root
        self._targets: dict[str, StepKey] = {}

    def steps(self, keyed: Sequence[KeyedStep]) -> dict[StepKey, Step]:
        """Every step by its key, in the order of the file."""
        self._targets = {each.body.id: each.key for each in in_file_order(keyed) if each.body.id is not None}
        steps = {step.key: step for step in self._path(keyed, None)}
        return _with_direction(steps, keyed[0].key)

    def _path(self, keyed: Sequence[KeyedStep], after: StepKey | None) -> Iterator[Step]:
        for place, step in enumerate(keyed):
            onward = keyed[place + 1].key if place + 1 < len(keyed) else after
            yield from self._step(step, onward)

    def _step(self, keyed: KeyedStep, onward: StepKey | None) -> Iterator[Step]:
        common: dict[str, Any] = {
            "key": keyed.key,
            "next": onward,
            "when": self._reading.condition_text((*keyed.path, "when"), keyed.body.when),
        }
        match keyed.body:
            case EmailStep() as body:
                yield self._email(body, keyed.path, common)
            case IfStep() as body:
                yield self._branch(body, keyed, common)
            case SplitStep() as body:
                yield _split(body, keyed, common)
            case WaitStep() | WaitUntilStep() | WaitForStep() as body:
                yield self._wait(body, keyed.path, common)
            case body:
                yield self._action(body, keyed.path, common)
        for branch in keyed.branches:
            yield from self._path(branch.steps, onward)

    # --- waits and paths

    def _wait(self, body: StepBody, path: Path, common: Mapping[str, Any]) -> Step:
        match body:
            case WaitUntilStep():
                offset = self._shift((*path, "offset"), body.offset)
                return WaitUntil(**common, **self._awaited((*path, "wait_until"), body.wait_until), offset=offset)
            case WaitForStep():
                text = self._condition((*path, "wait_for"), body.wait_for)
                return WaitFor(**common, condition=text, up_to=body.up_to)
            case WaitStep():
                return Wait(**common, span=body.wait)
        raise TypeError(f"no wait: {body!r}")

    def _awaited(self, path: Path, text: str) -> dict[str, Any]:
        """What is waited for: a weekday and time, a moment, or a date field."""
        said = text.strip()
        if said[:1].isdigit():
            if not _is_moment(said):
                self._reading.report(path, "moment", f"'{said}' is no moment: use e.g. '2026-12-01 16:00'")
            return {"moment": said}
        if " " in said or _WEEKDAY.match(said):
            try:
                check_weekday_time(said)
            except ValueError as error:
                self._reading.report(path, "weekday", str(error))
            return {"weekday": said}
        self._date_field(path, said)
        return {"field": said}

    def _date_field(self, path: Path, name: str) -> None:
        """Reports a field that holds no date."""
        reading = self._reading
        custom = reading.vocabulary.custom
        moments = [field for field, kind in LEAD_FIELDS.items() if kind is Kind.MOMENT]
        if name.startswith("event."):
            if not reading.vocabulary.trigger:
                reading.report(path, "date-field", f"'{name}' is of the event in 'trigger:', and there is none here")
            return
        if name.startswith(CUSTOM):
            key = name.removeprefix(CUSTOM)
            if not is_custom_name(key):
                reading.report(path, "unknown-field", f"'{name}' can't be a field: use a to z, 0 to 9 and '_'")
            elif custom is not None:
                declared = {f"{CUSTOM}{each}": kind for each, kind in custom.items()}
                reading.known(path, name, "field", declared)
                if declared.get(name, "date") not in ("date", "datetime", "text"):
                    reading.report(path, "date-field", f"'{name}' is declared to hold no date in [fields]")
            return
        hint = f"{CUSTOM}X, event.X, or one of these"
        reading.known(path, name, "date field", [*moments, *(f"{CUSTOM}{each}" for each in custom or ())], none=hint)

    def _shift(self, path: Path, text: str | None) -> Shift:
        if text is None:
            return Shift()
        said = text.strip()
        try:
            return Shift(span=read_span(said.lstrip("+-").strip()), back=said.startswith("-"))
        except ValueError:
            self._reading.report(path, "offset", f"'{said}' is no offset: use e.g. '-1 day' or '2 hours'")
            return Shift()

    def _branch(self, body: IfStep, keyed: KeyedStep, common: Mapping[str, Any]) -> Branch:
        after: StepKey | None = common["next"]
        conditions = [self._condition((*keyed.path, "if"), body.if_)]
        for number, arm in enumerate(body.elif_):
            conditions.append(self._condition((*keyed.path, "elif", number, "if"), arm.if_))
        *paths, otherwise = [branch.steps[0].key if branch.steps else after for branch in keyed.branches]
        arms = tuple(Arm(condition=text, next=first) for text, first in zip(conditions, paths, strict=True))
        return Branch(**{**common, "next": otherwise}, arms=arms, after=after)

    # --- what is done at once

    def _action(self, body: StepBody, path: Path, common: Mapping[str, Any]) -> Step:
        reading = self._reading
        match body:
            case GotoStep():
                reading.known((*path, "goto"), body.goto, "step", self._targets, none="no step here has an id")
                return Goto(**common, to=self._targets.get(body.goto, common["key"]), back=False)
            case NotifyStep():
                self._person((*path, "notify"), body.notify, channels=True)
                return Notify(**common, to=body.notify, message=body.message, alert=body.alert)
            case TaskStep():
                return self._task(body, path, common)
            case PromoteStep():
                reading.known((*path, "promote"), body.promote, "stage", PROMOTABLE)
                return Promote(**common, stage=body.promote)
            case SetStep():
                return SetFields(**common, fields=self._fields((*path, "set"), body.set))
            case TagStep():
                return Tag(**common, tag=body.tag)
            case UntagStep():
                return Untag(**common, tag=body.untag)
            case EnrollStep():
                reading.known((*path, "enroll"), body.enroll, "cadence", reading.names.cadences)
                return EnrollIn(**common, cadence=body.enroll)
            case WebhookStep():
                none = "there is no [alerts.…] of kind webhook in config.toml"
                reading.known((*path, "webhook"), body.webhook, "channel", reading.names.webhooks, none=none)
                return Webhook(**common, channel=body.webhook)
            case SunsetStep():
                return Sunset(**_ending(common, body), reason=body.sunset)
            case ExitStep():
                return Exit(**_ending(common, body), reason=body.exit)
        raise TypeError(f"no step: {body!r}")

    def _person(self, path: Path, name: str, *, channels: bool) -> None:
        reading = self._reading
        known = {"sales", "owner", *reading.names.reps, *(reading.names.channels if channels else ())}
        reading.known(path, name, "rep", known)

    def _task(self, body: TaskStep, path: Path, common: Mapping[str, Any]) -> Task:
        self._person((*path, "to"), body.to, channels=False)
        if body.up_to is not None and not body.wait:
            cure = "'up_to' bounds how long the task is waited for: add 'wait: true', or leave it out"
            self._reading.report((*path, "up_to"), "task", cure, at_key=True)
        return Task(
            **common,
            text=body.task,
            task_kind=body.kind,
            to=body.to,
            due=body.due,
            wait=body.wait,
            up_to=body.up_to,
        )

    def _fields(self, path: Path, said: Mapping[str, Any]) -> dict[str, str | None]:
        """name -> text, or None to clear it; each as the lead's field takes it."""
        fields: dict[str, str | None] = {}
        if not said:
            self._reading.report(path, "set", "nothing is set: write e.g. 'set: {custom.plan: pro}'")
        for name, value in said.items():
            text = _as_text(value)
            try:
                self._field((*path, name), name, text)
            except Problem as problem:
                self._reading.report((*path, name), "set", str(problem))
            fields[name] = text or None
        return fields

    def _field(self, path: Path, name: str, text: str) -> None:
        """Reports a field that can't be set; raises Problem for a value that it can't hold."""
        if name.startswith(CUSTOM):
            self._reading.field(path, name)
            read_custom_field(name.removeprefix(CUSTOM), text)
        elif name in SETTABLE:
            if text:
                read_field(name, text)
        else:
            self._reading.known(path, name, "field", [*SETTABLE, f"{CUSTOM}…"])

    # --- mail

    def _email(self, body: EmailStep, path: Path, common: Mapping[str, Any]) -> Email:
        reading = self._reading
        reading.template((*path, "email"), body.email)
        arms = self._arms(body, path)
        for name, template in body.body.items() if body.body is not None else ():
            reading.template((*path, "body", name), template)
        self._senders(body, path)
        if body.test is not None and len(arms) < 2:
            reading.report((*path, "test"), "test", "a test needs several subjects: subject: {a: …, b: …}", at_key=True)
        return Email(
            **common,
            template=body.email,
            subjects=_by_arm(body.subject, arms),
            preheader=body.preheader,
            bodies=dict(body.body or {}),
            senders=dict(body.sender) if isinstance(body.sender, dict) else {},
            vars={name: _by_arm(said, arms) for name, said in (body.vars or {}).items()},
            locales=self._locales(body, path, arms),
            attachments=tuple(body.attachments or ()),
            ics=body.ics,
            reply_in_thread=body.reply_in_thread,
            test=_test(body.test, len(arms)),
            sender=body.sender if isinstance(body.sender, str) else None,
            window=None if body.window is None else window_within(body.window, self._window),
            max_late=body.max_late,
            expires=self._expiry(body, path),
            transactional=body.transactional,
            role=body.role,
            per_lead=body.compile == "per_lead",
        )

    def _arms(self, body: EmailStep, path: Path) -> tuple[str, ...]:
        """The names of the step's arms, which all its mappings share; ("",) where nothing differs."""
        mappings: list[tuple[Path, Mapping[str, str]]] = [
            (place, said)
            for place, said in (
                ((*path, "subject"), body.subject),
                ((*path, "body"), body.body),
                ((*path, "sender"), body.sender),
                *(((*path, "vars", name), said) for name, said in (body.vars or {}).items()),
            )
            if isinstance(said, dict)
        ]
        if not mappings:
            return ("",)
        first = tuple(mappings[0][1])
        for place, said in mappings[1:]:
            if set(said) != set(first):
                message = f"arms {', '.join(said)}: all arms of a step have the same names, here {', '.join(first)}"
                self._reading.report(place, "arms", message, at_key=True)
        return first

    def _senders(self, body: EmailStep, path: Path) -> None:
        said = body.sender.items() if isinstance(body.sender, dict) else [("", body.sender)]
        for arm, sender in said:
            place = (*path, "sender", arm) if arm else (*path, "sender")
            if sender != "owner":
                self._reading.known(place, sender, "sender", self._reading.names.senders)

    def _locales(self, body: EmailStep, path: Path, arms: tuple[str, ...]) -> dict[str, Locale]:
        locales: dict[str, Locale] = {}
        for language, said in (body.locales or {}).items():
            place = (*path, "locales", language)
            if not _LANGUAGE.fullmatch(language):
                message = f"'{language}' is no language: use two small letters, e.g. 'de'"
                self._reading.report(place, "language", message, at_key=True)
            subjects = said.subject
            if isinstance(subjects, dict) and set(subjects) != set(arms):
                message = f"arms {', '.join(subjects)}: all arms of a step have the same names, here {', '.join(arms)}"
                self._reading.report((*place, "subject"), "arms", message, at_key=True)
            by_arm = {} if subjects is None else _by_arm(subjects, arms)
            locales[language] = Locale(subjects=by_arm, preheader=said.preheader)
        return locales

    def _expiry(self, body: EmailStep, path: Path) -> Expiry | None:
        if body.expires is None:
            return None
        self._date_field((*path, "expires", "at"), body.expires.at)
        return Expiry(field=body.expires.at, offset=self._shift((*path, "expires", "offset"), body.expires.offset))

    def _condition(self, path: Path, text: str) -> str:
        return self._reading.condition_text(path, text) or text


def _with_direction(steps: dict[StepKey, Step], first: StepKey) -> dict[StepKey, Step]:
    """The same, each jump knowing whether it leads back to where it may be come to again."""
    shape = Cadence(name="", title="", sender="", window=Window(), first=first, steps=steps)
    return {
        key: Goto(key=key, next=step.next, when=step.when, to=step.to, back=key in reachable(shape, step.to))
        if isinstance(step, Goto)
        else step
        for key, step in steps.items()
    }


def _split(body: SplitStep, keyed: KeyedStep, common: Mapping[str, Any]) -> Split:
    """Without `test:` the paths keep their weights, and are only compared."""
    paths = {
        branch.name: SplitPath(weight=body.split[branch.name].weight, next=branch.steps[0].key)
        for branch in keyed.branches
    }
    test = Test(send="split") if body.test is None else _read_test(body.test)
    return Split(**common, paths=paths, test=test)


def _ending(common: Mapping[str, Any], body: StepBody) -> dict[str, Any]:
    return {**common, "next": None if body.when is None else common["next"]}


def _by_arm(said: str | Mapping[str, str], arms: tuple[str, ...]) -> dict[str, str]:
    """A text is the same for every arm."""
    return dict(said) if isinstance(said, Mapping) else dict.fromkeys(arms, said)


def _test(body: TestBody | None, arms: int) -> Test | None:
    """Several arms are a test, also where its rules are not said."""
    if body is None:
        return Test() if arms > 1 else None
    return _read_test(body)


def _read_test(body: TestBody) -> Test:
    return Test(metric=body.metric, send=body.send, proof=body.proof)


def _is_moment(text: str) -> bool:
    return field_moment(text, ZoneInfo("UTC")) is not None


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
