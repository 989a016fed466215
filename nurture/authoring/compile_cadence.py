"""A cadence file becomes the graph that the engine runs: nested steps are flattened, names and conditions checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nurture.authoring.cadence_file import (
    CadenceFile,
    EmailStep,
    ExitStep,
    IfStep,
    NotifyStep,
    PromoteStep,
    TagStep,
    TestBody,
    UntagStep,
    WaitForStep,
    WaitStep,
)
from nurture.authoring.reading import Reading
from nurture.authoring.step_keys import KeyedStep, in_file_order, key_steps
from nurture.documents.document import Path
from nurture.domain.cadence import (
    Arm,
    Branch,
    Cadence,
    Email,
    Exit,
    Notify,
    Promote,
    Span,
    Step,
    StepKey,
    Tag,
    Test,
    Untag,
    Wait,
    WaitFor,
    Window,
)
from nurture.domain.conditions.vocabulary import LEAD_FIELDS
from nurture.domain.stages import Stage
from nurture.domain.windows import parse_window

PROMOTABLE = tuple(stage.value for stage in Stage if stage not in (Stage.VISITOR, Stage.LEAD, Stage.DISQUALIFIED))

_NOTHING = Span(amount=0, unit="minutes")


def compile_cadence(reading: Reading, file: CadenceFile, *, name: str, sender: str, outer: Window) -> Cadence:
    """The cadence; `sender` and `outer` (a window) are the workspace's.

    What is wrong with it is in `reading.findings`; then the result is only good for more checks.
    """
    window = _window(file.window, outer)
    keyed = key_steps(file.steps)
    _check_ids(reading, keyed)
    _check_names(reading, file)
    steps = {step.key: step for step in _Compiler(reading, window).path(keyed, None)}
    return Cadence(
        name=name,
        title=file.name or name,
        status=file.status,
        funnel=file.funnel,
        segment=_segment(reading, file.segment),
        enroll=file.enroll,
        priority=file.priority,
        concurrent=file.concurrent,
        customers=file.customers,
        topic=file.topic,
        sender=file.sender or sender,
        goal=reading.condition_text(("goal",), file.goal),
        goal_within=file.goal_within,
        exit=reading.condition_text(("exit",), file.exit),
        window=window,
        first=keyed[0].key,
        steps=steps,
        max_late=Cadence.max_late if file.max_late is None else file.max_late,
    )


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


def _window(said: Any, outer: Window) -> Window:
    return outer if said is None else parse_window(said, outer)


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


class _Compiler:
    """Builds the steps of a path and of the paths inside of it, each with where it goes on."""

    def __init__(self, reading: Reading, window: Window) -> None:
        self._reading = reading
        self._window = window

    def path(self, keyed: Sequence[KeyedStep], after: StepKey | None) -> Iterator[Step]:
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
            case WaitStep() as body:
                yield Wait(**common, span=body.wait)
            case WaitForStep() as body:
                text = self._condition((*keyed.path, "wait_for"), body.wait_for)
                yield WaitFor(**common, condition=text, up_to=body.up_to)
            case IfStep() as body:
                yield self._branch(body, keyed, common)
                for branch in keyed.branches:
                    yield from self.path(branch.steps, onward)
            case NotifyStep() as body:
                targets = {"sales", "owner", *self._reading.names.reps, *self._reading.names.channels}
                self._reading.known((*keyed.path, "notify"), body.notify, "rep", targets)
                yield Notify(**common, to=body.notify, message=body.message)
            case PromoteStep() as body:
                self._reading.known((*keyed.path, "promote"), body.promote, "stage", PROMOTABLE)
                yield Promote(**common, stage=body.promote)
            case TagStep() as body:
                yield Tag(**common, tag=body.tag)
            case UntagStep() as body:
                yield Untag(**common, tag=body.untag)
            case ExitStep() as body:
                yield Exit(**{**common, "next": None if body.when is None else onward}, reason=body.exit)
            case _:
                # `not_yet` has reported this kind; what it would do is left out
                yield Wait(**common, span=_NOTHING)

    def _email(self, body: EmailStep, path: Path, common: Mapping[str, Any]) -> Email:
        reading = self._reading
        reading.template((*path, "email"), body.email)
        sender = body.sender if isinstance(body.sender, str) else None
        if sender != "owner":
            reading.known((*path, "sender"), sender, "sender", reading.names.senders)
        subjects = body.subject if isinstance(body.subject, dict) else {"": body.subject}
        if body.test is not None and len(subjects) < 2:
            reading.report((*path, "test"), "test", "a test needs several subjects: subject: {a: …, b: …}", at_key=True)
        return Email(
            **common,
            template=body.email,
            subjects=subjects,
            preheader=body.preheader,
            test=_test(body.test, len(subjects)),
            sender=sender,
            window=None if body.window is None else _window(body.window, self._window),
            max_late=body.max_late,
            transactional=body.transactional,
            role=body.role,
            per_lead=body.compile == "per_lead",
        )

    def _branch(self, body: IfStep, keyed: KeyedStep, common: Mapping[str, Any]) -> Branch:
        after: StepKey | None = common["next"]
        conditions = [self._condition((*keyed.path, "if"), body.if_)]
        for number, arm in enumerate(body.elif_):
            conditions.append(self._condition((*keyed.path, "elif", number, "if"), arm.if_))
        *paths, otherwise = [branch.steps[0].key if branch.steps else after for branch in keyed.branches]
        arms = tuple(Arm(condition=text, next=first) for text, first in zip(conditions, paths, strict=True))
        return Branch(**{**common, "next": otherwise}, arms=arms, after=after)

    def _condition(self, path: Path, text: str) -> str:
        return self._reading.condition_text(path, text) or text


def _test(body: TestBody | None, arms: int) -> Test | None:
    """Several subjects are a test, also where its rules are not said."""
    if body is None:
        return Test() if arms > 1 else None
    return Test(metric=body.metric, send=body.send, proof=body.proof)


def reachable(cadence: Cadence) -> frozenset[StepKey]:
    """The steps that some lead can come to."""
    found: set[StepKey] = set()
    waiting = [cadence.first]
    while waiting:
        key = waiting.pop()
        if key is None or key in found or key not in cadence.steps:
            continue
        found.add(key)
        waiting.extend(_exits_of(cadence.steps[key]))
    return frozenset(found)


def _exits_of(step: Step) -> list[StepKey | None]:
    if isinstance(step, Branch):
        onward = [step.next, *(arm.next for arm in step.arms)]
        return [*onward, step.after] if step.when is not None else onward
    if isinstance(step, Exit) and step.when is None:
        return []
    return [step.next]
