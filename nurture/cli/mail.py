"""Messages: `messages list`, `messages unknown`, `messages resolve`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nurture.bootstrap import open_installation
from nurture.cli.output import AsJson, WorkspaceDir, print_json, print_table
from nurture.cli.stopping import say_stop, what_is_stopped
from nurture.domain.message import MessageStatus
from nurture.store.message_views import (
    MessageFilter,
    list_messages,
    parse_filters,
    resolve_as_resend,
    resolve_as_sent,
)

messages_app = typer.Typer(help="Mail that went out, may have, or is about to.", invoke_without_command=True)

Where = Annotated[
    str | None,
    typer.Option("--where", help='Compare a message\'s fields: \'status == "sent" and cadence == "welcome"\'.'),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the newest first.")]


class Resolution(StrEnum):
    """What a person decided on an unknown message."""

    SENT = "sent"
    RESEND = "resend"


@messages_app.callback()
def messages(
    context: typer.Context,
    where: Where = None,
    as_json: AsJson = False,
    limit: Limit = None,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Without a further word: the list."""
    if context.invoked_subcommand is None:
        _show(where, as_json=as_json, limit=limit, workspace=workspace)


@messages_app.command("list")
def list_all(
    where: Where = None, as_json: AsJson = False, limit: Limit = None, workspace: WorkspaceDir = Path()
) -> None:
    """List messages, the newest first."""
    _show(where, as_json=as_json, limit=limit, workspace=workspace)


@messages_app.command("unknown")
def list_unknown(
    where: Where = None, as_json: AsJson = False, limit: Limit = None, workspace: WorkspaceDir = Path()
) -> None:
    """List messages that may or may not have arrived; a person decides with `resolve`."""
    unknown = MessageFilter(field="status", equal=True, value=MessageStatus.UNKNOWN.value)
    _show(where, unknown, as_json=as_json, limit=limit, workspace=workspace)


@messages_app.command("resolve")
def resolve(
    message: Annotated[int, typer.Argument(metavar="ID", help="The message's id, from the list.")],
    decision: Annotated[Resolution, typer.Option("--as", help="It arrived (sent), or send it again (resend).")],
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Decide on an unknown message. It is never sent again by itself."""
    installation = open_installation(workspace)
    settle = resolve_as_sent if decision is Resolution.SENT else resolve_as_resend
    with installation.database.transaction() as connection:
        settle(connection, message, now=installation.clock())
    status = MessageStatus.SENT if decision is Resolution.SENT else MessageStatus.QUEUED
    if as_json:
        print_json({"id": message, "status": status})
    else:
        typer.echo(f"message {message} is {status} now")


def _show(where: str | None, *also: MessageFilter, as_json: bool, limit: int | None, workspace: Path) -> None:
    filters = [*also, *(parse_filters(where) if where is not None else [])]
    installation = open_installation(workspace)
    with installation.database.reading() as connection:
        rows = list_messages(connection, filters, limit=limit)
        stopped = what_is_stopped(connection)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, title="messages")
        for each in stopped:
            typer.echo(f"stopped: {say_stop(each)}", err=True)
