"""`nurture db`: the database's schema."""

from __future__ import annotations

from pathlib import Path

import typer

from nurture.bootstrap import open_installation
from nurture.cli.output import WorkspaceDir

db_app = typer.Typer(no_args_is_help=True, help="The database's schema.")


@db_app.command("upgrade")
def upgrade_schema(workspace: WorkspaceDir = Path()) -> None:
    """Make the schema, or bring it up to date; every command that needs the database does so by itself."""
    open_installation(workspace)
    typer.echo("the database's schema is up to date")
