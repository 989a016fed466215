"""Leads in: one row a person, found by the folded address; made, filled and tagged set-wise.

A blank never overwrites, `source` stays what it first was, and a stage only moves forward. Whoever changes a lead has
its fit computed again (`rescore`) and its waiting enrollments looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from nurture.documents.nearest import suggest
from nurture.domain.addresses import Address
from nurture.domain.custom import read_custom
from nurture.domain.problem import Problem
from nurture.domain.stages import MoveKind, Stage, is_forward
from nurture.store import tables as t
from nurture.store.bulk import insert_many
from nurture.store.consents import NewConsent, append_first_moves, append_proofs, given_at
from nurture.store.database import insert_ignore
from nurture.store.events import wake_enrollments
from nurture.store.lead_fields import (
    CUSTOM,
    LEAD_FIELDS,
    MOST_CUSTOM_FIELDS,
    is_custom_name,
    read_custom_field,
    read_field,
    read_tag,
)
from nurture.store.suppressions import CHUNK

_FIRST_TOUCH = ("source",)
"""Fields that keep their first value, whoever brings the lead again."""
_KNOWN = (
    t.lead.c.id,
    t.lead.c.email_key,
    t.lead.c.custom,
    t.lead.c.import_id,
    *(t.lead.c[name] for name in LEAD_FIELDS),
)
_ROUNDS = 10
"""Each is one more door that made the same lead in the same instant."""
KnownLeads = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LeadInput:
    """What a door brings of one person. `fields` are lead fields, `custom` is name -> text; blanks say nothing."""

    address: Address
    fields: Mapping[str, str] = field(default_factory=dict)
    custom: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    created_at: datetime | None = None
    import_id: int | None = None
    consent: NewConsent | None = None
    """By e-mail, for a lead that is made with it; one that is known gets it by `give_consents`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedLead:
    """`changed`: a field or a tag is not what it was; a lead just made is not said to be changed."""

    id: int
    created: bool
    changed: bool


def find_lead(connection: Connection, address_key: str) -> Row[Any] | None:
    """The whole row of the lead with this key."""
    return connection.execute(select(t.lead).where(t.lead.c.email_key == address_key)).one_or_none()


def save_lead(connection: Connection, lead: LeadInput, *, now: datetime) -> SavedLead:
    """Make the lead or fill it in. A new one is a visitor until it gives consent. Raises Problem for a bad field."""
    return save_leads(connection, [_checked(lead)], now=now)[lead.address.key]


def save_leads(
    connection: Connection, leads: Sequence[LeadInput], *, now: datetime, known: KnownLeads | None = None
) -> dict[str, SavedLead]:
    """Address key -> what became of it. Values are taken as they are: the caller has read them (`lead_fields`).

    `known` is what `known_leads` said of these keys in this transaction; without it they are looked up.
    """
    merged = _merged(leads)
    saved: dict[str, SavedLead] = {}
    for _ in range(_ROUNDS):
        missing = [key for key in sorted(merged) if key not in saved]
        if not missing:
            break
        rows, known = known if known is not None else known_leads(connection, missing), None
        saved.update(_fill(connection, [(rows[key], merged[key]) for key in missing if key in rows]))
        # one that somebody else made since we looked is absent from the answer, and filled in the next round
        saved.update(_make(connection, [merged[key] for key in missing if key not in rows], now=now))
    tags = [(saved[key], tag) for key, lead in merged.items() for tag in lead.tags]
    insert_many(connection, t.lead_tag, ("lead_id", "tag"), [(one.id, tag) for one, tag in tags if one.created])
    tagged = _tag(connection, [(one.id, tag) for one, tag in tags if not one.created])
    for key, one in saved.items():
        if one.id in tagged:
            saved[key] = SavedLead(id=one.id, created=False, changed=True)
    _rescore(connection, tagged)
    wake_enrollments(connection, [one.id for one in saved.values() if one.changed], now=now)
    return saved


def known_leads(connection: Connection, keys: Sequence[str]) -> KnownLeads:
    """key -> the lead's row, locked in one order for all, so that two imports of one file can't lock each other out."""
    key, found = t.lead.c.email_key, sorted(keys)
    rows: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(found), CHUNK):
        some = select(*_KNOWN).where(key.in_(found[start : start + CHUNK])).order_by(key).with_for_update()
        rows.update({row["email_key"]: row for row in connection.execute(some).mappings()})
    return rows


def would_change(known: KnownLeads, leads: Sequence[LeadInput]) -> set[str]:
    """The keys of known leads that `save_leads` would give another field's value."""
    merged = _merged(lead for lead in leads if lead.address.key in known)
    return {key for key, lead in merged.items() if _change(known[key], lead) is not None}


def set_fields(connection: Connection, lead_id: int, fields: Mapping[str, str], *, now: datetime) -> bool:
    """Set lead fields and `custom.X` by name; "" clears one. Whether anything changed. Raises Problem."""
    row = connection.execute(select(t.lead).where(t.lead.c.id == lead_id).with_for_update()).one_or_none()
    if row is None:
        return False
    before = row._mapping
    custom = dict(before["custom"])
    values: dict[str, Any] = {}
    for name, text in sorted(fields.items()):  # the country before the phone that it reads
        if name.startswith(CUSTOM):
            _set_custom(custom, name.removeprefix(CUSTOM), text)
        elif name in LEAD_FIELDS:
            country = values.get("country", before["country"])
            values[name] = read_field(name, text, country=country) or None
        else:
            raise Problem(f"unknown field '{name}'{suggest(name, (*LEAD_FIELDS, CUSTOM + name))}")
    changes = {name: value for name, value in values.items() if value != before[name]}
    if custom != before["custom"]:
        changes |= {"custom": custom, "readings": read_custom(custom)}
    if not changes:
        return False
    connection.execute(update(t.lead).where(t.lead.c.id == lead_id).values(**changes, rescore=True))
    wake_enrollments(connection, [lead_id], now=now)
    return True


def tag_lead(connection: Connection, lead_id: int, tag: str) -> bool:
    """Whether the tag is new to it. Raises Problem for what is no tag."""
    is_new = bool(_tag(connection, [(lead_id, read_tag(tag))]))
    _rescore(connection, [lead_id] if is_new else [])
    return is_new


def untag_lead(connection: Connection, lead_id: int, tag: str) -> bool:
    """Whether the lead had the tag."""
    rows = t.lead_tag.c
    gone = connection.execute(delete(t.lead_tag).where(rows.lead_id == lead_id, rows.tag == tag.strip())).rowcount == 1
    _rescore(connection, [lead_id] if gone else [])
    return gone


def tag_leads(connection: Connection, lead_ids: Sequence[int], tag: str) -> set[int]:
    """Those of them to which the tag is new. Raises Problem for what is no tag."""
    name = read_tag(tag)
    new = _tag(connection, [(lead_id, name) for lead_id in lead_ids])
    _rescore(connection, new)
    return new


def untag_leads(connection: Connection, lead_ids: Sequence[int], tag: str) -> set[int]:
    """Those of them that had the tag."""
    rows, gone = t.lead_tag.c, set[int]()
    for start in range(0, len(lead_ids), CHUNK):
        some = rows.lead_id.in_(lead_ids[start : start + CHUNK])
        gone.update(connection.scalars(delete(t.lead_tag).where(some, rows.tag == tag.strip()).returning(rows.lead_id)))
    _rescore(connection, gone)
    return gone


def raise_stages(connection: Connection, hints: Mapping[int, Stage], *, because: str, now: datetime) -> None:
    """lead id -> the stage that another system knows it in: taken where it is further than ours, set-wise."""
    lead, ids, moves = t.lead.c, sorted(hints), []
    for start in range(0, len(ids), CHUNK):
        some = select(lead.id, lead.stage).where(lead.id.in_(ids[start : start + CHUNK])).order_by(lead.id)
        for row in connection.execute(some.with_for_update()):
            before, after = Stage(row.stage), hints[row.id]
            if before != Stage.VISITOR and is_forward(before, after):
                moves.append({"lead_id": row.id, "before": before.value, "after": after.value})
    if not moves:
        return
    guarded = update(t.lead).where(lead.id == bindparam("lead_id"), lead.stage == bindparam("before"))
    connection.execute(guarded.values(stage=bindparam("after"), stage_at=now, rescore=True), moves)
    kept = {"at": now, "kind": MoveKind.BY_HAND.value, "because": because}
    connection.execute(insert(t.stage_history), [{**each, **kept} for each in moves])
    wake_enrollments(connection, [each["lead_id"] for each in moves], now=now)


def _checked(lead: LeadInput) -> LeadInput:
    """The same with each value read as its field; an unknown field is a mistake of the caller's input."""
    unknown = sorted(set(lead.fields) - set(LEAD_FIELDS))
    if unknown:
        raise Problem(f"unknown field '{unknown[0]}': use one of {', '.join(LEAD_FIELDS)}")
    custom: dict[str, str] = {}
    for name, text in lead.custom.items():
        _set_custom(custom, name, text)
    country = read_field("country", lead.fields.get("country", ""))
    return LeadInput(
        address=lead.address,
        fields={name: read_field(name, text, country=country) for name, text in lead.fields.items()},
        custom=custom,
        tags=[read_tag(tag) for tag in lead.tags],
        created_at=lead.created_at,
        import_id=lead.import_id,
        consent=lead.consent,
    )


def _set_custom(custom: dict[str, str], name: str, text: str) -> None:
    if not is_custom_name(name):
        raise Problem(f"'{CUSTOM}{name}': a custom field's name is small letters, digits and _, e.g. custom.plan")
    value = read_custom_field(name, text)
    if value:
        custom[name] = value
    else:
        custom.pop(name, None)
    if len(custom) > MOST_CUSTOM_FIELDS:
        raise Problem(f"more than {MOST_CUSTOM_FIELDS} custom fields on one lead")


def _merged(leads: Iterable[LeadInput]) -> dict[str, LeadInput]:
    """One input a key; of two, the later one's values, and both one's tags."""
    merged: dict[str, LeadInput] = {}
    for lead in leads:
        before = merged.get(lead.address.key)
        merged[lead.address.key] = lead if before is None else _later_over(before, lead)
    return merged


def _later_over(before: LeadInput, after: LeadInput) -> LeadInput:
    fields = {**before.fields, **_filled(after.fields)}
    fields |= {name: before.fields[name] for name in _FIRST_TOUCH if before.fields.get(name)}
    return LeadInput(
        address=before.address,
        fields=fields,
        custom={**before.custom, **_filled(after.custom)},
        tags=[*before.tags, *after.tags],
        created_at=before.created_at or after.created_at,
        import_id=before.import_id,
        consent=before.consent or after.consent,
    )


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _fill(connection: Connection, pairs: Sequence[tuple[Mapping[str, Any], LeadInput]]) -> dict[str, SavedLead]:
    saved, changes = {}, []
    for before, lead in pairs:
        change = _change(before, lead)
        if change is not None:
            changes.append(change)
        saved[lead.address.key] = SavedLead(id=before["id"], created=False, changed=change is not None)
    if changes:
        columns: dict[str, Any] = {name: bindparam(f"new_{name}") for name in (*LEAD_FIELDS, "custom", "readings")}
        by_id = update(t.lead).where(t.lead.c.id == bindparam("lead_id"))
        connection.execute(by_id.values(**columns, rescore=True), changes)
    return saved


def _change(before: Mapping[str, Any], lead: LeadInput) -> dict[str, Any] | None:
    """The row's new values, or None where nothing is new."""
    given = _filled(lead.fields)
    for name in _FIRST_TOUCH:
        if before[name]:
            given.pop(name, None)
    custom = {**before["custom"], **_filled(lead.custom)}
    if custom == before["custom"] and all(before[name] == value for name, value in given.items()):
        return None
    after = {f"new_{name}": given.get(name, before[name]) for name in LEAD_FIELDS}
    return {"lead_id": before["id"], **after, "new_custom": custom, "new_readings": read_custom(custom)}


_NEW = (
    "email",
    "email_key",
    "email_domain",
    *LEAD_FIELDS,
    "custom",
    "readings",
    "created_at",
    "import_id",
    "stage",
    "stage_at",
    "consented_at",
    "consent_until",
    "last_engaged_at",
)


def _make(connection: Connection, leads: Sequence[LeadInput], *, now: datetime) -> dict[str, SavedLead]:
    """Make these leads. Where somebody else made one of them meanwhile, all of them are left to the next round."""
    lead = t.lead.c
    if insert_many(connection, t.lead, _NEW, [_row(one, now) for one in leads]) != len(leads):
        return {}
    keys = [one.address.key for one in leads]
    saved = {}
    for start in range(0, len(keys), CHUNK):
        some = select(lead.id, lead.email_key).where(lead.email_key.in_(keys[start : start + CHUNK]))
        for lead_id, key in connection.execute(some):
            saved[key] = SavedLead(id=lead_id, created=True, changed=False)
    with_consent = [(saved[one.address.key].id, one.consent) for one in leads if one.consent is not None]
    append_proofs(connection, with_consent, now=now)
    append_first_moves(connection, with_consent, now=now)
    return saved


def _row(lead: LeadInput, now: datetime) -> tuple[Any, ...]:
    """In the order of _NEW."""
    custom = _filled(lead.custom)
    created_at = min(lead.created_at, now) if lead.created_at is not None else now
    given = given_at(lead.consent, now) if lead.consent is not None else None
    get = lead.fields.get
    return (
        lead.address.text,
        lead.address.key,
        lead.address.domain,
        *[get(name) or None for name in LEAD_FIELDS],
        custom,
        read_custom(custom),
        created_at,
        lead.import_id,
        Stage.VISITOR.value if given is None else Stage.LEAD.value,
        given or created_at,
        given,
        lead.consent.expires_at if lead.consent is not None else None,
        given,
    )


def _tag(connection: Connection, pairs: Iterable[tuple[int, str]]) -> set[int]:
    """The leads to whom a tag is new."""
    rows = [{"lead_id": lead_id, "tag": tag} for lead_id, tag in sorted(set(pairs))]
    if not rows:
        return set()
    made = insert_ignore(connection, t.lead_tag).returning(t.lead_tag.c.lead_id)
    return set(connection.execute(made, rows).scalars())


def _rescore(connection: Connection, lead_ids: Iterable[int]) -> None:
    ids = sorted(lead_ids)
    for start in range(0, len(ids), CHUNK):
        some = t.lead.c.id.in_(ids[start : start + CHUNK]) & t.lead.c.rescore.is_(False)
        connection.execute(update(t.lead).where(some).values(rescore=True))
