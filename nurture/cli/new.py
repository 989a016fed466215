"""`nurture new`: a cadence to begin with, from the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nurture.authoring.new_cadence import KINDS, write_new_cadence
from nurture.cli.output import WorkspaceDir, printable


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What its file is called: cadences/NAME.yaml.")],
    workspace: WorkspaceDir = Path(),
) -> None:
    """Write a tested cadence into the workspace, as a draft: its tests, and the templates that are missing."""
    files = write_new_cadence(workspace, kind=kind, name=name)
    typer.echo(f"{len(files.written)} files:")
    for file in files.written:
        typer.echo(f"  {printable(file)}")
    if files.kept:
        typer.echo(f"left as they are: {printable(', '.join(files.kept))}")
    typer.echo("It is a draft, so nobody gets it yet. Next:")
    typer.echo(f"  nurture test cadences/{name}.test.yaml")
    typer.echo("  nurture preview                  # put in your own words and links")
    typer.echo(f"  edit cadences/{name}.yaml: `status: live` when they are yours")
