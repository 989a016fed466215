"""A cadence as the engine runs it: a frozen graph of steps, each known by a stable key.

`authoring` compiles files into these values and checks every name in them; from then on nothing looks at YAML
again. Conditions stay as their canonical text (already checked, named segments already written out), because they
are executed as SQL and nowhere else. Everything here turns into JSON and back (`store/cadences.py`), so a version
can be stored whole and its hash is its identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Literal

ConditionText = str
StepKey = str


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time as a marketer says it: elapsed, business days, or calendar days at an hour."""

    amount: float
    unit: Literal["minutes", "hours", "days", "weeks", "business days"]
    at: time | None = None


DateField = str
"""A field that holds a date: `custom.X`, a moment of the lead such as `created_at`, or `event.X`."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A span before (`back`) or after a moment; zero where nothing is said."""

    span: Span = Span(amount=0, unit="minutes")
    back: bool = False


@dataclass(frozen=True, kw_only=True)
class Window:
    """When mail may go out. `days` are ISO weekdays (Monday is 1); `opens > closes` runs over midnight.

    `timezone` is "lead", "workspace" or an IANA name; `holidays` is "lead" (the lead's country's) or "none".
    """

    days: frozenset[int] = frozenset(range(1, 8))
    opens: time = time(0, 0)
    closes: time = time(0, 0)
    timezone: str = "lead"
    holidays: Literal["lead", "none"] = "none"

    @property
    def any_time(self) -> bool:
        return self.opens == self.closes and len(self.days) == 7 and self.holidays == "none"


ANY_TIME = Window()


@dataclass(frozen=True, kw_only=True)
class Test:
    """How a step's arms are compared: what counts, how the next arm is chosen, how a win is proven."""

    metric: str = "click"
    send: Literal["expected_loss", "thompson", "split"] = "expected_loss"
    proof: Literal["e_process"] = "e_process"


@dataclass(frozen=True, kw_only=True)
class Locale:
    """What a step says in another language; what is missing stays as it is. `subjects` has an entry per arm."""

    subjects: Mapping[str, str] = field(default_factory=dict)
    preheader: str | None = None


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """A message is not sent after the moment that `field` holds, moved by `offset`."""

    field: DateField
    offset: Shift = Shift()


JUST_ASKED = ("confirmation", "delivery")
"""Transactional mail that also reaches who unsubscribed and then asked for this."""


@dataclass(frozen=True, kw_only=True)
class Email:
    """One message. `subjects` has an entry per arm; a step without variants has the single arm "".

    `bodies` and `senders` have an entry per arm where they differ by arm, else they are empty and `template` and
    `sender` hold for all. `vars` are texts for the template, each with an entry per arm, or the single one "".
    `sender` is "owner" (the lead's rep), a sender's name, or None: the cadence's.
    """

    kind: Literal["email"] = "email"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    template: str
    subjects: Mapping[str, str]
    preheader: str = ""
    bodies: Mapping[str, str] = field(default_factory=dict)
    senders: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    locales: Mapping[str, Locale] = field(default_factory=dict)
    attachments: tuple[str, ...] = ()
    ics: bool = False
    reply_in_thread: bool = False
    test: Test | None = None
    sender: str | None = None
    window: Window | None = None
    max_late: timedelta | None = None
    expires: Expiry | None = None
    transactional: Literal["confirmation", "delivery", "reminder", "account"] | None = None
    """Asked for, so that window, holidays, caps, priority and holds don't keep it."""
    role: Literal["problem", "trust", "proof", "offer"] | None = None
    per_lead: bool = False

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(self.subjects)

    def template_of(self, arm: str) -> str:
        return self.bodies.get(arm, self.template)

    def sender_of(self, arm: str) -> str | None:
        return self.senders.get(arm, self.sender)

    def vars_of(self, arm: str) -> dict[str, str]:
        return {name: texts.get(arm, texts.get("", "")) for name, texts in self.vars.items()}


@dataclass(frozen=True, kw_only=True)
class Wait:
    kind: Literal["wait"] = "wait"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    span: Span


@dataclass(frozen=True, kw_only=True)
class WaitUntil:
    """Waits for a weekday at an hour ("tuesday 09:00"), a moment ("2026-12-01 16:00"), or what a date field holds."""

    kind: Literal["wait_until"] = "wait_until"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    weekday: str | None = None
    moment: str | None = None
    field: DateField | None = None
    offset: Shift = Shift()


@dataclass(frozen=True, kw_only=True)
class WaitFor:
    """Waits until the condition holds, or `up_to` is over."""

    kind: Literal["wait_for"] = "wait_for"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    condition: ConditionText
    up_to: Span


@dataclass(frozen=True, kw_only=True)
class Arm:
    condition: ConditionText
    next: StepKey | None


@dataclass(frozen=True, kw_only=True)
class Branch:
    """if / elif / else: the first arm whose condition holds, else `next`."""

    kind: Literal["if"] = "if"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    arms: tuple[Arm, ...]
    after: StepKey | None = None
    """Where the paths meet again; where a false `when` goes."""


@dataclass(frozen=True, kw_only=True)
class SplitPath:
    weight: float
    next: StepKey | None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sends each lead along one of the paths, by weight; `next` is where a false `when` goes."""

    kind: Literal["split"] = "split"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    paths: Mapping[str, SplitPath]
    test: Test


@dataclass(frozen=True, kw_only=True)
class Goto:
    """Goes on at `to`. A jump `back` is a new visit, so that steps that sent may send again."""

    kind: Literal["goto"] = "goto"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    to: StepKey
    back: bool


@dataclass(frozen=True, kw_only=True)
class Notify:
    """`to` is "sales" (the rep that routing gives), "owner", or a rep's or channel's name; `alert` asks for answers."""

    kind: Literal["notify"] = "notify"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    to: str
    message: str
    alert: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """Gives a rep something to do. With `wait` the cadence goes on when it is closed, or `up_to` is over."""

    kind: Literal["task"] = "task"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    text: str
    task_kind: Literal["call", "email", "linkedin"] = "call"
    to: str = "owner"
    due: Span | None = None
    wait: bool = False
    up_to: Span | None = None


@dataclass(frozen=True, kw_only=True)
class SetFields:
    """Sets fields of the lead; a value of None clears one."""

    kind: Literal["set"] = "set"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    fields: Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class EnrollIn:
    """Enrolls the lead in another cadence, by that one's rules of re-entry."""

    kind: Literal["enroll"] = "enroll"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    cadence: str


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Posts to a channel of kind webhook."""

    kind: Literal["webhook"] = "webhook"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    channel: str


@dataclass(frozen=True, kw_only=True)
class Promote:
    kind: Literal["promote"] = "promote"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    stage: str


@dataclass(frozen=True, kw_only=True)
class Tag:
    kind: Literal["tag"] = "tag"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    tag: str


@dataclass(frozen=True, kw_only=True)
class Untag:
    kind: Literal["untag"] = "untag"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    tag: str


@dataclass(frozen=True, kw_only=True)
class Sunset:
    """Suppresses the lead as gone cold, and ends the enrollment; a human event or new consent lifts it."""

    kind: Literal["sunset"] = "sunset"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Exit:
    kind: Literal["exit"] = "exit"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    reason: str


Action = Notify | Task | Promote | SetFields | Tag | Untag | EnrollIn | Webhook
"""Steps whose effect is done at once."""
Step = Email | Wait | WaitUntil | WaitFor | Branch | Split | Goto | Action | Sunset | Exit


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """An event that enrolls whom it happens to; `where` is a condition that may speak of `event.X`."""

    event: str
    where: ConditionText | None = None


@dataclass(frozen=True, kw_only=True)
class AccountRules:
    """Rules over colleagues of one company.

    `at_once`: how many of them may be under way. `hold` "pause_colleagues": a sales hold of one holds the others.
    `won` "exit": when one becomes a customer, the others leave.
    """

    at_once: int | None = None
    hold: Literal["pause_colleagues"] | None = None
    won: Literal["exit", "nothing"] = "nothing"


@dataclass(frozen=True, kw_only=True)
class EnrollLimit:
    """At most `count` new enrollments within any stretch of `within`."""

    count: int
    within: timedelta


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What of a cadence's mail is tracked; None: as the workspace says."""

    opens: Literal["always", "consent", "hygiene", "never"] | None = None
    clicks: Literal["always", "consent", "hygiene", "never"] | None = None


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """`name` is the file's stem and the identity; `title` is what people read.

    Every condition inside is relative to the enrollment where the language says so (`goal`, `exit`, `wait_for`).
    `reentry` is "never", "each_event", or how long after the end of a run the next may begin. `starts` and `ends`
    bound when leads enter. `holdout` is the share of leads kept out, 0 to 1. `canary`: how many enrollments a change
    goes ahead with.
    """

    name: str
    title: str
    status: Literal["live", "draft", "paused", "closed"] = "live"
    funnel: Literal["awareness", "consideration", "decision"] | None = None
    segment: ConditionText | None = None
    trigger: Trigger | None = None
    enroll: Literal["only_future", "current_and_future", "only_current"] = "only_future"
    starts: datetime | None = None
    ends: datetime | None = None
    enroll_limit: EnrollLimit | None = None
    reentry: Literal["never", "each_event"] | timedelta = "never"
    priority: int = 50
    concurrent: bool = False
    customers: bool = False
    topic: str | None = None
    sender: str
    goal: ConditionText | None = None
    goal_within: Span | None = None
    exit: ConditionText | None = None
    exit_on_leave: bool = False
    max_pause: timedelta = timedelta(days=14)
    window: Window
    account: AccountRules | None = None
    max_late: timedelta = timedelta(days=2)
    on_edit: Literal["follow", "pin", "restart"] = "follow"
    holdout: float = 0.0
    canary: int | None = None
    track: Tracking = Tracking()
    first: StepKey | None
    steps: Mapping[StepKey, Step] = field(default_factory=dict)
    """In the order of the file."""


@dataclass(frozen=True, kw_only=True)
class FrequencyCap:
    """At most `count` marketing messages to one lead within any stretch of `within`."""

    count: int
    within: timedelta


@dataclass(frozen=True, kw_only=True)
class StoredCadence:
    """A cadence as taken up: its version is the hash of its compiled form."""

    version: str
    cadence: Cadence
    taken_up_at: datetime
