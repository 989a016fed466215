"""`nurture plan`: what the files would do to the leads under way, found by letting it happen, twice, in copies.

One copy goes on as things stand, the other takes the files up first; both move what is due now by the real `advance`.
Nothing is sent, and the database itself is only read. What is left to compare is where each enrollment stands.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select

from nurture.authoring.workspace import Workspace
from nurture.domain.cadence import Cadence
from nurture.domain.enrollment import RUNNING, EnrollmentStatus
from nurture.domain.freemail import FREEMAIL
from nurture.domain.reasons import Reason
from nurture.pipeline.advance import advance
from nurture.pipeline.rules import Rules
from nurture.rehearsal.copying import copy_leads, scratch, snapshot, twin
from nurture.rehearsal.edits import Change, Edit, edits
from nurture.store import tables as t
from nurture.store.cadences import in_force, load_versions, moved_steps
from nurture.store.database import Database
from nurture.store.entries import Entrant, candidates, room_in_limit, within_accounts
from nurture.store.pauses import is_stopped, paused_scopes
from nurture.store.segments import Asking

TakeUp = Callable[[Database], Rules]
"""Puts the files in force in a scratch database, as the daemon does, and says by which rules it goes on."""
AT_ONCE = 500
_NEVER = datetime.max.replace(tzinfo=UTC)
_ALREADY = datetime.min.replace(tzinfo=UTC)
_RUNNING = [status.value for status in RUNNING]


class Group(StrEnum):
    """What an edit does to an enrollment; the first that holds, in this order."""

    EXIT = "exit"
    """It leaves at once, and would not without the edit."""
    STEP_LOST = "step_lost"
    """The step it stands at is gone: it goes on at the next one that is left."""
    EARLIER = "earlier"
    LATER = "later"
    """What comes next comes later, or not before somebody lets it: its cadence is stopped, or another goes first."""
    SAME = "same"


@dataclass(kw_only=True)
class CadencePlan:
    """What becomes of one cadence. `active` counts who is under way, paused behind others or not.

    `enroll`: how many enter at the first pass. `is_held`: more may enter than may be at once, so they would wait for
    a person. `names`: group, or "enroll" -> addresses; `same` is not listed.
    """

    edit: Edit
    active: int = 0
    groups: Counter[Group] = field(default_factory=Counter)
    enroll: int = 0
    is_held: bool = False
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def same(self) -> int:
        return self.active - sum(count for group, count in self.groups.items() if group is not Group.SAME)


def make_plan(
    database: Database | None, workspace: Workspace, *, take_up: TakeUp, now: datetime, names: bool = False
) -> list[CadencePlan]:
    """One for each cadence of the files or in force, by name. Without a database every cadence is new.

    With `names`, who enters is named, too.
    """
    if database is None:
        return [CadencePlan(edit=edit) for edit in edits(workspace.cadences, {})]
    with snapshot(database) as connection, tempfile.TemporaryDirectory(prefix="nurture-plan-") as folder:
        found = edits(workspace.cadences, in_force(connection))
        plans = {each.cadence: CadencePlan(edit=each) for each in found}
        for name, count in _under_way(connection):
            if name in plans:
                plans[name].active = count
        touched = [name for name, plan in plans.items() if plan.active and plan.edit.change is not Change.SAME]
        if touched:
            _compare(connection, plans, touched, Path(folder), take_up=take_up, now=now)
        entering = _Entering(connection, workspace, now)
        for plan in plans.values():
            entering.tell(plan, names=names)
    return list(plans.values())


def _under_way(connection: Connection) -> list[tuple[str, int]]:
    e = t.enrollment.c
    counts = select(e.cadence, func.count()).where(e.status.in_(_RUNNING)).group_by(e.cadence)
    return [(name, count) for name, count in connection.execute(counts)]


# --- who is under way


def _compare(
    source: Connection,
    plans: Mapping[str, CadencePlan],
    touched: list[str],
    folder: Path,
    *,
    take_up: TakeUp,
    now: datetime,
) -> None:
    stands = scratch(folder, "stands")
    copy_leads(source, stands, _concerned(source, plans, touched))
    edited = twin(stands, folder, "edited")
    try:
        under_way, lost = _under_way_in(stands, plans)
        rules = take_up(edited)
        # what is in force may speak of fields and steps that the files no longer know
        before = replace(rules, vocabulary=replace(rules.vocabulary, custom=None, cadences=None))
        advance(database=stands, rules=before, now=now)
        advance(database=edited, rules=rules, now=now)
        for one, other in _pairs(stands, edited, under_way):
            plan = plans[one.cadence]
            group = _group(one, other, is_lost=other.id in lost and _follows(other, plan.edit))
            plan.groups[group] += 1
            if group is not Group.SAME:
                plan.names[group.value].append(one.email)
    finally:
        stands.close()
        edited.close()


def _concerned(connection: Connection, plans: Mapping[str, CadencePlan], touched: list[str]) -> Select[tuple[int]]:
    """The leads in these cadences; where companies count, their colleagues as well."""
    e, lead = t.enrollment.c, t.lead.c
    inside = select(e.lead_id).where(e.cadence.in_(touched), e.status.in_(_RUNNING))
    versions = connection.scalars(select(e.version).where(e.cadence.in_(touched), e.status.in_(_RUNNING)).distinct())
    cadences = [*load_versions(connection, set(versions)).values(), *(plan.edit.after for plan in plans.values())]
    if all(each is None or each.account is None for each in cadences):
        return inside.distinct()
    domains = select(lead.email_domain).where(lead.id.in_(inside), lead.email_domain.not_in(sorted(FREEMAIL)))
    return select(lead.id).where(or_(lead.id.in_(inside), lead.email_domain.in_(domains)))


def _under_way_in(stands: Database, plans: Mapping[str, CadencePlan]) -> tuple[list[int], set[int]]:
    """The enrollments in the copy that run, and those of them whose step is gone in the files."""
    e, lost = t.enrollment.c, set[int]()
    with stands.reading() as connection:
        under_way = connection.scalars(select(e.id).where(e.status.in_(_RUNNING)).order_by(e.id)).all()
        kinds = connection.execute(select(e.cadence, e.version).where(e.status.in_(_RUNNING)).distinct()).all()
        versions = load_versions(connection, {row.version for row in kinds})
        for row in kinds:
            after = plans[row.cadence].edit.after
            for step in moved_steps(versions[row.version], after) if after is not None else ():
                there = select(e.id).where(e.version == row.version, e.step == step, e.status.in_(_RUNNING))
                lost.update(connection.scalars(there))
    return list(under_way), lost


def _follows(edited: Row[Any], edit: Edit) -> bool:
    """Who keeps the version keeps the step, and who begins again has none to lose."""
    return edit.after is not None and edit.after.on_edit == "follow" and edited.version == edit.version


def _pairs(stands: Database, edited: Database, ids: Sequence[int]) -> Iterator[tuple[Row[Any], Row[Any]]]:
    """Each of these enrollments in both, in order."""
    e, lead = t.enrollment.c, t.lead.c
    query = (
        select(e.id, e.cadence, e.version, e.status, e.due_at, e.message_id, e.blocked_by, lead.email)
        .join(t.lead, lead.id == e.lead_id)
        .order_by(e.id)
    )
    with stands.reading() as left, edited.reading() as right:
        for start in range(0, len(ids), AT_ONCE):
            some = query.where(e.id.in_(ids[start : start + AT_ONCE]))
            yield from zip(left.execute(some), right.execute(some), strict=True)


def _group(stands: Row[Any], edited: Row[Any], *, is_lost: bool) -> Group:
    gone = EnrollmentStatus.EXITED.value
    if edited.status == gone and stands.status != gone:
        return Group.EXIT
    if is_lost:
        return Group.STEP_LOST
    before, after = _next(stands), _next(edited)
    if stands.status == gone != edited.status or after > before:
        return Group.LATER
    return Group.EARLIER if after < before else Group.SAME


def _next(row: Row[Any]) -> datetime:
    """When what comes next comes: at once, where it is done or its mail is under way."""
    if row.status == EnrollmentStatus.PAUSED.value or row.blocked_by == Reason.PAUSED.value:
        return _NEVER
    if row.status != EnrollmentStatus.ACTIVE.value or row.message_id is not None:
        return _ALREADY
    due_at: datetime | None = row.due_at
    return due_at if due_at is not None else _NEVER


# --- who would enter


class _Entering:
    """Who would enter at the first pass, by the query that the stage asks."""

    def __init__(self, connection: Connection, workspace: Workspace, now: datetime) -> None:
        self._connection = connection
        self._vocabulary = workspace.vocabulary
        self._at_once = workspace.settings.limits.enroll_at_once
        self._asking = Asking.by(workspace.lifecycle.engagement, now=now)
        self._stopped = paused_scopes(connection)
        # those of removed cadences as well: one that comes back knows who was there before
        self._states = {row.cadence: row for row in connection.execute(select(t.cadence_state))}

    def tell(self, plan: CadencePlan, *, names: bool) -> None:
        """Fill in who enters the cadence, where the files change it."""
        after = plan.edit.after
        if after is None or plan.edit.change is Change.SAME or not self._is_open(after):
            return
        query = self._candidates(after)
        if query is None:
            return
        count = self._connection.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
        plan.is_held = count > self._at_once and not plan.edit.is_tried and not self._is_cleared(plan.edit)
        plan.enroll = self._most(plan.edit, after, count)
        if names or (after.account is not None and after.account.at_once is not None):
            found = [Entrant(lead_id=row.lead_id, event_id=row.event_id) for row in self._connection.execute(query)]
            entrants = within_accounts(self._connection, after, found)[: plan.enroll]
            plan.enroll = len(entrants)
            plan.names["enroll"] = self._addresses([each.lead_id for each in entrants]) if names else []

    def _is_open(self, cadence: Cadence) -> bool:
        """As the stage asks it."""
        if cadence.status != "live" or (cadence.segment is None and cadence.trigger is None):
            return False
        now = self._asking.now
        began = cadence.starts is None or cadence.starts <= now
        return began and (cadence.ends is None or now < cadence.ends) and not is_stopped(cadence.name, self._stopped)

    def _candidates(self, cadence: Cadence) -> Select[tuple[int, int]] | None:
        """None where it begins now, and takes only those who come later."""
        state = self._states.get(cadence.name)
        began = state.first_taken_up_at if state is not None else self._asking.now
        if state is None or state.snapshot_at is None:
            if cadence.enroll == "only_future" and cadence.trigger is None:
                return None
            if cadence.enroll == "only_current":  # those of now, whom taking it up would remember
                cadence = replace(cadence, enroll="current_and_future")
        return candidates(cadence, self._vocabulary, self._asking, taken_up_at=began)

    def _is_cleared(self, edit: Edit) -> bool:
        state = self._states.get(edit.cadence)
        return state is not None and state.cleared_version == edit.version

    def _most(self, edit: Edit, cadence: Cadence, count: int) -> int:
        room = room_in_limit(self._connection, cadence, now=self._asking.now)
        bounds = (count, room, cadence.canary if edit.is_tried else None)
        return min(each for each in bounds if each is not None)

    def _addresses(self, lead_ids: Sequence[int]) -> list[str]:
        lead, found = t.lead.c, list[str]()
        for start in range(0, len(lead_ids), AT_ONCE):
            some = select(lead.email).where(lead.id.in_(lead_ids[start : start + AT_ONCE])).order_by(lead.id)
            found.extend(self._connection.scalars(some))
        return found
