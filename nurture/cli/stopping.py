"""`nurture pause`, `resume` and `release`: stop a cadence, a sender or everything by hand, and let it go on.

Mail to a recipient domain that refused it waits by itself; it is listed and let go here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from nurture.bootstrap import Installation, open_installation
from nurture.cli.output import AsJson, WorkspaceDir, print_json, printable
from nurture.documents.nearest import suggest
from nurture.domain.domain_health import ANY_SENDER
from nurture.domain.problem import Problem
from nurture.store.backlog import let_backlog_go
from nurture.store.cadences import held_back, in_force
from nurture.store.cadences import release as release_cadence
from nurture.store.domain_health import domain_pauses, domain_scope, lift_pauses
from nurture.store.pauses import ALL, backlogs, cadence_scope, pauses, sender_scope
from nurture.store.pauses import pause as pause_scope
from nurture.store.pauses import resume as resume_scope
from nurture.store.trials import stopped, take_up_trial

Cadence = Annotated[str | None, typer.Argument(metavar="[CADENCE]", help="The stem of its file.")]
Sender = Annotated[str | None, typer.Option("--sender", help="A sender of config.toml: its mail waits.")]
Domain = Annotated[
    str | None,
    typer.Option("--domain", help="A recipient domain whose mail waits; with --sender, the mail of that sender alone."),
]
Everything = Annotated[bool, typer.Option("--all", help="Every cadence.")]


def pause(
    cadence: Cadence = None,
    sender: Sender = None,
    everything: Everything = False,
    note: Annotated[str | None, typer.Option("--note", help="Why; it is shown by 'nurture pause'.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Stop a cadence, a sender's mail, or all cadences, until `resume`. Without any of them: what is stopped now, also
    the mail that waits by itself because a recipient domain refused it."""
    installation = open_installation(workspace)
    if cadence is None and sender is None and not everything:
        _list(installation, as_json=as_json)
        return
    scope = _scope(installation, cadence, sender, everything=everything)
    with installation.database.transaction() as connection:
        done = pause_scope(connection, scope, now=installation.clock(), note=note)
    _say(scope, done, "stopped", "was stopped already", as_json=as_json)


def resume(
    cadence: Cadence = None,
    sender: Sender = None,
    everything: Everything = False,
    domain: Domain = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Let what was paused go on. What fell due meanwhile is due now, and is not late."""
    installation = open_installation(workspace)
    if domain is not None:
        _resume_domain(installation, domain, sender, is_alone=cadence is None and not everything, as_json=as_json)
        return
    scope = _scope(installation, cadence, sender, everything=everything)
    with installation.database.transaction() as connection:
        done = resume_scope(connection, scope, now=installation.clock())
    _say(scope, done, "goes on", "was not stopped", as_json=as_json)


def release(
    cadence: Annotated[str | None, typer.Argument(metavar="[CADENCE]", help="One; without it, all that wait.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Let go what waits for a person: the backlog of a long stop, a change that enrolls very many, a stopped trial."""
    installation = open_installation(workspace)
    now = installation.clock()
    with installation.database.transaction() as connection:
        waiting, backlog = held_back(connection), backlogs(connection)
        if cadence is not None and cadence not in {*in_force(connection), *backlog}:
            known = sorted({*waiting, *backlog})
            raise Problem(f"no cadence '{printable(cadence)}' is in force{suggest(cadence, known)}")
        chosen = [cadence] if cadence is not None else sorted(waiting)
        released = {name: count for name in chosen if (count := release_cadence(connection, name)) is not None}
        tried = [cadence] if cadence is not None else stopped(connection)
        taken_up = [name for name in tried if take_up_trial(connection, name, now=now)]
        let_go = let_backlog_go(connection, [cadence] if cadence is not None else list(backlog), now=now)
    if as_json:
        print_json({"released": released, "taken_up": taken_up, "backlog": let_go})
        return
    for name in let_go:
        typer.echo(f"{name}: its backlog goes out at the next pass; what is too late by max_late is left out")
    for name, count in released.items():
        typer.echo(f"{name}: released, {count} leads enter it at the daemon's next pass")
    for name in taken_up:
        typer.echo(f"{name}: the change that was tried is taken up for all")
    if not released and not taken_up and not let_go:
        typer.echo("nothing waits to be released")


def _scope(installation: Installation, cadence: str | None, sender: str | None, *, everything: bool) -> str:
    if sum((cadence is not None, sender is not None, everything)) != 1:
        raise typer.BadParameter("name one CADENCE, or --sender NAME, or --all")
    if everything:
        return ALL
    if sender is not None:
        senders = installation.settings.senders
        if sender not in senders:
            raise Problem(f"no sender '{printable(sender)}' in config.toml{suggest(sender, list(senders))}")
        return sender_scope(sender)
    name = cadence or ""
    with installation.database.reading() as connection:
        known = {*in_force(connection), *(path.stem for path in (installation.root / "cadences").glob("[!_]*.yaml"))}
    if name not in known or "." in name:
        raise Problem(f"no cadence '{printable(name)}'{suggest(name, sorted(known))}")
    return cadence_scope(name)


def _resume_domain(
    installation: Installation, domain: str, sender: str | None, *, is_alone: bool, as_json: bool
) -> None:
    if not is_alone:
        raise typer.BadParameter("--domain goes with --sender or by itself")
    if sender is not None:
        _scope(installation, None, sender, everything=False)
    name = domain.lower().removeprefix("@")
    with installation.database.transaction() as connection:
        done = lift_pauses(connection, name, sender=sender, now=installation.clock())
    scope = domain_scope(name, sender or ANY_SENDER)
    _say(printable(scope), done, "goes on", "was not stopped", as_json=as_json)


def what_is_stopped(connection: Connection) -> list[dict[str, Any]]:
    """Scope, since when, until when (None: a person says so) and why, of everything that stops mail."""
    rows = [{"scope": row.scope, "at": row.at, "note": row.note, "until": None} for row in pauses(connection)]
    return rows + [
        {"scope": domain_scope(each.domain, each.sender), "at": each.since, "note": str(each), "until": each.until}
        for each in domain_pauses(connection)
    ]


def say_stop(row: Mapping[str, Any]) -> str:
    """One of them in a line."""
    until = f" until {row['until']:%Y-%m-%d %H:%M} UTC" if row["until"] else ""
    note = f": {printable(row['note'])}" if row["note"] else ""
    return f"{row['scope']} since {row['at']:%Y-%m-%d %H:%M} UTC{until}{note}"


def _list(installation: Installation, *, as_json: bool) -> None:
    with installation.database.reading() as connection:
        rows = what_is_stopped(connection)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(say_stop(row))
    if not rows:
        typer.echo("nothing is stopped")


def _say(scope: str, done: bool, said: str, already: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"scope": scope, "changed": done})
    else:
        typer.echo(f"{scope} {said if done else already}")
