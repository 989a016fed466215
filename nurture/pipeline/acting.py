"""What steps do at once: tell a rep, give a task, promote, set, tag, enroll, post, retire. Set-wise, a kind at a time.

Every effect has a key of its enrollment, step and visit, or is the same when done twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from nurture.content.letters import RenderProblem
from nurture.domain.cadence import (
    Action,
    Cadence,
    EnrollIn,
    Notify,
    Promote,
    SetFields,
    Sunset,
    Tag,
    Task,
    Untag,
    Webhook,
)
from nurture.domain.problem import Problem
from nurture.domain.reasons import Reason
from nurture.domain.stages import MoveKind, Stage, is_forward
from nurture.domain.timing import days_off, end_of_wait
from nurture.pipeline.rules import Rules
from nurture.pipeline.walker import Walker
from nurture.store.alerts import raise_alert
from nurture.store.cadences import current_cadences, is_in_force
from nurture.store.entries import Entrant, enter, lock_entrance, may_enter, room_in_limit, within_accounts
from nurture.store.lead_facts import lead_views
from nurture.store.leads import set_fields, tag_leads, untag_leads
from nurture.store.pauses import is_stopped, paused_scopes
from nurture.store.posts import NewPost, queue_posts
from nurture.store.stages import move_stage
from nurture.store.suppressions import COLD, suppress_all
from nurture.store.tasks import NewTask, open_tasks

Doing = tuple[Walker, Any]
"""A walker and the step that it does."""


@dataclass(kw_only=True)
class Deeds:
    """What a batch's steps have done so far."""

    connection: Connection
    rules: Rules
    now: datetime
    changed: set[int] = field(default_factory=set)
    """Leads of which something changed that other enrollments may wait for."""
    entered: set[int] = field(default_factory=set)
    """Leads that entered another cadence, whose enrollments are still to be put in order."""
    given: set[str] = field(default_factory=set)
    """The tasks that were given, by the walker's deed."""
    full: set[str] = field(default_factory=set)
    """The deeds that must wait, because the other cadence takes no more for now."""
    busy: set[str] = field(default_factory=set)
    """Those that wait a moment, because it is being edited, or others are entering it."""
    counts: Counter[str] = field(default_factory=Counter)

    def do(self, acting: Sequence[tuple[Walker, Action | Sunset]]) -> None:
        """The effects of these steps; each walker's decision is noted, its place is the caller's to change."""
        by_kind: dict[type, list[Doing]] = defaultdict(list)
        for walker, step in acting:
            by_kind[type(step)].append((walker, step))
        for kind, doings in by_kind.items():
            _DEEDS[kind](self, doings)

    # --- by kind

    def _tag(self, doings: Sequence[Doing]) -> None:
        for tag, walkers in _grouped(doings, lambda step: step.tag):
            self.changed |= tag_leads(self.connection, _leads(walkers), tag)
            for walker in walkers:
                walker.note(Reason.TAGGED, self.now, {"tag": tag})

    def _untag(self, doings: Sequence[Doing]) -> None:
        for tag, walkers in _grouped(doings, lambda step: step.tag):
            self.changed |= untag_leads(self.connection, _leads(walkers), tag)
            for walker in walkers:
                walker.note(Reason.TAGGED, self.now, {"untag": tag})

    def _set(self, doings: Sequence[Doing]) -> None:
        for walker, step in doings:
            fields = {name: value or "" for name, value in step.fields.items()}
            try:
                if set_fields(self.connection, walker.row.lead_id, fields, now=self.now):
                    self.changed.add(walker.row.lead_id)
            except Problem as problem:
                walker.note(Reason.FAILED, self.now, {"why": str(problem)})
                continue
            walker.note(Reason.SET, self.now, {"fields": _said(step.fields), "values": fields})

    def _promote(self, doings: Sequence[Doing]) -> None:
        for walker, step in doings:
            stage = Stage(step.stage)
            if not is_forward(Stage(walker.row.lead_stage), stage):
                continue
            because = f"{walker.cadence.name}/{walker.step}"
            lead_id = walker.row.lead_id
            if move_stage(self.connection, lead_id, stage, kind=MoveKind.PROMOTION, because=because, now=self.now):
                self.counts["promoted"] += 1
                self.changed.add(lead_id)

    def _notify(self, doings: Sequence[Doing]) -> None:
        for walker, step, text in self._texts(doings, lambda step: step.message):
            raise_alert(
                self.connection,
                walker.row.lead_id,
                rule=f"{walker.cadence.name}/{step.key}",
                reason=text,
                message=text,
                to=step.to,
                answerable=step.alert,
                now=self.now,
            )
            walker.note(Reason.NOTIFIED, self.now, {"to": step.to, "message": text})

    def _task(self, doings: Sequence[Doing]) -> None:
        tasks = []
        for walker, step, text in self._texts(doings, lambda step: step.text):
            due_at = self._due(step, walker)
            tasks.append(
                NewTask(
                    task_key=walker.deed,
                    lead_id=walker.row.lead_id,
                    enrollment_id=walker.row.id,
                    cadence=walker.cadence.name,
                    step=step.key,
                    kind=step.task_kind,
                    text=text,
                    to=step.to,
                    due_at=due_at,
                )
            )
            said = {"to": step.to, "task": text, "due": due_at.isoformat() if due_at is not None else None}
            walker.note(Reason.TASKED, self.now, said)
        open_tasks(self.connection, tasks, now=self.now)
        self.given.update(task.task_key for task in tasks)

    def _due(self, step: Task, walker: Walker) -> datetime | None:
        """In the company's own time; business days heed holidays where the cadence does."""
        if step.due is None:
            return None
        is_holiday = days_off(walker.cadence.window, self.rules.calendar.is_holiday(walker.row.lead_country))
        return end_of_wait(step.due, self.now, zone=self.rules.workspace_zone, is_holiday=is_holiday)

    def _webhook(self, doings: Sequence[Doing]) -> None:
        views = lead_views(self.connection, [walker.row.lead_id for walker, _ in doings])
        posts = []
        for walker, step in doings:
            lead_id = walker.row.lead_id
            body = {
                "lead": {name: _plain(value) for name, value in views.get(lead_id, {}).items()},
                "cadence": walker.cadence.name,
                "step": step.key,
                "enrollment": walker.row.id,
            }
            posts.append(
                NewPost(
                    post_key=f"step:{walker.deed}",
                    channel=step.channel,
                    lead_id=lead_id,
                    kind="cadence.step",
                    body=body,
                )
            )
            walker.note(Reason.POSTED, self.now, {"channel": step.channel})
        queue_posts(self.connection, posts, now=self.now)

    def _enroll(self, doings: Sequence[Doing]) -> None:
        """By the rules of the other cadence: live, consent, and never a second run where it allows one."""
        current, stopped = current_cadences(self.connection), paused_scopes(self.connection)
        for name, walkers in _grouped(doings, lambda step: step.cadence):
            version, cadence = current.get(name, ("", None))
            if cadence is None or cadence.status != "live" or is_stopped(name, stopped):
                for walker in walkers:
                    walker.note(Reason.ENROLLED_IN, self.now, {"cadence": name, "why": "it takes nobody now"})
                continue
            is_open = is_in_force(self.connection, name, version, patiently=False)
            if not is_open or not lock_entrance(self.connection, cadence, patiently=False):
                self.busy.update(walker.deed for walker in walkers)
                continue
            asking, vocabulary = self.rules.asking(self.now), self.rules.vocabulary
            may = may_enter(self.connection, cadence, _leads(walkers), asking=asking, vocabulary=vocabulary)
            entrants = self._admitted(cadence, [Entrant(lead_id=each) for each in sorted(may)])
            waiting = may - {each.lead_id for each in entrants}
            entered = enter(
                self.connection,
                entrants,
                version=version,
                cadence=cadence,
                now=self.now,
                arm_key=self.rules.arm_key,
                arranged=False,
            )
            new = {lead_id for _, lead_id in entered.made}
            self.entered |= new
            for walker in walkers:
                if walker.row.lead_id in waiting:
                    self.full.add(walker.deed)
                    continue
                why = None if walker.row.lead_id in new else "it was there already, or may not"
                walker.note(Reason.ENROLLED_IN, self.now, {"cadence": name, "why": why})

    def _admitted(self, cadence: Cadence, entrants: Sequence[Entrant]) -> list[Entrant]:
        """Those for whom its `account` rules and its `enroll_limit` have room now."""
        room = room_in_limit(self.connection, cadence, now=self.now)
        return within_accounts(self.connection, cadence, entrants)[:room]

    def _sunset(self, doings: Sequence[Doing]) -> None:
        for reason, walkers in _grouped(doings, lambda step: step.reason):
            keys = {walker.row.lead_email_key: COLD for walker in walkers}
            suppress_all(self.connection, keys, now=self.now, note=reason)
            self.changed.update(_leads(walkers))

    def _texts(self, doings: Sequence[Doing], of: Callable[[Any], str]) -> list[tuple[Walker, Any, str]]:
        """Each with its text rendered; one that can't be is noted as failed, and left out."""
        views = lead_views(self.connection, [walker.row.lead_id for walker, _ in doings])
        said = []
        for walker, step in doings:
            try:
                text = self.rules.say(of(step), {"lead": views.get(walker.row.lead_id, {})})
            except RenderProblem as error:
                walker.note(Reason.FAILED, self.now, {"why": str(error)})
                continue
            said.append((walker, step, text))
        return said


_DEEDS: Mapping[type, Callable[[Deeds, Sequence[Doing]], None]] = {
    Tag: Deeds._tag,
    Untag: Deeds._untag,
    SetFields: Deeds._set,
    Promote: Deeds._promote,
    Notify: Deeds._notify,
    Task: Deeds._task,
    Webhook: Deeds._webhook,
    EnrollIn: Deeds._enroll,
    Sunset: Deeds._sunset,
}


def _grouped(doings: Sequence[Doing], by: Callable[[Any], str]) -> list[tuple[str, list[Walker]]]:
    groups: dict[str, list[Walker]] = defaultdict(list)
    for walker, step in doings:
        groups[by(step)].append(walker)
    return list(groups.items())


def _leads(walkers: Sequence[Walker]) -> list[int]:
    return sorted({walker.row.lead_id for walker in walkers})


def _said(fields: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} = {value}" if value else f"{name} cleared" for name, value in fields.items())


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value
