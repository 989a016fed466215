"""Every table. Rows are read as columns, not objects, on hot paths; writes are guarded by what was read.

All times are aware UTC (`UTCDateTime`). Status columns are assigned only through guarded updates that follow the
transition tables in `domain`. Nothing here reads a clock: every timestamp is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime in, an aware UTC datetime out; SQLite would drop the offset by itself."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone reached the database: {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """What `process_result_value` would be, without its two calls for each value of each row."""
        if dialect.name == "sqlite":
            return lambda text: None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
        return lambda moment: None if moment is None else moment.astimezone(UTC)


BigKey = BigInteger().with_variant(Integer(), "sqlite")


def _key() -> Any:
    return Field(default=None, sa_column=Column(BigKey, primary_key=True, autoincrement=True))


def _ref(*, index: bool = False, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(BigKey, nullable=nullable, index=index))


def _time(*, nullable: bool = True, index: bool = False) -> Any:
    return Field(default=None, sa_column=Column(UTCDateTime, nullable=nullable, index=index))


def _json(*, nullable: bool = False) -> Any:
    return Field(default_factory=dict, sa_column=Column(JSON, nullable=nullable))


class Lead(SQLModel, table=True):
    """A person. `email_key` is the address folded for comparing (lower case, ASCII domain) and is the identity.

    `stage` is `visitor` until there is permission. `consented_at` and `consent_until` mirror the consent rows for
    marketing by e-mail. `custom` holds the given text of each custom field; `readings` holds what that text is when
    read as a number, a moment or a truth value ({"number": {name: 80}, "moment": …, "truth": …}), made by
    `domain/custom.py` on every write so that both databases compare the same values.
    `gains` and `losses` are ln Σ w·e^{λ(t−epoch)} of engagement (NULL: nothing yet).
    """

    __tablename__ = "lead"
    __table_args__ = (
        UniqueConstraint("email_key", name="lead_email_key"),
        Index("lead_stage", "stage", "id"),
        Index("lead_domain", "email_domain"),
        Index(
            "lead_rescore",
            "id",
            sqlite_where=text("rescore = 1 AND stage <> 'visitor'"),
            postgresql_where=text("rescore AND stage <> 'visitor'"),
        ),
    )

    id: int | None = _key()
    email: str
    email_key: str
    email_domain: str
    first_name: str | None = None
    last_name: str | None = None
    title: str | None = None
    company: str | None = None
    phone: str | None = None
    country: str | None = None
    timezone: str | None = None
    language: str | None = None
    source: str | None = None
    channel: str | None = None
    campaign: str | None = None
    offer: str | None = None
    persona: str | None = None
    partner: str | None = None
    owner: str | None = None
    external_id: str | None = None
    custom: dict[str, Any] = _json()
    readings: dict[str, Any] = _json()
    stage: str = "visitor"
    stage_at: datetime | None = _time()
    demote_since: datetime | None = _time()
    """Since when the stage's `demote_when` has held; NULL while it does not."""
    set_back_at: datetime | None = _time()
    """When the stage last went down (not by a correction): what happened before promotes no more."""
    fit: str = "unknown"
    fit_points: float = 0.0
    gains: float | None = None
    losses: float | None = None
    hot_until: datetime | None = _time(index=True)
    hot_armed: bool = True
    """False from a hot alert until the score fell `hysteresis` points below the line."""
    rescore: bool = True
    """Fields changed since fit was last computed."""
    consented_at: datetime | None = _time()
    consent_until: datetime | None = _time()
    created_at: datetime | None = _time(nullable=False, index=True)
    last_engaged_at: datetime | None = _time()
    contacted_at: datetime | None = _time()
    email_verified_at: datetime | None = _time()
    phone_verified_at: datetime | None = _time()
    hold_until: datetime | None = _time()
    hold_reason: str | None = None
    import_id: int | None = _ref(nullable=True)


class LeadTag(SQLModel, table=True):
    __tablename__ = "lead_tag"
    __table_args__ = (Index("lead_tag_by_tag", "tag", "lead_id"),)

    lead_id: int = Field(sa_column=Column(BigKey, primary_key=True))
    tag: str = Field(primary_key=True)


class Consent(SQLModel, table=True):
    """Proof, append-only. `granted` false is a withdrawal. `kind`: email, phone or tracking."""

    __tablename__ = "consent"

    id: int | None = _key()
    lead_id: int = _ref(index=True)
    at: datetime | None = _time(nullable=False)
    kind: str = "email"
    granted: bool = True
    basis: str = "express"
    """express, double_opt_in, inquiry or existing_customer."""
    text: str = ""
    source: str = ""
    channel: str | None = None
    topics: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    network_address: str | None = None
    expires_at: datetime | None = _time()


class Suppression(SQLModel, table=True):
    """An address that gets nothing. `address_key` is an email_key, "@domain", or "h:" and a keyed hash (erased).

    Lifted, never deleted: a row with `lifted_at` no longer acts.
    """

    __tablename__ = "suppression"
    __table_args__ = (
        Index(
            "suppression_active",
            "address_key",
            unique=True,
            sqlite_where=text("lifted_at IS NULL"),
            postgresql_where=text("lifted_at IS NULL"),
        ),
    )

    id: int | None = _key()
    address_key: str
    reason: str
    """unsubscribed, bounced, complained, erased, cold, by_hand, imported …"""
    at: datetime | None = _time(nullable=False)
    note: str | None = None
    lifted_at: datetime | None = _time()
    lifted_note: str | None = None


class ImportRun(SQLModel, table=True):
    """One `nurture import`: leads of an import made before a cadence existed count as its current leads."""

    __tablename__ = "import_run"

    id: int | None = _key()
    at: datetime | None = _time(nullable=False)
    file: str
    source: str
    counts: dict[str, Any] = _json()


class CadenceVersion(SQLModel, table=True):
    """A compiled cadence, whole. `version` is the hash of `compiled`."""

    __tablename__ = "cadence_version"

    version: str = Field(primary_key=True)
    cadence: str = Field(index=True)
    compiled: dict[str, Any] = _json()
    taken_up_at: datetime | None = _time(nullable=False)


class CadenceState(SQLModel, table=True):
    """The version in force. `first_taken_up_at` separates current from future leads."""

    __tablename__ = "cadence_state"

    cadence: str = Field(primary_key=True)
    version: str
    status: str = Field(default="live", sa_column=Column(Text, nullable=False, server_default="live"))
    """What its file says: in a `draft` or `paused` one nobody moves, and no mail of it goes out."""
    first_taken_up_at: datetime | None = _time(nullable=False)
    removed_at: datetime | None = _time()
    snapshot_at: datetime | None = _time()
    """When its current leads were remembered (`current_lead`); NULL while `starts` lies ahead."""
    cleared_version: str | None = None
    """The version that may enroll: a change that would enroll very many at once waits until a person releases it."""
    held_count: int | None = None
    """How many leads it would have enrolled when it was held; NULL while it is not held."""
    canary_version: str | None = None
    """A changed version that goes ahead for the first enrollments only, while `version` stays in force."""
    canary_at: datetime | None = _time()
    canary_stopped_at: datetime | None = _time()
    """When the change was found to be worse than what is in force; nobody enters it any more."""


class Pause(SQLModel, table=True):
    """What is stopped until a person says go; a row that is there acts.

    `scope`: by hand `all`, `cadence:NAME` or `sender:NAME` (which also stops by itself); after a long stop
    `backlog:NAME`, what could have gone out of that cadence before `at`.
    """

    __tablename__ = "pause"

    scope: str = Field(primary_key=True)
    at: datetime | None = _time(nullable=False)
    note: str | None = None


class Milestone(SQLModel, table=True):
    """Moments that all processes share. `name`: `last_pass`, when any of them last looked for work."""

    __tablename__ = "milestone"

    name: str = Field(primary_key=True)
    at: datetime | None = _time(nullable=False)


class Allowance(SQLModel, table=True):
    """What workers share of a limit. `key`: `rate:…`, whose next message may start at `free_at`, or `slots:…`."""

    __tablename__ = "allowance"

    key: str = Field(primary_key=True)
    free_at: datetime | None = _time()


class SenderState(SQLModel, table=True):
    """A sender's reputation: it is judged by what it sent since `judged_from`, when a person let it go on."""

    __tablename__ = "sender_state"

    sender: str = Field(primary_key=True)
    judged_from: datetime | None = _time()
    warned_at: datetime | None = _time()


class DomainPause(SQLModel, table=True):
    """Mail to a recipient domain that waits: of one sender, whom it blocks, or of all (`sender` is ""): it is ill.

    Nothing goes until `until`; then a few messages try whether it takes mail again, and the row ends, or is renewed
    for longer: `times` counts these. Where a person said that the domain is well, `until` is NULL and `trusted_until`
    is until when its refusals are taken at their word.
    """

    __tablename__ = "domain_pause"

    domain: str = Field(primary_key=True)
    sender: str = Field(primary_key=True)
    since: datetime | None = _time(nullable=False)
    until: datetime | None = _time()
    times: int = 1
    reply: str = Field(sa_column=Column(Text, nullable=False))
    trusted_until: datetime | None = _time()


class DomainReplies(SQLModel, table=True):
    """How many replies a recipient domain gave in five minutes from `at` on, and how many of them were hard."""

    __tablename__ = "domain_replies"

    domain: str = Field(primary_key=True)
    at: datetime | None = Field(sa_column=Column(UTCDateTime, primary_key=True, index=True))
    replies: int = 0
    hard: int = 0


class UnknownHost(SQLModel, table=True):
    """A recipient domain that was found to take no mail, again and again since `since`."""

    __tablename__ = "unknown_host"

    domain: str = Field(primary_key=True)
    since: datetime | None = _time(nullable=False)
    last_at: datetime | None = _time(nullable=False)
    failures: int = 1


class CurrentLead(SQLModel, table=True):
    """Who met a cadence's segment when it began: an `only_future` one never takes them, `only_current` only them."""

    __tablename__ = "current_lead"

    cadence: str = Field(primary_key=True)
    lead_id: int = Field(sa_column=Column(BigKey, primary_key=True))


class Enrollment(SQLModel, table=True):
    """One lead's run through one cadence, standing before `step`.

    `due_at` is the alarm: when `advance` looks next (NULL: nothing to do until a message's outcome or an event).
    `ready_at` is when the present wait ends; waking early changes nothing. `since_at` is when the step before was
    done, where a wait counts from. `message_id` is the message whose outcome is awaited.
    `late_from` is the earliest moment the present step could have gone out, for lateness. `run` tells one lead's runs
    through the cadence apart: "1", a number for a later one, `event:ID` where each event starts one. `visit` counts
    backward jumps, so that a step may send again. `event_id` is the event that triggered it.
    """

    __tablename__ = "enrollment"
    __table_args__ = (
        UniqueConstraint("lead_id", "cadence", "run", name="enrollment_once"),
        Index(
            "enrollment_due",
            "due_at",
            "id",
            sqlite_where=text("status = 'active'"),
            postgresql_where=text("status = 'active'"),
        ),
        Index(
            "enrollment_awaiting",
            "message_id",
            sqlite_where=text("message_id IS NOT NULL"),
            postgresql_where=text("message_id IS NOT NULL"),
        ),
        Index("enrollment_by_cadence", "cadence", "status", "step"),
        Index(
            "enrollment_paused",
            "paused_at",
            sqlite_where=text("status = 'paused'"),
            postgresql_where=text("status = 'paused'"),
        ),
    )

    id: int | None = _key()
    lead_id: int = _ref()
    cadence: str
    version: str
    run: str = "1"
    status: str = "active"
    exit_reason: str | None = None
    priority: int = 50
    concurrent: bool = False
    step: str | None = None
    visit: int = 1
    event_id: int | None = _ref(nullable=True)
    enrolled_at: datetime | None = _time(nullable=False)
    due_at: datetime | None = _time()
    ready_at: datetime | None = _time()
    since_at: datetime | None = _time()
    late_from: datetime | None = _time()
    message_id: int | None = _ref(nullable=True)
    paused_at: datetime | None = _time()
    resumed_at: datetime | None = _time()
    ended_at: datetime | None = _time()
    blocked_by: str | None = None
    """The reason code of what stands in the way now, for `why` and for recording a decision only when it changes."""


class LinkSet(SQLModel, table=True):
    """The destinations of a message's links, by position; messages with the same list share the row."""

    __tablename__ = "link_set"

    digest: str = Field(primary_key=True)
    urls: list[str] = Field(sa_column=Column(JSON, nullable=False))


class Message(SQLModel, table=True):
    """One e-mail, from intent to outcome. `intent_key` makes an intent unique: a second one can't be written.

    `lead_id` is the reader, or for an alert the lead it speaks of. `payload` holds what rendering needs beyond the
    lead (an alert's id, a form's name, an offer). `not_before` is when it may be claimed next.
    `dotted_at` is committed right before the end of the message is written to the wire.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("intent_key", name="message_intent"),
        Index(
            "message_ready",
            "not_before",
            "id",
            sqlite_where=text("status IN ('queued', 'deferred')"),
            postgresql_where=text("status IN ('queued', 'deferred')"),
        ),
        Index(
            "message_leased",
            "lease_until",
            sqlite_where=text("status = 'sending'"),
            postgresql_where=text("status = 'sending'"),
        ),
        Index(
            "message_unknown",
            "id",
            sqlite_where=text("status = 'unknown'"),
            postgresql_where=text("status = 'unknown'"),
        ),
        Index(
            "message_bounced",
            "sender",
            "dotted_at",
            sqlite_where=text("status = 'bounced'"),
            postgresql_where=text("status = 'bounced'"),
        ),
        Index("message_by_lead", "lead_id", "created_at"),
        Index("message_by_step", "cadence", "step", "variant"),
        Index("message_by_header", "message_id"),
        Index("message_by_sender", "sender", "sent_at"),
    )

    id: int | None = _key()
    intent_key: str
    kind: str = "step"
    lead_id: int | None = _ref(nullable=True)
    enrollment_id: int | None = _ref(nullable=True)
    cadence: str | None = None
    version: str | None = None
    step: str | None = None
    visit: int = 1
    variant: str | None = None
    transactional: str | None = None
    to_address: str
    recipient_domain: str
    sender: str
    subject: str | None = None
    message_id: str | None = None
    """The Message-ID header, deterministic from the row."""
    payload: dict[str, Any] = _json()
    status: str = "queued"
    created_at: datetime | None = _time(nullable=False)
    not_before: datetime | None = _time(nullable=False)
    give_up_at: datetime | None = _time()
    attempt: int = 0
    lease_owner: str | None = None
    lease_epoch: int = 0
    lease_until: datetime | None = _time()
    dotted_at: datetime | None = _time()
    sent_at: datetime | None = _time()
    ended_at: datetime | None = _time()
    resent_at: datetime | None = _time()
    """When a person decided that an `unknown` message goes again; its enrollment has gone on and awaits it no more."""
    reply_class: str | None = None
    reply: str | None = Field(default=None, sa_column=Column(Text))
    link_set: str | None = None


class Event(SQLModel, table=True):
    """What happened to a lead, appended. Unique by source and source id, so that nothing counts twice.

    `verdict` holds the verdict in force; every revision is a row of `verdict_change`. `reacted_at` is when `react`
    drew the consequences (NULL: not yet). `props` values are text, numbers or booleans; `readings` holds what they are
    when read as a text, a number, a moment or a truth value (NULL: no props), as `lead.readings` does.
    """

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("source", "source_id", name="event_source"),
        Index("event_by_lead", "lead_id", "kind", "verdict", "at"),
        Index("event_by_kind", "kind", "at", "verdict", "lead_id"),
        Index("event_by_message", "message_id", "kind", "at"),
        Index("event_by_enrollment", "enrollment_id", "kind", "step"),
        Index(
            "event_pending",
            "id",
            sqlite_where=text("reacted_at IS NULL"),
            postgresql_where=text("reacted_at IS NULL"),
        ),
    )

    id: int | None = _key()
    lead_id: int = _ref()
    kind: str
    at: datetime | None = _time(nullable=False)
    recorded_at: datetime | None = _time(nullable=False)
    verdict: str = "human"
    verdict_reason: str | None = None
    source: str
    source_id: str
    message_id: int | None = _ref(nullable=True)
    enrollment_id: int | None = _ref(nullable=True)
    cadence: str | None = None
    step: str | None = None
    link: str | None = None
    link_name: str | None = None
    path: str | None = None
    value: float | None = None
    currency: str | None = None
    props: dict[str, Any] = _json()
    readings: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    reacted_at: datetime | None = _time()


class VerdictChange(SQLModel, table=True):
    __tablename__ = "verdict_change"
    __table_args__ = (
        Index(
            "verdict_change_pending",
            "id",
            sqlite_where=text("reacted_at IS NULL"),
            postgresql_where=text("reacted_at IS NULL"),
        ),
    )

    id: int | None = _key()
    event_id: int = _ref(index=True)
    at: datetime | None = _time(nullable=False)
    before: str
    after: str
    reason: str
    reacted_at: datetime | None = _time()


class Hit(SQLModel, table=True):
    """A raw request on a tracked address, kept for the verdict and for audits; `retention` ends it."""

    __tablename__ = "hit"
    __table_args__ = (Index("hit_by_message", "message_id", "at"),)

    id: int | None = _key()
    at: datetime | None = _time(nullable=False, index=True)
    route: str
    method: str
    message_id: int | None = _ref(nullable=True)
    link_index: int | None = None
    user_agent: str = ""
    network_address: str = ""
    headers: dict[str, Any] = _json()
    event_id: int | None = _ref(nullable=True)


class Decision(SQLModel, table=True):
    """What was decided and why: the past that `nurture why` tells. `detail` fills the sentence of the code."""

    __tablename__ = "decision"
    __table_args__ = (Index("decision_by_lead", "lead_id", "at"),)

    id: int | None = _key()
    at: datetime | None = _time(nullable=False)
    lead_id: int = _ref()
    enrollment_id: int | None = _ref(nullable=True)
    cadence: str | None = None
    step: str | None = None
    code: str
    detail: dict[str, Any] = _json()


class ScoreEntry(SQLModel, table=True):
    """The ledger. Fit is the sum of its `fit` lines; engagement decays from its `engagement` lines."""

    __tablename__ = "score_ledger"
    __table_args__ = (Index("score_by_lead", "lead_id", "at"), Index("score_by_rule", "lead_id", "rule", "at"))

    id: int | None = _key()
    lead_id: int = _ref()
    at: datetime | None = _time(nullable=False)
    kind: str
    """fit or engagement."""
    rule: str
    points: float
    event_id: int | None = _ref(nullable=True)
    note: str | None = None


class StageMove(SQLModel, table=True):
    """Stage history, append-only. `because` names the condition, the step or the person."""

    __tablename__ = "stage_history"
    __table_args__ = (Index("stage_by_lead", "lead_id", "at"), Index("stage_by_stage", "after", "at"))

    id: int | None = _key()
    lead_id: int = _ref()
    at: datetime | None = _time(nullable=False)
    before: str
    after: str
    kind: str
    because: str
    event_id: int | None = _ref(nullable=True)


class Assignment(SQLModel, table=True):
    """Which arm a lead is in, stored once, with the odds it was drawn at."""

    __tablename__ = "assignment"
    __table_args__ = (Index("assignment_by_arm", "experiment", "arm"),)

    experiment: str = Field(primary_key=True)
    """`cadence/step`, or `cadence/step@N` after the arms themselves were changed."""
    lead_id: int = Field(sa_column=Column(BigKey, primary_key=True))
    arm: str
    odds: float
    at: datetime | None = _time(nullable=False)


class ExperimentState(SQLModel, table=True):
    """What `maintain` last learned of an experiment. `odds`, in force for the next assignments, names its arms.

    `winner` is the arm that `expected_loss` settled on; `proven_arm` the one that the e-process proved, for good.
    """

    __tablename__ = "experiment_state"

    experiment: str = Field(primary_key=True)
    compares: str = Field(default="mail", sa_column=Column(Text, nullable=False, server_default="mail"))
    """`mail`: the arms of a step's messages; `path`: the paths of a split."""
    odds: dict[str, Any] = _json()
    metric: str = "click"
    e_value: float = 1.0
    winner: str | None = None
    proven_arm: str | None = None
    proven_at: datetime | None = _time()
    computed_at: datetime | None = _time(nullable=False)


class Alert(SQLModel, table=True):
    """A rep is told that a lead turned hot. One open alert a lead; new reasons join it.

    `status`: open, claimed, snoozed, rejected, meeting, won, lost, closed; `notice` for a message to a rep that asks
    for no answer. `rep` is empty until `hand_over` has routed it. `to` is whom a step named: sales, owner, a rep or
    a channel. `told_at`: when its first mail was queued.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "alert_open",
            "lead_id",
            unique=True,
            sqlite_where=text("status IN ('open', 'snoozed')"),
            postgresql_where=text("status IN ('open', 'snoozed')"),
        ),
        Index("alert_by_rep", "rep", "status"),
        Index("alert_by_turn", "routed_by", "created_at"),
        Index("alert_by_event", "event_id"),
        Index("alert_by_lead", "lead_id", "created_at"),
    )

    id: int | None = _key()
    lead_id: int = _ref()
    rep: str = ""
    to: str = "sales"
    channel: str = "email"
    status: str = "open"
    rule: str
    """What raised it: `hot`, an event's name, or `cadence/step` of a notify."""
    event_id: int | None = _ref(nullable=True)
    """The event that raised it, which must still be a person's when the rep is told."""
    message: str | None = None
    reasons: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    evidence: dict[str, Any] = _json()
    routed_by: str = ""
    """How the rep was found: owner, account, named, or `turn: REPS`, by weight among those of a routing rule."""
    created_at: datetime | None = _time(nullable=False)
    told_at: datetime | None = _time()
    told_count: int = 0
    """How many mails it was told in; numbers their intents."""
    due_at: datetime | None = _time(index=True)
    """When `hand_over` tells it next: the moment it may be told, a snooze's end; NULL: it is told, or answered."""
    answered_at: datetime | None = _time()


class AlertAnswer(SQLModel, table=True):
    """A rep's answer, append-only."""

    __tablename__ = "alert_answer"

    id: int | None = _key()
    alert_id: int = _ref(index=True)
    at: datetime | None = _time(nullable=False)
    answer: str
    reason: str | None = None
    note: str | None = None
    rep: str
    details: dict[str, Any] = _json()


class Task(SQLModel, table=True):
    """What a rep has to do, from a `task` step. `task_key` makes one of each step and visit.

    `status`: open, or its outcome `done`, `no answer`, `wrong number`, `skipped`; `canceled` where its lead was erased.
    `to` is whom the step named; `rep` is empty until `hand_over` has routed it.
    """

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("task_key", name="task_once"),
        Index("task_by_rep", "rep", "status"),
        Index("task_by_lead", "lead_id", "created_at"),
        Index("task_by_enrollment", "enrollment_id", "step"),
        Index(
            "task_untold",
            "id",
            sqlite_where=text("status = 'open' AND told_at IS NULL"),
            postgresql_where=text("status = 'open' AND told_at IS NULL"),
        ),
    )

    id: int | None = _key()
    task_key: str
    lead_id: int = _ref()
    enrollment_id: int | None = _ref(nullable=True)
    cadence: str
    step: str
    kind: str = "call"
    """call, email or linkedin."""
    text: str
    to: str = "owner"
    rep: str = ""
    status: str = "open"
    created_at: datetime | None = _time(nullable=False)
    due_at: datetime | None = _time()
    told_at: datetime | None = _time()
    closed_at: datetime | None = _time()
    closed_by: str | None = None
    note: str | None = None


class Post(SQLModel, table=True):
    """A signed webhook on its way out. `post_key` makes it unique and is what the receiver tells repeats apart by.

    `status`: queued, delivered or failed. One lead's posts to one channel go in their order; `not_before` is when it
    may be tried next, `lease_until` until when somebody is trying it.
    """

    __tablename__ = "post"
    __table_args__ = (
        UniqueConstraint("post_key", name="post_once"),
        Index(
            "post_ready",
            "not_before",
            "id",
            sqlite_where=text("status = 'queued'"),
            postgresql_where=text("status = 'queued'"),
        ),
        Index("post_by_lead", "lead_id", "channel", "id"),
    )

    id: int | None = _key()
    post_key: str
    channel: str
    lead_id: int | None = _ref(nullable=True)
    kind: str
    """The event's type in the body, e.g. `cadence.step`."""
    body: dict[str, Any] = _json()
    status: str = "queued"
    created_at: datetime | None = _time(nullable=False)
    not_before: datetime | None = _time(nullable=False)
    attempt: int = 0
    lease_until: datetime | None = _time()
    ended_at: datetime | None = _time()
    reply: str | None = Field(default=None, sa_column=Column(Text))


class Spend(SQLModel, table=True):
    __tablename__ = "spend"
    __table_args__ = (UniqueConstraint("month", "channel", "campaign", name="spend_once"),)

    id: int | None = _key()
    month: str
    """YYYY-MM."""
    channel: str
    campaign: str = ""
    amount: float
    currency: str


class FormView(SQLModel, table=True):
    """Views of hosted forms, counted a day (no person in it)."""

    __tablename__ = "form_view"

    form: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    views: int = 0


class OptIn(SQLModel, table=True):
    """A form submitted but not yet confirmed, or confirmed: what was asked, with which consent text."""

    __tablename__ = "opt_in"

    id: int | None = _key()
    lead_id: int = _ref(index=True)
    form: str
    at: datetime | None = _time(nullable=False, index=True)
    answers: dict[str, Any] = _json()
    consents: dict[str, Any] = _json()
    """kind -> the text that was agreed to; a box left unticked is absent."""
    network_address: str | None = None
    user_agent: str = ""
    basis: str = ""
    """double_opt_in or express; empty when nothing but the offer was asked for."""
    mailed_at: datetime | None = _time()
    """When a mail for it was queued; NULL when the limits on mail to one address forbade it."""
    confirmed_at: datetime | None = _time()


class Note(SQLModel, table=True):
    """Small facts of the installation: the last pass, the schema's birth."""

    __tablename__ = "note"

    name: str = Field(primary_key=True)
    value: dict[str, Any] = _json()


# The same tables as Core sees them: queries read and write columns (`t.lead.c.stage`), never objects.
_tables = SQLModel.metadata.tables
lead: Table = _tables["lead"]
lead_tag: Table = _tables["lead_tag"]
consent: Table = _tables["consent"]
suppression: Table = _tables["suppression"]
import_run: Table = _tables["import_run"]
cadence_version: Table = _tables["cadence_version"]
cadence_state: Table = _tables["cadence_state"]
pause: Table = _tables["pause"]
milestone: Table = _tables["milestone"]
allowance: Table = _tables["allowance"]
sender_state: Table = _tables["sender_state"]
domain_pause: Table = _tables["domain_pause"]
domain_replies: Table = _tables["domain_replies"]
unknown_host: Table = _tables["unknown_host"]
current_lead: Table = _tables["current_lead"]
enrollment: Table = _tables["enrollment"]
link_set: Table = _tables["link_set"]
message: Table = _tables["message"]
event: Table = _tables["event"]
verdict_change: Table = _tables["verdict_change"]
hit: Table = _tables["hit"]
decision: Table = _tables["decision"]
score_ledger: Table = _tables["score_ledger"]
stage_history: Table = _tables["stage_history"]
assignment: Table = _tables["assignment"]
experiment_state: Table = _tables["experiment_state"]
alert: Table = _tables["alert"]
alert_answer: Table = _tables["alert_answer"]
task: Table = _tables["task"]
post: Table = _tables["post"]
spend: Table = _tables["spend"]
form_view: Table = _tables["form_view"]
opt_in: Table = _tables["opt_in"]
note: Table = _tables["note"]
