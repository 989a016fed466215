"""Raw hits in: every one is kept, becomes at most one event, and may revise the verdicts of those before it.

Called with all hits that arrived together, so that a group shares one commit. It never decides what follows from an
event; `react` does.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, select

from nurture.domain.event import EventName, Verdict
from nurture.domain.message import MessageKind, MessageStatus
from nurture.domain.verdict import (
    HONEYPOT_WITHIN,
    HitFacts,
    HitKind,
    Judgement,
    Neighbour,
    Sign,
    judge,
    signs_in_company,
)
from nurture.store import tables as t
from nurture.store.bulk import insert_many
from nurture.store.database import insert_ignore, one_of
from nurture.store.events import NewEvent, take_back
from nurture.store.prepared import Prepared
from nurture.store.spellings import as_given, given_for

TrackingMode = Literal["always", "consent", "hygiene", "never"]
SOURCE = "web"
HONEYPOT_INDEX = -1
NEIGHBOURS_AT_MOST = 2_000
"""Hits that are looked at together; a flood beyond them was a machine's already."""
_NOT_ACCEPTED_YET = timedelta(seconds=-1)
_KINDS = {
    HitKind.OPEN: EventName.OPENED,
    HitKind.CLICK: EventName.CLICKED,
    HitKind.DOWNLOAD: EventName.OFFER_DOWNLOADED,
}
# Mail that is no letter to a lead (to a rep, to a person not yet confirmed) tells nothing about one.
_READ_BY_LEADS = (MessageKind.STEP.value, MessageKind.DELIVERY.value)


@dataclass(frozen=True, kw_only=True)
class RawHit:
    """One request as it came in. `link_index` is HONEYPOT_INDEX for the bait; `mode` is the tracking mode in force.

    A download names its `offer` and the lead who was offered it; its message may be unknown. `headers` keeps the few
    that speak of prefetching.
    """

    kind: HitKind
    method: str
    at: datetime
    message_id: int | None
    mode: TrackingMode
    link_index: int | None = None
    offer: str | None = None
    lead_id: int | None = None
    user_agent: str = ""
    network_address: str = ""
    prefetch: bool = False
    crawler: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of a hit. `destination` is the stored address behind a click; None when there is none."""

    destination: str | None = None
    event_id: int | None = None
    verdict: Verdict | None = None


def record_hits(connection: Connection, hits: Sequence[RawHit], *, now: datetime) -> list[Recorded]:
    """Keep the hits, give verdicts, append events. In the order of `hits`; emptily where the message is gone."""
    messages = _messages(connection, {hit.message_id for hit in hits if hit.message_id is not None})
    known = _Known(
        messages=messages,
        urls=_urls(connection, {row.link_set for row in messages.values() if row.link_set}),
        leads=_leads(connection, {hit.lead_id for hit in hits if hit.lead_id is not None}),
        tracked=_tracked(connection, {row.lead_id for row in messages.values()}, {hit.mode for hit in hits}),
    )
    looks = [_look(hit, known) for hit in hits]
    kept = [look for look in looks if look.judgement is not None]
    ids = _record_events(connection, [look.event for look in kept if look.event is not None], now=now)
    _keep(connection, kept, ids)
    revise_verdicts(connection, messages, now=now)
    return [_recorded(look, ids) for look in looks]


def revise_verdicts(connection: Connection, message_ids: Iterable[int], *, now: datetime) -> int:
    """Look at the latest hits of each message together, and revise the verdicts their company gives away.

    Returns how many events were revised. Each revision is a `verdict_change` row for `react` to draw the consequences.
    """
    by_message: dict[int, list[Any]] = defaultdict(list)
    for row in _recent_hits(connection, list(message_ids), since=now - HONEYPOT_WITHIN):
        by_message[row.message_id].append(row)
    given_away: dict[int, Sign] = {}
    for rows in by_message.values():
        signs = signs_in_company([_neighbour(row) for row in rows])
        given_away.update({row.event_id: signs[row.id] for row in rows if row.id in signs and row.event_id is not None})
    return take_back(connection, given_away, now=now)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What was read for a whole group of hits at once."""

    messages: Mapping[int, Any]
    urls: Mapping[str, Sequence[str]]
    leads: set[int]
    tracked: set[int]
    """Leads whose latest word on tracking is a yes."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What is to be done about a hit; without a judgement it is not kept."""

    hit: RawHit
    destination: str | None = None
    judgement: Judgement | None = None
    event: NewEvent | None = None


def _look(hit: RawHit, known: _Known) -> _Look:
    message = known.messages.get(hit.message_id) if hit.message_id is not None else None
    destination = _destination(hit, message, known.urls)
    if message is None and hit.kind is not HitKind.DOWNLOAD:
        return _Look(hit=hit)
    if hit.kind is HitKind.CLICK and destination is None and hit.link_index != HONEYPOT_INDEX:
        return _Look(hit=hit)
    lead_id = _reader(hit, message, known)
    welcome = hit.mode == "always" or lead_id in known.tracked
    if hit.mode == "never" or (hit.mode == "consent" and not welcome):
        return _Look(hit=hit, destination=destination)
    judgement = judge(_facts(hit, message))
    event = None
    if welcome and lead_id is not None:
        event = _event(hit, lead_id, message, destination, judgement)
    return _Look(hit=hit, destination=destination, judgement=judgement, event=event)


def _recorded(look: _Look, ids: Mapping[str, int]) -> Recorded:
    verdict = look.judgement.verdict if look.judgement is not None else None
    event_id = ids[look.event.source_id] if look.event is not None else None
    return Recorded(destination=look.destination, event_id=event_id, verdict=verdict)


def _reader(hit: RawHit, message: Any | None, known: _Known) -> int | None:
    """The lead that the hit is news of, if it is there."""
    if hit.kind is HitKind.DOWNLOAD:
        return hit.lead_id if hit.lead_id in known.leads else None
    if message is None or message.kind not in _READ_BY_LEADS:
        return None
    lead_id: int | None = message.lead_id
    return lead_id


def _messages(connection: Connection, ids: set[int]) -> dict[int, Any]:
    """The messages, locked in the order of their ids: hits of one message are judged one after the other, so that three
    links at the same instant see each other. One that is being sent is left to `deliver`; its hits are a machine's.
    """
    m = t.message.c
    about = (m.id, m.kind, m.lead_id, m.enrollment_id, m.cadence, m.step)
    statement = select(*about, m.status, m.sent_at, m.dotted_at, m.link_set)
    if not ids:
        return {}
    settled = statement.where(one_of(m.id, sorted(ids)), m.status != MessageStatus.SENDING.value).order_by(m.id)
    found = {row.id: row for row in connection.execute(settled.with_for_update(key_share=True))}
    rest = ids - found.keys()
    if rest:
        found.update({row.id: row for row in connection.execute(statement.where(one_of(m.id, sorted(rest))))})
    return found


def _urls(connection: Connection, digests: set[str]) -> dict[str, Sequence[str]]:
    if not digests:
        return {}
    rows = connection.execute(select(t.link_set.c.digest, t.link_set.c.urls).where(t.link_set.c.digest.in_(digests)))
    return {row.digest: row.urls for row in rows}


def _leads(connection: Connection, ids: set[int]) -> set[int]:
    return set(connection.scalars(select(t.lead.c.id).where(t.lead.c.id.in_(ids)))) if ids else set()


def _tracked(connection: Connection, lead_ids: set[int | None], modes: set[TrackingMode]) -> set[int]:
    """Leads whose latest word on tracking is a yes; asked only where a mode depends on it."""
    ids = {each for each in lead_ids if each is not None}
    if not ids or not modes & {"consent", "hygiene"}:
        return set()
    c = t.consent.c
    statement = select(c.lead_id, c.granted).where(c.lead_id.in_(ids), c.kind == "tracking").order_by(c.at, c.id)
    latest = {row.lead_id: row.granted for row in connection.execute(statement)}
    return {lead_id for lead_id, granted in latest.items() if granted}


def _destination(hit: RawHit, message: Any | None, urls: Mapping[str, Sequence[str]]) -> str | None:
    if hit.kind is not HitKind.CLICK or hit.link_index is None or message is None:
        return None
    listed = urls.get(message.link_set or "", ())
    return listed[hit.link_index] if 0 <= hit.link_index < len(listed) else None


def _facts(hit: RawHit, message: Any | None) -> HitFacts:
    return HitFacts(
        kind=hit.kind,
        method=hit.method,
        user_agent=hit.user_agent,
        prefetch=hit.prefetch,
        crawler=hit.crawler,
        honeypot=hit.link_index == HONEYPOT_INDEX,
        since_accepted=None if message is None else _since_accepted(hit, message),
    )


def _since_accepted(hit: RawHit, message: Any) -> timedelta | None:
    if message.status == MessageStatus.SENDING.value:
        return _NOT_ACCEPTED_YET
    accepted_at = message.sent_at or message.dotted_at
    return None if accepted_at is None else hit.at - accepted_at


def _event(hit: RawHit, lead_id: int, message: Any | None, destination: str | None, judgement: Judgement) -> NewEvent:
    return NewEvent(
        lead_id=lead_id,
        kind=_KINDS[hit.kind].value,
        at=hit.at,
        source=SOURCE,
        source_id=_source_id(hit),
        verdict=judgement.verdict,
        verdict_reason=judgement.reason.value,
        message_id=message.id if message is not None else None,
        enrollment_id=message.enrollment_id if message is not None else None,
        cadence=message.cadence if message is not None else None,
        step=message.step if message is not None else None,
        link=destination,
        props={"offer": hit.offer} if hit.offer is not None else {},
    )


def _source_id(hit: RawHit) -> str:
    """The same visitor, link and second make one event: a double click is one click, a flood one event a second."""
    visitor_text = f"{hit.method}|{hit.prefetch}|{hit.network_address}|{hit.user_agent}"
    visitor = hashlib.sha256(visitor_text.encode()).hexdigest()[:12]
    what = f"{hit.message_id}:{hit.link_index}" if hit.offer is None else f"{hit.lead_id}:{hit.offer}"
    return f"{hit.kind}:{what}:{int(hit.at.timestamp())}:{visitor}"


def _record_events(connection: Connection, news: Sequence[NewEvent], *, now: datetime) -> dict[str, int]:
    """Append many events in one statement: source id -> row id, also of those that stood there already."""
    e = t.event.c
    rows: dict[str, dict[str, Any]] = {}
    for new in news:
        rows.setdefault(new.source_id, {**new.__dict__, "recorded_at": now})
    if not rows:
        return {}
    made = _APPEND.run(connection, given=as_given(list(rows.values())))
    ids = {row.source_id: row.id for row in made}
    standing = [source_id for source_id in rows if source_id not in ids]
    if standing:
        found = select(e.source_id, e.id).where(e.source == SOURCE, e.source_id.in_(standing))
        ids.update({row.source_id: row.id for row in connection.execute(found)})
    return ids


_OF_EVENT = (*(each.name for each in fields(NewEvent)), "recorded_at")


def _appending(connection: Connection) -> Any:
    e = t.event.c
    appended = insert_ignore(connection, t.event).from_select(_OF_EVENT, given_for(t.event, _OF_EVENT))
    return appended.returning(e.source_id, e.id)


_APPEND = Prepared(_appending)


def _keep(connection: Connection, looks: Sequence[_Look], event_ids: Mapping[str, int]) -> None:
    rows = [
        (
            look.hit.at,
            look.hit.kind.value,
            look.hit.method,
            look.hit.message_id,
            look.hit.link_index,
            look.hit.user_agent,
            look.hit.network_address,
            dict(look.hit.headers),
            event_ids[look.event.source_id] if look.event is not None else None,
        )
        for look in looks
    ]
    insert_many(connection, t.hit, _OF_HIT, rows)


_OF_HIT = (
    *("at", "route", "method", "message_id", "link_index"),
    *("user_agent", "network_address", "headers", "event_id"),
)


def _recent_hits(connection: Connection, message_ids: Sequence[int], *, since: datetime) -> Sequence[Any]:
    h = t.hit.c
    if not message_ids:
        return ()
    statement = (
        select(h.id, h.message_id, h.at, h.route, h.link_index, h.user_agent, h.network_address, h.event_id)
        .where(one_of(h.message_id, message_ids), h.at >= since)
        .order_by(h.at.desc(), h.id.desc())
        .limit(NEIGHBOURS_AT_MOST)
    )
    return connection.execute(statement).all()


def _neighbour(row: Any) -> Neighbour:
    honeypot = row.link_index == HONEYPOT_INDEX
    return Neighbour(
        key=row.id,
        at=row.at,
        link=row.link_index if row.route == HitKind.CLICK.value and not honeypot else None,
        honeypot=honeypot,
        user_agent=row.user_agent,
        network_address=row.network_address,
    )
