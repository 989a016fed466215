"""Letters to be looked at before any goes out: one step, one lead, no row in any table and nothing recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import SequenceMatcher, get_close_matches
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from nurture.content.letters import Letter
from nurture.content.templates import TemplateError, TemplateLibrary
from nurture.documents.nearest import suggest
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.cadence import Cadence, Email
from nurture.domain.message import MessageKind
from nurture.domain.problem import Problem
from nurture.domain.timing import field_moment
from nurture.pipeline.mailers import Mailer
from nurture.pipeline.material import Material, date_fields
from nurture.pipeline.outgoing import LetterWriter
from nurture.pipeline.step_letter import saying, thread_of
from nurture.store import tables as t
from nurture.store.cadences import version_of
from nurture.store.lead_facts import LEAD_COLUMNS, LEAD_FIELDS
from nurture.store.leads import find_lead
from nurture.store.letter_facts import event_props

PROOF_MADE_AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""So that the same proof is the same bytes."""
LOOKED_AT = 500
"""Addresses that are compared with one that nobody has."""


@dataclass(frozen=True, kw_only=True)
class ProofRequest:
    """`lead` has LEAD_FIELDS and `custom`, as its row has them. `variant` is one of the step's, "" for a step without.

    `event` are the properties of the event that would have triggered the enrollment; a cadence without a trigger has
    none. `mark` goes before the subject. `message_id` is the Message-ID without its domain. `language` instead of the
    lead's.
    """

    cadence: Cadence
    step: Email
    variant: str
    lead: Mapping[str, Any]
    to_address: str
    event: Mapping[str, Any] = field(default_factory=dict)
    language: str | None = None
    message_id: str = "proof"
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The letter, who it is from, and the subject of the mail that it answers, if it answers one."""

    letter: Letter
    mailer: Mailer
    answers: str | None = None


def write_proof(letters: LetterWriter, request: ProofRequest) -> Proof:
    """The letter as this lead would get it, all mails before it in the file sent. Raises RenderProblem,
    TemplateError, RenderFailed or Problem.
    """
    if request.cadence.trigger is None:
        request = replace(request, event={})  # no enrollment of it has one
    row = _row(letters, request)
    mailer = letters.mailer_of(row)
    material = _material(letters, request, row)
    header = f"{request.message_id}@{mailer.domain}"
    letter = letters.proof(request.cadence, row, header, material=material, mark=request.mark)
    thread = thread_of(material.earlier, request.cadence)
    return Proof(letter=letter, mailer=mailer, answers=thread.subject if thread is not None else None)


def _material(letters: LetterWriter, request: ProofRequest, row: Any) -> Material:
    """What the database would have brought."""
    material = Material(event=request.event, dates=_dates(request, letters.zone_of(row)))
    if not request.step.reply_in_thread:
        return material
    return replace(material, earlier=letters.earlier_of(request.cadence, row, material))


def _dates(request: ProofRequest, zone: ZoneInfo) -> dict[str, datetime]:
    if not request.step.ics:
        return {}
    found = {}
    for name in date_fields(request.step):
        of, _, key = name.rpartition(".")
        values = (
            request.event if of == "event" else request.lead.get("custom") or {} if of == "custom" else request.lead
        )
        value = values.get(key)
        moment = value if isinstance(value, datetime) else field_moment(str(value or ""), zone)
        if moment is not None:
            found[name] = moment
    return found


def _row(letters: LetterWriter, request: ProofRequest) -> SimpleNamespace:
    """What `deliver` would have read from the message and lead tables."""
    arm, sender = request.variant, request.step.sender_of(request.variant) or request.cadence.sender
    message: dict[str, Any] = dict.fromkeys(column.name for column in t.message.c)
    message |= {
        "id": 0,  # no message's, so no link made of it does anything to anybody
        "lead_id": 0,
        "kind": MessageKind.STEP.value,
        "cadence": request.cadence.name,
        "version": version_of(request.cadence),
        "step": request.step.key,
        "variant": arm or None,
        "transactional": request.step.transactional,
        "sender": letters.sender_for(sender, request.lead.get("owner")),
        "to_address": request.to_address,
        "created_at": PROOF_MADE_AT,
    }
    lead = {f"lead_{name}": request.lead.get(name) for name in (*LEAD_FIELDS, "custom")}
    if request.language:
        lead["lead_language"] = request.language
    return SimpleNamespace(**message, **lead)


def names_used(library: TemplateLibrary, step: Email, arm: str, language: str | None = None) -> frozenset[str]:
    """The dotted names that an arm's letter speaks of, as far as its texts can be read: writing it tells the rest."""
    said = saying(step, arm, language or "")
    used: set[str] = set()
    with suppress(TemplateError):
        used |= library.variables(said.template, language=language)
    for text in (said.subject, said.preheader, *said.vars.values()):
        with suppress(TemplateError):
            used |= library.line(text).variables
    return frozenset(used)


def last_event(connection: Connection, address: str, cadence: Cadence) -> dict[str, Any] | None:
    """Properties of the last event that would have triggered the cadence for this lead; None where there is none."""
    if cadence.trigger is None:
        return None
    e, lead = t.event.c, t.lead.c
    try:
        key = read_address(address).key
    except AddressProblem:
        return None
    statement = (
        select(e.id)
        .join(t.lead, lead.id == e.lead_id)
        .where(lead.email_key == key, e.kind == cadence.trigger.event)
        .order_by(e.at.desc(), e.id.desc())
    )
    event_id = connection.scalar(statement.limit(1))
    return None if event_id is None else event_props(connection, [event_id])[event_id]


def find_step(cadences: Mapping[str, Cadence], text: str) -> tuple[Cadence, Email]:
    """The step that `CADENCE/ID` names. Raises Problem."""
    stem, slash, key = text.partition("/")
    if not slash or not key:
        raise Problem(f"'{text}' names no step: write CADENCE/ID, e.g. {_an_example(cadences)}")
    cadence = cadences.get(stem)
    if cadence is None:
        raise Problem(f"no cadence '{stem}'{suggest(stem, cadences)}")
    step = cadence.steps.get(key)
    if not isinstance(step, Email):
        what = f"step '{key}' of {stem} sends no mail" if step else f"no step '{key}' in {stem}"
        raise Problem(f"{what}{suggest(key, emails_of(cadence), none='none of its steps sends any')}")
    return cadence, step


def emails_of(cadence: Cadence) -> dict[str, Email]:
    """The steps that send, in the order of the file."""
    return {key: step for key, step in cadence.steps.items() if isinstance(step, Email)}


def choose_variant(step: Email, variant: str | None) -> str:
    """That variant; without one, the step's first. Raises Problem."""
    if variant is None:
        return next(iter(step.subjects))
    if variant not in step.subjects:
        known = [name for name in step.subjects if name]
        raise Problem(f"no variant '{variant}' of {step.key}{suggest(variant, known, none='it has none')}")
    return variant


def find_recipient(connection: Connection, address: str) -> dict[str, Any]:
    """LEAD_FIELDS and `custom` of the lead with this address. Raises Problem with the nearest one."""
    try:
        key = read_address(address).key
    except AddressProblem:
        raise Problem(f"'{address}' is no e-mail address") from None
    found = find_lead(connection, key)
    if found is None:
        near = _near(connection, key)
        raise Problem(f"no lead has the address '{address}'{suggest(key, near, none='see `nurture leads list`')}")
    row = found._mapping
    return {column.name: row[column.name] for column in LEAD_COLUMNS}


def _near(connection: Connection, key: str) -> list[str]:
    """Addresses that begin or end as this one does, and differ little from it."""
    lead, (name, _, domain) = t.lead.c, key.partition("@")
    alike = (lead.email_domain == domain) | lead.email_key.startswith(name[:3], autoescape=True)
    known = connection.scalars(select(lead.email_key).where(alike).order_by(lead.id).limit(LOOKED_AT))
    near = [each for each in known if each and _differs_little(each.partition("@"), key.partition("@"))]
    return get_close_matches(key, near, n=1, cutoff=0.75)


def _differs_little(one: Sequence[str], other: Sequence[str]) -> bool:
    """In the name as well as in the domain: colleagues have a long domain in common, and are not each other."""
    return all(SequenceMatcher(a=mine, b=yours).ratio() >= 0.6 for mine, yours in zip(one, other, strict=True))


def _an_example(cadences: Mapping[str, Cadence]) -> str:
    return next((f"{name}/{key}" for name, cadence in cadences.items() for key in emails_of(cadence)), "welcome/hello")
