"""The form of cadences/NAME.yaml: every key that there is, whether or not this version acts on it (`not_yet.py`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from nurture.documents.nearest import suggest
from nurture.documents.strict import Strict, misplaced, say
from nurture.documents.values import Duration, Name, PartialWindow, SpanText, Text
from nurture.domain.stages import Stage

PROMOTABLE = tuple(stage.value for stage in Stage if stage not in (Stage.VISITOR, Stage.LEAD, Stage.DISQUALIFIED))
"""The stages that a step can move a lead to."""
Filled = Annotated[str, Field(min_length=1)]
Condition = Filled
"""Checked by `authoring/conditions.py`, which knows the places inside of it."""
Arms = Annotated[dict[Name, Filled], Field(min_length=2, max_length=10)]
"""Two to ten arms of a test by their names."""
Template = Annotated[Filled, AfterValidator(lambda value: value.removesuffix(".mjml"))]
"""The name of a file in templates/email/, with or without its suffix."""
Funnel = Literal["awareness", "consideration", "decision"]


def _pattern(pattern: str) -> WithJsonSchema:
    """What editors are told of a text; `check` reads it more closely, and says what is wrong with it."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"\d{1,2}:\d{2}"
_LENGTH = r"\d+(\.\d+)? (minute|hour|day|week|month|year|business day)s?"
Mode = Literal["always", "consent", "hygiene", "never"]
MODES: tuple[Mode, ...] = ("always", "consent", "hygiene", "never")
Bound = Annotated[str, _pattern(rf"^{_DATE}([ T]\d{{2}}:\d{{2}})?$")]
Offset = Annotated[str, _pattern(rf"^[-+]? ?{_LENGTH}( at {_CLOCK})?$")]
Awaited = Annotated[Filled, _pattern(rf"^({_DATE}.*|[A-Za-z]+ {_CLOCK}|[a-z_]+|(custom|event)\.[A-Za-z0-9_]+)$")]
Reentry = Annotated[str, _pattern(rf"^(never|each_event|after {_LENGTH})$")]
Share = Annotated[str, _pattern(r"^\d{1,2}(\.\d+)? ?%$")]
PerTime = Annotated[str, _pattern(r"^\d+ per (\d+ )?(minute|hour|day|week|month)s?$")]
Language = Annotated[str, _pattern(r"^[a-z]{2}(-[A-Za-z]{2})?$")]
Promotable = Annotated[Filled, WithJsonSchema({"type": "string", "enum": list(PROMOTABLE)})]
Track = Annotated[
    Text | dict[str, Text],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(MODES)},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {key: {"type": "string", "enum": list(MODES)} for key in ("opens", "clicks")},
                },
            ]
        }
    ),
]


class TestBody(Strict):
    metric: Filled = "click"
    send: Literal["expected_loss", "thompson", "split"] = "expected_loss"
    proof: Literal["e_process"] = "e_process"


class Expiry(Strict):
    """A message is not sent after the moment that a date field holds."""

    at: Filled
    offset: Offset | None = None


class LocaleBody(Strict):
    subject: Filled | Arms | None = None
    preheader: Filled | None = None


class StepBody(Strict):
    """What every step may carry. `id` is its identity, `when` a condition without which it is skipped."""

    id: Name | None = None
    when: Condition | None = None


class EmailStep(StepBody):
    """Sends a template to the lead."""

    model_config = ConfigDict(json_schema_extra={"required": ["email", "subject", "id"]})

    email: Template
    subject: Filled | Arms
    preheader: Text = ""
    body: Annotated[dict[Name, Template], Field(min_length=2, max_length=10)] | None = None
    sender: Filled | Arms | None = None
    test: TestBody | None = None
    compile: Literal["per_lead"] | None = None
    vars: dict[Name, Filled | Arms] | None = None
    locales: dict[Language, LocaleBody] | None = None
    attachments: list[Filled] | None = None
    ics: bool = False
    reply_in_thread: bool = False
    window: PartialWindow | None = None
    max_late: Duration | None = None
    expires: Expiry | None = None
    role: Literal["problem", "trust", "proof", "offer"] | None = None
    transactional: Literal["confirmation", "delivery", "reminder", "account"] | None = None


class WaitStep(StepBody):
    """Waits: elapsed time, business days, or calendar days at an hour."""

    wait: SpanText


class WaitUntilStep(StepBody):
    """Waits for a weekday, a moment, or a date field."""

    wait_until: Awaited
    offset: Offset | None = None


class WaitForStep(StepBody):
    """Waits until a condition holds, but no longer than `up_to`."""

    wait_for: Condition
    up_to: SpanText


class ElifArm(Strict):
    """One more condition of an `if`."""

    if_: Condition = Field(alias="if")
    then: Annotated[list[Step], Field(min_length=1)]


class IfStep(StepBody):
    """Takes the path of the first condition that holds."""

    if_: Condition = Field(alias="if")
    then: Annotated[list[Step], Field(min_length=1)]
    elif_: list[ElifArm] = Field(default=[], alias="elif")
    else_: Annotated[list[Step], Field(min_length=1)] | None = Field(default=None, alias="else")


class SplitPath(Strict):
    weight: float = Field(gt=0)
    steps: Annotated[list[Step], Field(min_length=1)]


class SplitStep(StepBody):
    """Sends leads along paths by weight."""

    split: Annotated[dict[Name, SplitPath], Field(min_length=2, max_length=10)]
    test: TestBody | None = None


class GotoStep(StepBody):
    """Goes on at another step."""

    goto: Name


class NotifyStep(StepBody):
    """Tells a person or a channel."""

    notify: Filled
    message: Filled
    alert: bool = False


class TaskStep(StepBody):
    """Gives a rep something to do."""

    task: Filled
    kind: Literal["call", "email", "linkedin"] = "call"
    to: Filled = "owner"
    due: SpanText | None = None
    wait: bool = False
    up_to: SpanText | None = None


class PromoteStep(StepBody):
    """Moves the lead up to a stage."""

    promote: Promotable


class SetStep(StepBody):
    """Sets fields of the lead."""

    set: Annotated[dict[str, str | int | float | bool | None], Field(json_schema_extra={"minProperties": 1})]


class TagStep(StepBody):
    tag: Filled


class UntagStep(StepBody):
    untag: Filled


class EnrollStep(StepBody):
    """Enrolls the lead in another cadence."""

    enroll: Filled


class WebhookStep(StepBody):
    """Posts to a channel of kind webhook."""

    webhook: Filled


class SunsetStep(StepBody):
    """Suppresses the lead as gone cold."""

    sunset: Filled


class ExitStep(StepBody):
    """Ends the enrollment with a reason."""

    exit: Filled


STEP_KINDS: tuple[str, ...] = (
    "email",
    "wait",
    "wait_until",
    "wait_for",
    "if",
    "split",
    "goto",
    "notify",
    "task",
    "promote",
    "set",
    "tag",
    "untag",
    "enroll",
    "webhook",
    "sunset",
    "exit",
)


def kind_of(step: Any) -> str | None:
    """The one kind of a written step, or None. A task may carry `wait: true`, which is no step of its own."""
    found = [kind for kind in STEP_KINDS if isinstance(step, dict) and kind in step]
    if "task" in found and "wait" in found:
        found.remove("wait")
    return found[0] if len(found) == 1 else None


def _one_kind(step: Any) -> Any:
    """Says what is wrong with a step whose kind cannot be told."""
    if not isinstance(step, dict):
        raise misplaced((), "step", f"found {say(step)}, a step is a mapping, e.g. '- wait: 3 days'", at="value")
    if kind_of(step) is not None:
        return step
    found = [kind for kind in STEP_KINDS if kind in step]
    if found:
        several = " and ".join(f"'{kind}'" for kind in found)
        raise misplaced((found[1],), "step", f"a step does one thing, found {several}: start a new '- '", at="key")
    common = {"id", "when", "then", "else", "elif", "up_to", "subject", "preheader", "message"}
    wrong = next((str(key) for key in step if key not in common), None)
    if wrong is None:
        raise misplaced(
            (), "step", "a step without its kind: start it with e.g. 'email:', 'wait:' or 'if:'", at="value"
        )
    raise misplaced((wrong,), "unknown-step", f"unknown step '{wrong}'{suggest(wrong, STEP_KINDS)}", at="key")


def _tag_of(step: Any) -> str | None:
    kind = kind_of(step)
    return f"step:{kind}" if kind else None


Step = Annotated[
    Annotated[
        Annotated[EmailStep, Tag("step:email")]
        | Annotated[WaitStep, Tag("step:wait")]
        | Annotated[WaitUntilStep, Tag("step:wait_until")]
        | Annotated[WaitForStep, Tag("step:wait_for")]
        | Annotated[IfStep, Tag("step:if")]
        | Annotated[SplitStep, Tag("step:split")]
        | Annotated[GotoStep, Tag("step:goto")]
        | Annotated[NotifyStep, Tag("step:notify")]
        | Annotated[TaskStep, Tag("step:task")]
        | Annotated[PromoteStep, Tag("step:promote")]
        | Annotated[SetStep, Tag("step:set")]
        | Annotated[TagStep, Tag("step:tag")]
        | Annotated[UntagStep, Tag("step:untag")]
        | Annotated[EnrollStep, Tag("step:enroll")]
        | Annotated[WebhookStep, Tag("step:webhook")]
        | Annotated[SunsetStep, Tag("step:sunset")]
        | Annotated[ExitStep, Tag("step:exit")],
        Discriminator(_tag_of),
    ],
    BeforeValidator(_one_kind),
]


class Trigger(Strict):
    event: Filled
    where: Condition | None = None


class AccountRules(Strict):
    at_once: int | None = Field(default=None, ge=1)
    hold: Literal["pause_colleagues"] | None = None
    won: Literal["exit", "nothing"] | None = None


class CadenceFile(Strict):
    name: Filled | None = None
    funnel: Funnel | None = None
    status: Literal["live", "draft", "paused", "closed"] = "live"
    segment: Condition | None = None
    trigger: Trigger | None = None
    enroll: Literal["only_future", "current_and_future", "only_current"] = "only_future"
    starts: Bound | None = None
    ends: Bound | None = None
    enroll_limit: PerTime | None = None
    reentry: Reentry = "never"
    topic: Filled | None = None
    priority: int = Field(default=50, ge=-1_000_000, le=1_000_000)
    concurrent: bool = False
    customers: bool = False
    sender: Filled | None = None
    goal: Condition | None = None
    goal_within: SpanText | None = None
    exit: Condition | None = None
    exit_on_leave: bool = False
    max_pause: Duration | None = None
    window: PartialWindow | None = None
    account: AccountRules | None = None
    max_late: Duration | None = None
    on_edit: Literal["follow", "pin", "restart"] = "follow"
    holdout: Share | None = None
    canary: int | None = Field(default=None, ge=1)
    track: Track | None = None
    steps: Annotated[list[Step], Field(min_length=1)]


for _model in (ElifArm, IfStep, SplitPath, SplitStep, CadenceFile):
    _model.model_rebuild()
