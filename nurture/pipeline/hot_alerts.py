"""Alerts that events raise (at once, over the hot line, on entering a stage), and those that are taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, update

from nurture.domain.alerts import BURST
from nurture.domain.event import EventName
from nurture.domain.hot import HotFacts, may_alert
from nurture.pipeline.lifecycle_rules import LifecycleRules
from nurture.pipeline.promotions import Promoted
from nurture.store import tables as t
from nurture.store.alerts import last_raised, raise_alert, standing_among, take_back
from nurture.store.database import one_of
from nurture.store.reactions import Revision, last_interest

RULE = "hot"
BY_A_REP = "alert"
"""The source of events that a rep's answer recorded: nobody needs to be told of them."""


def alert_at_once(connection: Connection, rules: LifecycleRules, human: Sequence[Any]) -> tuple[int, set[int]]:
    """(new alerts, the leads told of): a reply, or what `hot.always` names, passes every gate but business hours."""
    always = {EventName.REPLIED.value, *(rules.hot.always if rules.hot is not None else ())}
    made, told = 0, set()
    for event in human:
        if event.kind in always and event.source != BY_A_REP:
            alert_id = raise_alert(
                connection,
                event.lead_id,
                rule=event.kind,
                reason=event.kind,
                now=rules.now,
                event_id=event.id,
                at_once=True,
            )
            made += alert_id is not None
            told.add(event.lead_id)
    return made, told


def alert_stages(connection: Connection, rules: LifecycleRules, promoted: Sequence[Promoted]) -> int:
    """New alerts of stages that say `alert: now`."""
    made = 0
    for each in promoted:
        if each.rule.alert == "now":
            cause = each.cause
            alert_id = raise_alert(
                connection,
                each.lead_id,
                rule=f"stage {each.rule.stage}",
                reason=f"became {each.rule.stage}",
                now=rules.now,
                tell_at=cause.at + BURST if cause is not None else rules.now,
                event_id=cause.id if cause is not None else None,
            )
            made += alert_id is not None
    return made


def alert_hot(
    connection: Connection,
    rules: LifecycleRules,
    leads: Mapping[int, dict[str, Any]],
    causes: Mapping[int, Any],
    told: set[int],
) -> int:
    """New alerts of leads whose last event of interest (`causes`) found them over the line, besides those `told`."""
    hot, condition = rules.hot, rules.hot_condition
    if hot is None or condition is None or not causes:
        return 0
    ids = sorted(causes)
    over = rules.leads_deserving(connection, condition, ids)
    if rules.line is None:
        _arm(connection, leads, [lead_id for lead_id in ids if lead_id not in over], armed=True)
    told_at, standing = last_raised(connection, ids), standing_among(connection, ids)
    crossing = [
        lead_id
        for lead_id in sorted(over)
        if may_alert(hot, _facts(leads[lead_id], told_at.get(lead_id), lead_id in standing), rules.now)
    ]
    made = 0
    for lead_id in crossing:
        if lead_id not in told:
            made += _raise_hot(connection, rules, leads[lead_id], causes[lead_id])
    _arm(connection, leads, crossing, armed=False)
    return made


def _raise_hot(connection: Connection, rules: LifecycleRules, lead: Mapping[str, Any], cause: Any) -> bool:
    alert_id = raise_alert(
        connection,
        lead["id"],
        rule=RULE,
        reason=f"score {rules.score(lead, rules.now):.0f} with: {cause.kind}",
        now=rules.now,
        tell_at=cause.at + BURST,
        event_id=cause.id,
    )
    return alert_id is not None


def take_back_alerts(
    connection: Connection,
    leads: Mapping[int, dict[str, Any]],
    taken_back: Sequence[Revision],
    *,
    rules: LifecycleRules,
) -> dict[int, Any]:
    """Close what was raised by no person and told to nobody. lead id -> a person's event that may raise it anew."""
    closed = set(take_back(connection, [each.event.id for each in taken_back], now=rules.now)) if taken_back else set()
    if not closed:
        return {}
    _arm(connection, leads, sorted(closed), armed=True)
    return last_interest(connection, sorted(closed), besides=[EventName.OPENED.value])


def _facts(lead: Mapping[str, Any], told_at: Any, has_standing: bool) -> HotFacts:
    return HotFacts(
        stage=lead["stage"], fit=lead["fit"], armed=lead["hot_armed"], told_at=told_at, has_standing=has_standing
    )


def _arm(connection: Connection, leads: Mapping[int, dict[str, Any]], ids: Sequence[int], *, armed: bool) -> None:
    changing = [lead_id for lead_id in ids if leads[lead_id]["hot_armed"] is not armed]
    if changing:
        connection.execute(update(t.lead).where(one_of(t.lead.c.id, changing)).values(hot_armed=armed))
    for lead_id in changing:
        leads[lead_id]["hot_armed"] = armed
