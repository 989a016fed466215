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
class Email:
    """One message. `subjects` has an entry per arm; a step without variants has the single arm ""."""

    kind: Literal["email"] = "email"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    template: str
    subjects: Mapping[str, str]
    preheader: str = ""
    test: Test | None = None
    sender: str | None = None
    window: Window | None = None
    max_late: timedelta | None = None
    transactional: Literal["confirmation", "delivery", "reminder", "account"] | None = None
    role: Literal["problem", "trust", "proof", "offer"] | None = None
    per_lead: bool = False


@dataclass(frozen=True, kw_only=True)
class Wait:
    kind: Literal["wait"] = "wait"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    span: Span


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
class Notify:
    """`to` is "sales" (the rep that routing gives), "owner", or a rep's or channel's name."""

    kind: Literal["notify"] = "notify"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    to: str
    message: str


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
class Exit:
    kind: Literal["exit"] = "exit"
    key: StepKey
    next: StepKey | None
    when: ConditionText | None = None
    reason: str


Step = Email | Wait | WaitFor | Branch | Notify | Promote | Tag | Untag | Exit


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """`name` is the file's stem and the identity; `title` is what people read.

    Every condition inside is relative to the enrollment where the language says so (`goal`, `exit`, `wait_for`).
    """

    name: str
    title: str
    status: Literal["live", "draft", "paused", "closed"] = "live"
    funnel: Literal["awareness", "consideration", "decision"] | None = None
    segment: ConditionText | None = None
    enroll: Literal["only_future", "current_and_future", "only_current"] = "only_future"
    reentry: Literal["never"] = "never"
    priority: int = 50
    concurrent: bool = False
    customers: bool = False
    topic: str | None = None
    sender: str
    goal: ConditionText | None = None
    goal_within: Span | None = None
    exit: ConditionText | None = None
    window: Window
    max_late: timedelta = timedelta(days=2)
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
