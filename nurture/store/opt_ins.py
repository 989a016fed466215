"""A form sent in, and its confirmation: what was asked, which consent was given, and the one mail that follows.

What a stranger typed for somebody's address changes no known lead: answers wait in the opt-in until the reader of that
mailbox confirms. Each function works in the caller's one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from nurture.domain.addresses import Address, erased_key, read_address
from nurture.domain.event import EventName
from nurture.domain.forms import Form
from nurture.domain.message import MessageKind
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import LeadInput, save_lead, set_fields, tag_lead
from nurture.store.messages import NewMessage, queue_message
from nurture.store.suppressions import has_erased, suppressed_among

MAILS_A_DAY = 1
MAILS_IN_ALL = 3
"""Mails that a form sends to an address that never confirmed; a stranger can't have more sent to anyone."""
PER_NETWORK_AN_HOUR = 20
# Who left may ask again; who complained, bounced or is blocked by hand gets the same page and no mail.
_MAY_ASK_AGAIN = (None, "unsubscribed", "cold")
DOUBLE_OPT_IN = "double_opt_in"
EXPRESS = "express"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A form as it was sent in, validated. `consents` holds kind -> the text that was agreed to, word for word."""

    form: Form
    address: Address
    answers: Mapping[str, str]
    consents: Mapping[str, str]
    language: str
    network_address: str
    user_agent: str
    sender: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a confirmation page says of an opt-in."""

    form: str
    consents: Mapping[str, str]
    language: str | None


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """`offer` is to be had by `lead_id`; None where there is none, or nothing may be sent."""

    lead_id: int
    offer: str | None
    language: str | None


def is_flood(connection: Connection, network_prefix: str, *, now: datetime) -> bool:
    """Whether this network has sent in as many forms within the hour as it may."""
    o = t.opt_in.c
    if not network_prefix:
        return False
    recent = o.network_address.startswith(network_prefix, autoescape=True) & (o.at > now - timedelta(hours=1))
    return (connection.scalar(select(func.count()).where(recent)) or 0) >= PER_NETWORK_AN_HOUR


def submit(
    connection: Connection, submission: Submission, *, secrets: Callable[[], Sequence[str]], now: datetime
) -> None:
    """Keep the submission and queue the one mail that follows, within the limits. What was known stays unsaid.

    `secrets` gives the workspace's secret keys; it is asked only where somebody was erased.
    """
    key = submission.address.key
    reason = suppressed_among(connection, [key]).get(key)
    if reason not in _MAY_ASK_AGAIN or _was_erased(connection, key, secrets):
        return
    lead_id, is_new = _find_or_make_lead(connection, submission, now=now)
    wants_mail = _basis(submission) == DOUBLE_OPT_IN or submission.form.offer is not None
    may_mail = wants_mail and _may_mail(connection, lead_id, now=now)
    opt_in_id = _keep(connection, submission, lead_id, mailed_at=now if may_mail else None, now=now)
    if _basis(submission) == EXPRESS:
        _apply(connection, _read(connection, opt_in_id), submission.form, trusted=is_new, now=now)
    if may_mail:
        queue_message(connection, _mail(submission, lead_id, opt_in_id), now=now)


def asked(connection: Connection, opt_in_id: int) -> Asked | None:
    row = _read(connection, opt_in_id)
    return None if row is None else Asked(form=row.form, consents=row.consents, language=row.language)


def confirm(
    connection: Connection,
    opt_in_id: int,
    *,
    forms: Mapping[str, Form],
    sender: str,
    network_address: str,
    now: datetime,
) -> Confirmed | None:
    """The reader of the mailbox said yes. Twice is once. None when the opt-in is gone."""
    o = t.opt_in.c
    change = update(t.opt_in).where(o.id == opt_in_id, o.confirmed_at.is_(None)).values(confirmed_at=now)
    first_time = connection.execute(change).rowcount == 1
    row = _read(connection, opt_in_id)
    if row is None:
        return None
    form = forms.get(row.form)
    reason = suppressed_among(connection, [row.email_key]).get(row.email_key)
    if form is None or reason not in _MAY_ASK_AGAIN:
        return Confirmed(lead_id=row.lead_id, offer=None, language=row.language)
    if first_time:
        _verify(connection, row.lead_id, now=now)
        _apply(connection, row, form, trusted=True, confirmed_from=network_address, now=now)
        if form.offer is not None:
            queue_message(connection, _delivery(row, opt_in_id, form.offer, sender), now=now)
    return Confirmed(lead_id=row.lead_id, offer=form.offer, language=row.language)


def _was_erased(connection: Connection, key: str, secrets: Callable[[], Sequence[str]]) -> bool:
    """Only a keyed hash is left of an erased address, made with one of the workspace's secrets."""
    if not has_erased(connection):
        return False
    hashes = [erased_key(secret, key) for secret in secrets()]
    return bool(suppressed_among(connection, hashes))


def _find_or_make_lead(connection: Connection, submission: Submission, *, now: datetime) -> tuple[int, bool]:
    """The lead's id, locked, so that two submissions at once count each other; and whether it was made just now."""
    by_key = select(t.lead.c.id).where(t.lead.c.email_key == submission.address.key).with_for_update()
    found = connection.scalar(by_key)
    if found is not None:
        return found, False
    form = submission.form
    made = save_lead(
        connection,
        LeadInput(
            address=submission.address,
            fields={
                "source": f"form:{form.name}",
                "language": submission.language,
                **{name: value for name, value in _origin(form).items() if value},
            },
        ),
        now=now,
    )
    return made.id, made.created


def _origin(form: Form) -> dict[str, str | None]:
    return {"channel": form.channel, "campaign": form.campaign, "offer": form.offer, "partner": form.partner}


def _may_mail(connection: Connection, lead_id: int, *, now: datetime) -> bool:
    """Mails that the reader confirmed don't count: only those that anyone could have caused."""
    o = t.opt_in.c
    mailed = (o.lead_id == lead_id) & o.mailed_at.is_not(None)
    unproven = mailed & (o.confirmed_at.is_(None) | (o.basis != DOUBLE_OPT_IN))
    today = connection.scalar(select(func.count()).where(unproven, o.mailed_at > now - timedelta(days=1))) or 0
    in_all = connection.scalar(select(func.count()).where(mailed, o.confirmed_at.is_(None))) or 0
    return today < MAILS_A_DAY and in_all < MAILS_IN_ALL


def _basis(submission: Submission) -> str:
    """How permission comes about; empty where the offer alone was asked for, and nothing is to be permitted."""
    if not submission.consents and submission.form.offer is not None:
        return ""
    return DOUBLE_OPT_IN if submission.form.double_opt_in else EXPRESS


def _keep(
    connection: Connection, submission: Submission, lead_id: int, *, mailed_at: datetime | None, now: datetime
) -> int:
    basis = _basis(submission)
    statement = (
        insert(t.opt_in)
        .values(
            lead_id=lead_id,
            form=submission.form.name,
            at=now,
            answers=dict(submission.answers),
            consents=dict(submission.consents),
            network_address=submission.network_address,
            user_agent=submission.user_agent,
            basis=basis,
            mailed_at=mailed_at,
            confirmed_at=now if basis == EXPRESS else None,
        )
        .returning(t.opt_in.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def _read(connection: Connection, opt_in_id: int) -> Any | None:
    lead = t.lead.c
    statement = (
        select(t.opt_in, lead.email, lead.email_key, lead.language)
        .join(t.lead, lead.id == t.opt_in.c.lead_id)
        .where(t.opt_in.c.id == opt_in_id)
    )
    return connection.execute(statement).one_or_none()


def _apply(
    connection: Connection,
    row: Any | None,
    form: Form,
    *,
    trusted: bool,
    confirmed_from: str | None = None,
    now: datetime,
) -> None:
    """Consent, fields, tags and the event. Where nobody proved to be the lead, only empty fields are filled."""
    if row is None:
        return
    for kind, text in row.consents.items():
        consent = NewConsent(
            kind=kind,
            basis=row.basis,
            text=text,
            source=f"form:{form.name}",
            channel=form.channel,
            topics=form.topics if kind == "email" else (),
            network_address=confirmed_from or row.network_address,
        )
        give_consent(connection, row.lead_id, consent, now=now)
    _fill(connection, row.lead_id, row.answers if trusted else {}, now=now)
    missing = {**(row.answers if not trusted else {}), **_origin(form), "source": f"form:{form.name}"}
    _fill(connection, row.lead_id, _still_missing(connection, row.lead_id, missing), now=now)
    for tag in form.tags:
        tag_lead(connection, row.lead_id, tag)
    record_event(connection, _submitted(row, form), now=now)
    wake_enrollments(connection, [row.lead_id], now=now)


def _submitted(row: Any, form: Form) -> NewEvent:
    props = {"form": form.name, "offer": form.offer, "funnel": form.funnel}
    return NewEvent(
        lead_id=row.lead_id,
        kind=EventName.FORM_SUBMITTED.value,
        at=row.confirmed_at,
        source="web",
        source_id=f"form:{row.id}",
        props={name: value for name, value in props.items() if value is not None},
    )


def _fill(connection: Connection, lead_id: int, fields: Mapping[str, str], *, now: datetime) -> None:
    given = {name: value for name, value in fields.items() if value}
    if given:
        set_fields(connection, lead_id, given, now=now)


def _still_missing(connection: Connection, lead_id: int, fields: Mapping[str, str | None]) -> dict[str, str]:
    lead = connection.execute(select(t.lead).where(t.lead.c.id == lead_id)).mappings().one()
    custom: Mapping[str, Any] = lead["custom"]

    def is_missing(name: str) -> bool:
        scope, dot, key = name.partition(".")
        return not (custom.get(key) if dot and scope == "custom" else lead.get(name))

    return {name: value for name, value in fields.items() if value and is_missing(name)}


def _verify(connection: Connection, lead_id: int, *, now: datetime) -> None:
    lead = t.lead.c
    unverified = update(t.lead).where(lead.id == lead_id, lead.email_verified_at.is_(None))
    connection.execute(unverified.values(email_verified_at=now))


def _mail(submission: Submission, lead_id: int, opt_in_id: int) -> NewMessage:
    form = submission.form
    if _basis(submission) != DOUBLE_OPT_IN and form.offer is not None:
        return _delivery_to(submission.address.text, lead_id, opt_in_id, form.offer, submission.sender)
    return NewMessage(
        intent_key=f"confirm:{opt_in_id}",
        kind=MessageKind.CONFIRMATION,
        lead_id=lead_id,
        to_address=submission.address.text,
        sender=submission.sender,
        transactional="confirmation",
        payload={"opt_in": opt_in_id, "form": form.name},
    )


def _delivery(row: Any, opt_in_id: int, offer: str, sender: str) -> NewMessage:
    return _delivery_to(read_address(row.email).text, row.lead_id, opt_in_id, offer, sender)


def _delivery_to(to_address: str, lead_id: int, opt_in_id: int, offer: str, sender: str) -> NewMessage:
    return NewMessage(
        intent_key=f"delivery:{opt_in_id}",
        kind=MessageKind.DELIVERY,
        lead_id=lead_id,
        to_address=to_address,
        sender=sender,
        transactional="delivery",
        payload={"offer": offer, "opt_in": opt_in_id},
    )
