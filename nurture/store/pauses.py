"""What is stopped until a person says go: everything, a cadence, a sender, a backlog. A row that is there acts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, delete, exists, literal, or_, select, update

from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import GIVE_UP_AFTER, WAITING
from nurture.store import tables as t
from nurture.store.database import insert_ignore
from nurture.store.limits import judge_anew

ALL = "all"
_BACKLOG = "backlog:"


def cadence_scope(name: str) -> str:
    return f"cadence:{name}"


def sender_scope(name: str) -> str:
    return f"sender:{name}"


def backlog_scope(cadence: str) -> str:
    return f"{_BACKLOG}{cadence}"


def pause(connection: Connection, scope: str, *, now: datetime, note: str | None = None) -> bool:
    """Stop it. False when it is stopped already."""
    row = insert_ignore(connection, t.pause).values(scope=scope, at=now, note=note).returning(t.pause.c.scope)
    return connection.scalar(row) is not None


def resume(connection: Connection, scope: str, *, now: datetime) -> bool:
    """Let it go on: who waited for it is looked at now. False: it was not stopped."""
    if connection.execute(delete(t.pause).where(t.pause.c.scope == scope)).rowcount == 0:
        return False
    kind, _, name = scope.partition(":")
    e = t.enrollment.c
    stopped = [e.status == EnrollmentStatus.ACTIVE.value]
    if kind == "cadence":
        stopped.append(e.cadence == name)
    if kind == "sender":
        judge_anew(connection, name, now=now)
    else:
        connection.execute(update(t.enrollment).where(*stopped, e.due_at.is_not(None)).values(due_at=now))
    let_mail_go(connection, _of_mail(kind, name), now=now)
    return True


def let_mail_go(connection: Connection, of: list[ColumnElement[bool]], *, now: datetime) -> None:
    """What waited behind a pause is tried as long as if it were new."""
    m = t.message.c
    waiting = m.status.in_([status.value for status in WAITING])
    connection.execute(update(t.message).where(waiting, *of).values(give_up_at=now + GIVE_UP_AFTER))


def _of_mail(kind: str, name: str) -> list[ColumnElement[bool]]:
    columns: Mapping[str, Any] = {"cadence": t.message.c.cadence, "sender": t.message.c.sender}
    return [columns[kind] == name] if kind in columns else []


def pauses(connection: Connection) -> list[Row[Any]]:
    """(scope, at, note) of everything that is stopped, in order."""
    return list(connection.execute(select(t.pause).order_by(t.pause.c.scope)))


def paused_scopes(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(t.pause.c.scope)))


def backlogs(connection: Connection) -> dict[str, datetime]:
    """cadence -> until when what could have gone out of it is held, after a long stop."""
    p = t.pause.c
    rows = connection.execute(select(p.scope, p.at).where(p.scope.startswith(_BACKLOG)))
    return {row.scope.removeprefix(_BACKLOG): row.at for row in rows}


def stopped_trials(connection: Connection) -> frozenset[str]:
    """The changed versions that were tried and did harm: nobody moves in them until a person decides."""
    s = t.cadence_state.c
    stopped = select(s.canary_version).where(s.canary_stopped_at.is_not(None), s.canary_version.is_not(None))
    return frozenset(connection.scalars(stopped))


def is_stopped(cadence: str, scopes: frozenset[str]) -> bool:
    """Whether nobody moves in this cadence."""
    return ALL in scopes or cadence_scope(cadence) in scopes


def may_go_out(message: FromClause) -> ColumnElement[bool]:
    """True of messages that nothing stops and that are in no backlog."""
    return nothing_stops(message) & ~exists().where(in_backlog(message))


def in_backlog(message: FromClause) -> ColumnElement[bool]:
    """True of a pause and of the messages that it holds after a long stop."""
    p, m = t.pause.c, message.c
    return (p.scope == literal(_BACKLOG).concat(m.cadence)) & (m.created_at < p.at)


def nothing_stops(message: FromClause) -> ColumnElement[bool]:
    """True of messages that nothing stops: no person, not their cadence's file, no change that was found harmful.

    Or of groups of messages with one cadence, version and sender.

    Mail that is no cadence's (an opt-in, an alert) goes out whatever is stopped, but for a stopped sender.
    """
    m, p, s = message.c, t.pause.c, t.cadence_state.c
    scoped = or_(
        p.scope == literal("sender:").concat(m.sender),
        m.cadence.is_not(None) & or_(p.scope == ALL, p.scope == literal("cadence:").concat(m.cadence)),
    )
    in_file = exists().where(s.cadence == m.cadence, s.status.in_(["paused", "draft"]))
    in_trial = exists().where(s.canary_version == m.version, s.canary_stopped_at.is_not(None))
    return ~exists().where(scoped) & ~in_file & ~in_trial
