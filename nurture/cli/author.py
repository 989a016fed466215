"""Commands for those who write the files: init, check, schema."""

from __future__ import annotations

import json
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from nurture.authoring.check import CheckReport, check_workspace
from nurture.authoring.findings_out import as_document, as_github, as_sarif, count
from nurture.authoring.lead_checks import asked_of_leads
from nurture.authoring.schema import schemas
from nurture.authoring.skeleton import write_skeleton
from nurture.authoring.workspace import Compiled
from nurture.bootstrap import system_clock
from nurture.cli.output import AsJson, WorkspaceDir, print_json, printable
from nurture.documents.finding import Finding
from nurture.domain.problem import Problem
from nurture.rehearsal.copying import as_it_is, snapshot
from nurture.store.segments import Asking


class CheckFormat(StrEnum):
    LINES = "lines"
    GITHUB = "github"
    SARIF = "sarif"


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")]) -> None:
    """Write a new workspace that checks clean: two cadences with their tests, a form, templates, a config."""
    files = write_skeleton(folder, secret=secrets.token_urlsafe(32))
    typer.echo(f"{len(files)} files in {folder}. Next:")
    typer.echo(f"  cd {folder}")
    typer.echo("  nurture check                    # after every edit")
    typer.echo("  edit config.toml                 # your name and address, your SMTP server, your senders")
    typer.echo('  nurture import leads.csv --source "spring fair"')
    typer.echo("  nurture run                      # the daemon; the form is at http://127.0.0.1:8080/f/guide")


def check(
    workspace: WorkspaceDir = Path(),
    as_json: AsJson = False,
    format_: Annotated[
        CheckFormat, typer.Option("--format", help="How findings are printed: for people, GitHub, or code scanning.")
    ] = CheckFormat.LINES,
) -> None:
    """Read every file and report each mistake with its place. Exit code 1 when there is an error."""
    report = check_workspace(workspace, _ask)
    if as_json:
        print_json(as_document(report.findings))
    elif format_ is CheckFormat.SARIF:
        print_json(as_sarif(report.findings))
    elif format_ is CheckFormat.GITHUB:
        for line in as_github(report.findings):
            typer.echo(line)
    else:
        _print_lines(report)
    if count(report.findings, "error"):
        raise typer.Exit(1)


def _ask(findings: tuple[Finding, ...], compiled: Compiled) -> tuple[Finding, ...]:
    """Ask the workspace's leads, where there is a database that answers; `check` needs none, and makes none."""
    settings = compiled.sources.settings
    if settings is None:
        return findings
    asking = Asking.by(compiled.lifecycle.engagement, now=system_clock())
    try:
        with as_it_is(settings, compiled.sources.root) as database:
            if database is None:
                return findings
            with snapshot(database) as connection:
                return asked_of_leads(findings, compiled, connection, asking)
    except (Problem, SQLAlchemyError):
        return findings


def _print_lines(report: CheckReport) -> None:
    for finding in report.findings:
        typer.echo(printable(str(finding)))
    typer.echo(report.summary)


def schema(
    out: Annotated[Path, typer.Option("--out", help="The folder that the schemas are written to.")] = Path(".schema"),
) -> None:
    """Write JSON Schemas of all files, by which editors complete and check them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, document in schemas().items():
            (out / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise Problem(f"schemas cannot be written to {out}: {error.strerror}") from None
    typer.echo(f"{len(schemas())} schemas in {out}")
