"""What events do to a lead's marketing at once: mail called off, suppression, sales holds begun and ended.

The exits of enrollments themselves are `advance`'s: it is woken, and finds suppression and events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from nurture.domain.event import EventName
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.stages import Stage
from nurture.pipeline.lifecycle_rules import LifecycleRules
from nurture.store.accounts import colleagues_of
from nurture.store.consents import withdraw_consent
from nurture.store.events import wake_enrollments
from nurture.store.reactions import cancel_steps
from nurture.store.stages import recycle
from nurture.store.suppressions import lift_cold, suppress_all

# From the weakest reason to the strongest.
_LEAVING = {
    EventName.UNSUBSCRIBED.value: "unsubscribed",
    EventName.BOUNCED.value: "bounced",
    EventName.COMPLAINED.value: "complained",
}
_NO_SIGN_OF_INTEREST = (*_LEAVING, EventName.AUTO_REPLIED)
_ENDS_HOLD = (EventName.DEAL_WON, EventName.DEAL_LOST)
_HOLDS = {
    EventName.REPLIED.value: "reply",
    EventName.MEETING_BOOKED.value: "meeting",
    EventName.DEAL_OPENED.value: "deal",
}


def draw_exits(
    connection: Connection, rules: LifecycleRules, leads: Mapping[int, dict[str, Any]], events: Sequence[Any]
) -> None:
    """Of new events, all by people; `leads` are changed along, and written by the caller."""
    human = sorted(events, key=lambda event: (event.at, event.id))
    _leave(connection, leads, [event for event in human if _leaves(event, leads[event.lead_id])], rules.now)
    replied = {event.enrollment_id: event for event in human if event.kind == EventName.REPLIED and event.enrollment_id}
    if replied:
        why = {event.lead_id: "the reader replied" for event in replied.values()}
        cancel_steps(connection, enrollment_ids=set(replied), why=why, now=rules.now)
    for event in human:
        _hold(connection, rules, leads[event.lead_id], event)
    _warm_up(connection, rules, leads, human)
    let_go = {event.lead_id for event in human if event.kind in _ENDS_HOLD}
    if let_go:
        wake_enrollments(connection, colleagues_of(connection, let_go), now=rules.now)


def _warm_up(
    connection: Connection, rules: LifecycleRules, leads: Mapping[int, dict[str, Any]], events: Sequence[Any]
) -> None:
    """Who was let go as gone cold, and does something again, is written to again."""
    signs = {leads[event.lead_id]["email_key"]: event.at for event in events if event.kind not in _NO_SIGN_OF_INTEREST}
    if signs:
        lift_cold(connection, signs, now=rules.now)


def _leaves(event: Any, lead: Mapping[str, Any]) -> bool:
    if event.kind == EventName.BOUNCED:
        return bool(event.props.get("class") == "hard")
    if event.kind == EventName.UNSUBSCRIBED:
        # whoever came back since is not sent away again
        return lead["consented_at"] is None or lead["consented_at"] <= event.at
    return bool(event.kind == EventName.COMPLAINED)


def _leave(connection: Connection, leads: Mapping[int, dict[str, Any]], events: Sequence[Any], now: datetime) -> None:
    """Suppressed, withdrawn, and nothing more is on its way. The door that took the event may have done it already."""
    if not events:
        return
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for event in events:
        by_kind[event.kind][leads[event.lead_id]["email_key"]] = _LEAVING[event.kind]
    for kind in _LEAVING:
        if kind in by_kind:
            suppress_all(connection, by_kind[kind], now=now)
    for event in events:
        lead = leads[event.lead_id]
        if event.kind == EventName.UNSUBSCRIBED and lead["consented_at"] is not None:
            withdraw_consent(connection, event.lead_id, source=event.source, now=now)
            lead["consented_at"] = None
    why = {event.lead_id: f"suppressed: {_LEAVING[event.kind]}" for event in events}
    cancel_steps(connection, lead_ids=set(why), why=why, now=now)


def _hold(connection: Connection, rules: LifecycleRules, lead: dict[str, Any], event: Any) -> None:
    if event.kind in _HOLDS:
        until = event.at + _length(rules.lifecycle, event.kind)
        if until > rules.now and (lead["hold_until"] is None or until > lead["hold_until"]):
            lead["hold_until"], lead["hold_reason"] = until, _HOLDS[event.kind]
    elif event.kind in _ENDS_HOLD:
        lead["hold_until"] = lead["hold_reason"] = None
    if event.kind == EventName.DEAL_LOST:
        because = "the deal was lost"
        if recycle(connection, event.lead_id, because=because, now=rules.now, event_id=event.id):
            lead["stage"], lead["set_back_at"] = Stage.LEAD.value, rules.now


def _length(lifecycle: Lifecycle, kind: str) -> timedelta:
    """How long without a further sales event; meetings and open deals are held as claims are."""
    return lifecycle.hold_reply if kind == EventName.REPLIED else lifecycle.hold_claim
