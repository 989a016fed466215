"""Who enters a cadence, and the entering: candidates as one query, enrollments by unique key.

A run is told apart by its name: "1" where a lead enters once, a number where it may come again, `event:ID` where each
event starts one. So a second pass, or a second worker, is harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, literal, not_, or_, select

from nurture.domain.cadence import JUST_ASKED, Cadence, Email, Trigger
from nurture.domain.clearance import ABSOLUTE_SUPPRESSIONS
from nurture.domain.conditions import Condition, Vocabulary, parse_condition
from nurture.domain.enrollment import RUNNING
from nurture.domain.event import Verdict
from nurture.domain.freemail import FREEMAIL
from nurture.domain.reasons import Reason
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.database import entrance_lock
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import arrange, enroll_leads
from nurture.store.experiments import lots_for
from nurture.store.segments import TRIGGER, Asking, lead_clause, triggered_clause
from nurture.store.suppressions import acts_on_lead

CHUNK = 500
Item = TypeVar("Item")
TRIGGER_LASTS = timedelta(days=30)
"""How long an event may start a run: a lead who confirms, or is let go by sales, after that does not enter by it."""
HELD, MAILED = "held", "mailed"


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A lead that may enter, and the event by which (None: it meets the segment)."""

    lead_id: int
    event_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Entered:
    """The new enrollments as (enrollment id, lead id), and the leads that the holdout keeps out."""

    made: list[tuple[int, int]]
    held_out: list[int]


def may_be_mailed(now: datetime) -> ColumnElement[bool]:
    """Consent in force, and no active suppression of the address or its domain."""
    lead = t.lead.c
    return and_(
        lead.consented_at.is_not(None),
        or_(lead.consent_until.is_(None), lead.consent_until > now),
        not_(exists().where(acts_on_lead())),
    )


def gives_what_was_asked_for(cadence: Cadence) -> bool:
    """Whether a lead's own act begins it, and its first step is the mail that the lead asked for by it."""
    first = cadence.steps.get(cadence.first) if cadence.first is not None else None
    return cadence.trigger is not None and isinstance(first, Email) and first.transactional in JUST_ASKED


def _may_be_answered() -> ColumnElement[bool]:
    """No suppression but one that the asking itself outdates."""
    lead, s = t.lead.c, t.suppression.c
    stands = or_(s.reason.in_(sorted(ABSOLUTE_SUPPRESSIONS)), s.at >= TRIGGER.c.at)
    return and_(lead.email_key.is_not(None), not_(exists().where(acts_on_lead(), stands)))


def candidates(
    cadence: Cadence, vocabulary: Vocabulary, asking: Asking, *, taken_up_at: datetime
) -> Select[tuple[int, int]]:
    """(lead_id, event_id) of those who may enter now, by segment, trigger, or both; event_id is NULL without one."""
    clauses = [*_open_to(cadence, vocabulary, asking), *_by_segment(cadence, vocabulary, asking)]
    if gives_what_was_asked_for(cadence):
        clauses[0] = _may_be_answered()
    if cadence.trigger is None:
        clauses.append(_not_again(cadence, asking.now))
        event_id: ColumnElement[Any] = literal(None, t.enrollment.c.event_id.type)
        query = select(t.lead.c.id.label("lead_id"), event_id.label("event_id")).where(and_(*clauses))
        if cadence.enroll_limit is not None:
            query = query.order_by(t.lead.c.last_engaged_at.desc().nulls_last())
        return query.order_by(t.lead.c.id)
    return _triggered(cadence, cadence.trigger, vocabulary, asking, clauses, taken_up_at)


def _open_to(cadence: Cadence, vocabulary: Vocabulary, asking: Asking) -> list[ColumnElement[bool]]:
    """Leads with consent who are nowhere suppressed or held, not out of marketing's hands, and not there already."""
    lead = t.lead.c
    clauses = [
        may_be_mailed(asking.now),
        lead.stage != Stage.VISITOR.value,
        or_(lead.hold_until.is_(None), lead.hold_until <= asking.now),
    ]
    if not cadence.customers:
        clauses.append(lead.stage.not_in([Stage.CUSTOMER.value, Stage.DISQUALIFIED.value]))
    if cadence.goal is not None:
        clauses.append(lead_clause(_parsed(cadence.goal, vocabulary).negated(), asking))
    if cadence.holdout:
        a = t.assignment.c
        held = select(a.lead_id).where(a.experiment == holdout_key(cadence.name), a.arm == HELD)
        clauses.append(lead.id.not_in(held))
    if cadence.account is not None and cadence.account.at_once is not None:
        full = _full_accounts(cadence.name, cadence.account.at_once)
        clauses.append(or_(lead.email_domain.in_(sorted(FREEMAIL)), lead.email_domain.not_in(full)))
    return clauses


def _by_segment(cadence: Cadence, vocabulary: Vocabulary, asking: Asking) -> list[ColumnElement[bool]]:
    if cadence.segment is None:
        return []
    clauses = [segment_clause(cadence, vocabulary, asking)]
    current = select(t.current_lead.c.lead_id).where(t.current_lead.c.cadence == cadence.name)
    if cadence.enroll == "only_current":
        clauses.append(t.lead.c.id.in_(current))
    elif cadence.enroll == "only_future" and cadence.trigger is None:
        clauses.append(t.lead.c.id.not_in(current))
    return clauses


def segment_clause(cadence: Cadence, vocabulary: Vocabulary, asking: Asking) -> ColumnElement[bool]:
    """True of the leads that meet the cadence's segment."""
    return lead_clause(_parsed(cadence.segment or "true", vocabulary), asking)


def _not_again(cadence: Cadence, now: datetime) -> ColumnElement[bool]:
    """Leads without a run, or whose last one ended long enough ago."""
    e = t.enrollment.c
    runs = select(e.lead_id).where(e.cadence == cadence.name)
    if isinstance(cadence.reentry, timedelta):
        runs = runs.where(or_(e.ended_at.is_(None), e.ended_at > now - cadence.reentry))
    return t.lead.c.id.not_in(runs)


def _triggered(
    cadence: Cadence,
    trigger: Trigger,
    vocabulary: Vocabulary,
    asking: Asking,
    clauses: list[ColumnElement[bool]],
    taken_up_at: datetime,
) -> Select[tuple[int, int]]:
    """Each event that has not started a run (`each_event`), or the first one since the last run."""
    lead, e, event = t.lead.c, t.enrollment.c, TRIGGER.c
    happened = [event.kind == trigger.event, event.verdict == Verdict.HUMAN.value, event.at <= asking.now]
    if cadence.enroll == "only_future":
        happened.append(event.at >= max(taken_up_at, asking.now - TRIGGER_LASTS))
    if trigger.where is not None:
        happened.append(triggered_clause(_parsed(trigger.where, vocabulary), asking))
    query = select(lead.id.label("lead_id")).join(TRIGGER, event.lead_id == lead.id).where(and_(*clauses, *happened))
    if cadence.reentry == "each_event":
        used = select(e.event_id).where(e.cadence == cadence.name, e.event_id.is_not(None))
        return query.add_columns(event.id.label("event_id")).where(event.id.not_in(used)).order_by(event.id)
    last = (
        select(e.lead_id, func.max(e.enrolled_at).label("at")).where(e.cadence == cadence.name).group_by(e.lead_id)
    ).subquery()
    return (
        query.add_columns(func.min(event.id).label("event_id"))
        .outerjoin(last, last.c.lead_id == lead.id)
        .where(_not_again(cadence, asking.now), or_(last.c.at.is_(None), event.at > last.c.at))
        .group_by(lead.id)
        .order_by(lead.id)
    )


def _full_accounts(cadence: str, at_once: int) -> Select[tuple[str]]:
    """The domains of which as many colleagues are under way as may be."""
    e, lead = t.enrollment.c, t.lead.c
    return (
        select(lead.email_domain)
        .join(t.enrollment, e.lead_id == lead.id)
        .where(e.cadence == cadence, e.status.in_([each.value for each in RUNNING]))
        .group_by(lead.email_domain)
        .having(func.count() >= at_once)
    )


def not_again(connection: Connection, cadence: Cadence, lead_ids: Sequence[int], *, now: datetime) -> set[int]:
    """Those of these leads that the cadence's `reentry` lets in."""
    found: set[int] = set()
    for some in _portions(lead_ids):
        found.update(connection.scalars(select(t.lead.c.id).where(t.lead.c.id.in_(some), _not_again(cadence, now))))
    return found


def may_enter(
    connection: Connection, cadence: Cadence, lead_ids: Sequence[int], *, asking: Asking, vocabulary: Vocabulary
) -> set[int]:
    """Those of these leads that a step, or a person, may put into the cadence, whether or not they meet its segment:

    with consent, not held by sales, not at its goal or out of marketing's hands, and not there again. A company that
    has enough of its people there is `within_accounts`' to see.
    """
    anybody = replace(cadence, account=None)
    clauses = [*_open_to(anybody, vocabulary, asking), _not_again(cadence, asking.now)]
    found: set[int] = set()
    for some in _portions(lead_ids):
        here = select(t.lead.c.id).where(t.lead.c.id.in_(some), *clauses)
        found.update(connection.scalars(here))
    return found


def within_accounts(connection: Connection, cadence: Cadence, entrants: Sequence[Entrant]) -> list[Entrant]:
    """Of these, no more of one company than `account: {at_once: …}` leaves room for."""
    if cadence.account is None or cadence.account.at_once is None or not entrants:
        return list(entrants)
    e, lead = t.enrollment.c, t.lead.c
    domains: dict[int, str] = {}
    under_way: Counter[str] = Counter()
    for some in _portions([each.lead_id for each in entrants]):
        domains.update(connection.execute(select(lead.id, lead.email_domain).where(lead.id.in_(some))).all())
    for names in _portions(sorted(set(domains.values()) - FREEMAIL)):
        rows = connection.execute(
            select(lead.email_domain, func.count())
            .join(t.enrollment, e.lead_id == lead.id)
            .where(
                e.cadence == cadence.name,
                e.status.in_([each.value for each in RUNNING]),
                lead.email_domain.in_(names),
            )
            .group_by(lead.email_domain)
        )
        under_way.update(dict(rows.all()))
    chosen = []
    for entrant in entrants:
        domain = domains[entrant.lead_id]
        if domain not in FREEMAIL:
            if under_way[domain] >= cadence.account.at_once:
                continue
            under_way[domain] += 1
        chosen.append(entrant)
    return chosen


def lock_entrance(connection: Connection, cadence: Cadence, *, patiently: bool) -> bool:
    """Nobody else counts who is in a cadence, and lets others in, until the commit. False: somebody does so now.

    Who holds locks already, as of leads, is not `patiently`: who is at the entrance may wait for these. People enter
    by hand without it, whatever the limits.
    """
    at_once = cadence.account.at_once if cadence.account is not None else None
    is_counted = cadence.enroll_limit is not None or cadence.canary is not None or at_once is not None
    return not is_counted or entrance_lock(connection, cadence.name, patiently=patiently)


def room_in_limit(connection: Connection, cadence: Cadence, *, now: datetime) -> int | None:
    """How many more may enter under `enroll_limit`; None: any number."""
    if cadence.enroll_limit is None:
        return None
    e = t.enrollment.c
    recent = select(func.count()).where(e.cadence == cadence.name, e.enrolled_at > now - cadence.enroll_limit.within)
    return max(0, cadence.enroll_limit.count - int(connection.scalar(recent) or 0))


def enter(
    connection: Connection,
    entrants: Sequence[Entrant],
    *,
    version: str,
    cadence: Cadence,
    now: datetime,
    arm_key: bytes | None,
    arranged: bool = True,
) -> Entered:
    """Enroll these leads in this version of the cadence. With `arm_key` some are drawn into its holdout instead.

    Their enrollments are put in order, unless the caller does that later (`arranged` false).
    """
    held = _drawn_out(connection, cadence, entrants, arm_key=arm_key, now=now)
    going = [each for each in entrants if each.lead_id not in held]
    values = {
        "cadence": cadence.name,
        "version": version,
        "priority": cadence.priority,
        "concurrent": cadence.concurrent,
        "step": cadence.first,
    }
    made = enroll_leads(connection, _runs(connection, cadence, going), values=values, now=now)
    notes = [_note(cadence, lead_id, Reason.ENROLLED, now, enrollment_id) for enrollment_id, lead_id in made]
    notes += [_note(cadence, lead_id, Reason.HELD_OUT, now) for lead_id in sorted(held)]
    record_decisions(connection, notes)
    if arranged and not cadence.concurrent:
        arrange(connection, [lead_id for _, lead_id in made], now=now)
    return Entered(made=made, held_out=sorted(held))


def holdout_key(cadence: str) -> str:
    """The name under which a cadence's holdout is assigned."""
    return f"{cadence}/(holdout)"


def _drawn_out(
    connection: Connection, cadence: Cadence, entrants: Sequence[Entrant], *, arm_key: bytes | None, now: datetime
) -> set[int]:
    if not cadence.holdout or arm_key is None:
        return set()
    odds = {HELD: cadence.holdout, MAILED: 1.0 - cadence.holdout}
    ids = [each.lead_id for each in entrants]
    lots = lots_for(connection, holdout_key(cadence.name), ids, odds, seed_key=arm_key, now=now)
    return {lead_id for lead_id, (arm, _) in lots.items() if arm == HELD}


def _runs(connection: Connection, cadence: Cadence, entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """The name of each one's run: by its event, or one more than it had."""
    by_event = cadence.reentry == "each_event"
    before: dict[int, int] = {}
    if cadence.reentry != "never":
        e = t.enrollment.c
        for some in _portions([each.lead_id for each in entrants]):
            had = select(e.lead_id, func.count()).where(e.cadence == cadence.name, e.lead_id.in_(some))
            before.update(connection.execute(had.group_by(e.lead_id)).all())
    return [
        {
            "lead_id": each.lead_id,
            "event_id": each.event_id,
            "run": f"event:{each.event_id}"
            if by_event and each.event_id is not None
            else str(before.get(each.lead_id, 0) + 1),
        }
        for each in entrants
    ]


def _note(cadence: Cadence, lead_id: int, code: Reason, now: datetime, enrollment_id: int | None = None) -> NewDecision:
    return NewDecision(lead_id=lead_id, enrollment_id=enrollment_id, cadence=cadence.name, code=code, at=now)


def _parsed(text: str, vocabulary: Vocabulary) -> Condition:
    return parse_condition(text, replace(vocabulary, trigger=True))


def _portions(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
