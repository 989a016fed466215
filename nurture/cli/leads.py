"""Leads: `import`, `leads list|show|export|erase|set`, `track`, `suppress`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import open_installation
from nurture.cli.asking import asking, read_where
from nurture.cli.lists import ColumnMap, ConsentText, filled, owners, pairs
from nurture.cli.output import AsJson, WorkspaceDir, print_json, print_table, printable
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.folding import fold
from nurture.domain.problem import Problem
from nurture.inbound.csv_import import ImportReport, ImportRequest, import_leads
from nurture.inbound.suppression_file import read_suppressions, suppression_key
from nurture.store.by_hand import (
    change_lead,
    lift_by_hand,
    read_event,
    require_declared,
    suppress_by_hand,
    track_event,
)
from nurture.store.erasure import erase_lead
from nurture.store.lead_fields import CUSTOM
from nurture.store.lead_views import export_lead, list_leads, show_lead

leads_app = typer.Typer(no_args_is_help=True, help="People who gave an address and permission.")

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="The lead's e-mail address.")]


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV of HubSpot, Salesforce, Mailchimp or your own.")],
    source: Annotated[str, typer.Option("--source", help="Where these people gave their consent; kept as proof.")],
    mapping: ColumnMap = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Give each lead this tag.")] = None,
    consent_text: ConsentText = None,
    rejects: Annotated[Path | None, typer.Option("--rejects", help="Write refused rows here, with reasons.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, write nothing.")] = False,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Take a list of leads in. Rows without consent are refused; importing a list again changes nothing."""
    installation = open_installation(workspace)
    request = ImportRequest(
        path=file,
        source=filled("--source", source),
        mapping=dict(pairs("--map", mapping or [])),
        tags=tags or [],
        consent_text=filled("--consent-text", consent_text) if consent_text is not None else None,
        owners=owners(installation.settings),
        secrets=lambda: installation.secrets,
        rejects=rejects,
        dry_run=dry_run,
    )
    with _progress() as progress:
        report = import_leads(installation.database, request, now=installation.clock(), progress=progress)
    if as_json:
        print_json(report.counts())
    else:
        _tell(report, dry_run=dry_run)


@leads_app.command("list")
def list_all(
    where: Annotated[
        str | None, typer.Option("--where", help="A condition or a segment's name: 'stage == \"mql\" and score >= 50'.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the newest first.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """List leads with their scores of this moment."""
    installation, files = open_installation(workspace), load_workspace(workspace)
    condition = read_where(where, files) if where is not None else None
    with installation.database.reading() as connection:
        rows = list_leads(connection, asking(installation, files), condition=condition, limit=limit)
    if as_json:
        print_json(rows)
    else:
        print_table([_brief(row) for row in rows], title=f"{len(rows)} leads")


@leads_app.command("show")
def show(address: Address, as_json: AsJson = False, workspace: WorkspaceDir = Path()) -> None:
    """Show one lead with its history."""
    lead = _read(address, workspace, show_lead)
    if as_json:
        print_json(lead)
        return
    print_table([{"field": name, "value": value} for name, value in lead.items() if not isinstance(value, list)])
    for name, value in lead.items():
        if isinstance(value, list):
            print_table(_told([each if isinstance(each, dict) else {name: each} for each in value]), title=name)


@leads_app.command("export")
def export(address: Address, workspace: WorkspaceDir = Path(), *, as_json: AsJson = False) -> None:
    """Print all that is known of one person, as one JSON document (with and without --json)."""
    del as_json  # there is no other form; scripts that say it everywhere may say it here
    print_json(_read(address, workspace, export_lead))


@leads_app.command("erase")
def erase(
    address: Address,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Forget a person for good. What is left counts and names nobody; the address can't be imported again."""
    key = _key(address)
    installation = open_installation(workspace)
    secret = installation.secrets[0]
    if not yes:
        typer.confirm(f"Erase everything about {printable(key)}? This can't be undone", abort=True)
    with installation.database.transaction() as connection:
        known = erase_lead(connection, key, secret=secret, now=installation.clock())
    typer.echo("erased" if known else "nobody has this address; it is kept from being imported")


@leads_app.command("set")
def set_values(
    address: Address,
    changes: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE…", help="Also stage=, tag=, untag=, custom.X=.")],
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Change a lead by hand; FIELD= with nothing after it clears a field."""
    key, said = _key(address), pairs("set", changes)
    installation = open_installation(workspace)
    reps, declared = owners(installation.settings), installation.settings.fields
    for name, value in said:
        if name.startswith(CUSTOM) and declared is not None:
            require_declared(name.removeprefix(CUSTOM), value, declared)
    given = [(name, reps.get(fold(value), value) if name == "owner" else value) for name, value in said]
    with installation.database.transaction() as connection:
        changed = change_lead(connection, key, given, now=installation.clock())
    if as_json:
        print_json({"email": key, "changed": changed})
    else:
        typer.echo("changed" if changed else "it was so already")


def track(
    address: Address,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Its name: 'demo requested', 'deal won', your own.")],
    at: Annotated[str | None, typer.Option("--at", help="When (default: now); without an offset, local time.")] = None,
    value: Annotated[float | None, typer.Option("--value", help="What it is worth.")] = None,
    props: Annotated[list[str] | None, typer.Option("--prop", metavar="K=V", help="A property of it.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Record that something happened to a lead. The same with the same --at is recorded once."""
    key = _key(address)
    installation = open_installation(workspace)
    now, zone = installation.clock(), ZoneInfo(installation.settings.workspace.timezone)
    given = read_event(event, at=at, value=value, props=pairs("--prop", props or []), zone=zone, now=now)
    with installation.database.transaction() as connection:
        event_id = track_event(connection, key, given, rng=installation.rng, now=now)
    if as_json:
        print_json({"email": key, "event": given.name, "at": given.at, "recorded": event_id is not None})
    else:
        typer.echo("recorded" if event_id is not None else "recorded before")


def suppress(
    address: Annotated[str | None, typer.Argument(metavar="ADDRESS|@DOMAIN", help="Who gets nothing.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="One address or @domain a line.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why: by_hand, unsubscribed, complained …")] = "by_hand",
    lifted: Annotated[str | None, typer.Option("--lift", metavar="ADDRESS", help="Let mail through again.")] = None,
    note: Annotated[str | None, typer.Option("--note", help="For the record; required with --lift.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Keep mail from addresses or whole domains, or let it through again."""
    if sum(given is not None for given in (address, file, lifted)) != 1:
        raise typer.BadParameter("give ADDRESS or @DOMAIN, or --file FILE, or --lift ADDRESS")
    if lifted is not None and not (note and note.strip()):
        raise typer.BadParameter("--lift needs --note TEXT: why may this address be written to again?")
    installation = open_installation(workspace)
    now = installation.clock()
    if lifted is not None:
        key = _key_or_domain(lifted)
        with installation.database.transaction() as connection:
            reasons = lift_by_hand(connection, key, note=str(note), now=now)
        _say({"lifted": key, "reason": reasons}, f"{printable(key)} may be written to again", as_json=as_json)
        return
    keys = read_suppressions(file) if file is not None else [_key_or_domain(address or "")]
    with installation.database.transaction() as connection:
        added = suppress_by_hand(connection, keys, reason=reason, note=note, now=now)
    said = f"{added} suppressed, {len(keys) - added} were already"
    _say({"suppressed": added, "already": len(keys) - added}, said, as_json=as_json)


def _say(document: dict[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        typer.echo(line)


def _read(address: str, workspace: Path, view: Callable[..., dict[str, Any] | None]) -> dict[str, Any]:
    key = _key(address)
    installation, files = open_installation(workspace), load_workspace(workspace)
    with installation.database.reading() as connection:
        lead = view(connection, key, asking(installation, files))
    if lead is None:
        raise Problem(f"no lead has the address {printable(address)}: 'nurture leads list' shows who is known")
    return lead


def _key(address: str) -> str:
    try:
        return read_address(address).key
    except AddressProblem as problem:
        raise Problem(f"'{printable(address)}' is no e-mail address: {problem}") from None


def _key_or_domain(text: str) -> str:
    try:
        return suppression_key(text)
    except AddressProblem as problem:
        raise Problem(f"'{printable(text)}' is no e-mail address and no @domain: {problem}") from None


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    names = ("email", "name", "stage", "fit", "score", "owner", "suppression")
    return {name: row[name] for name in names}


def _told(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the columns that are blank in all of them."""
    told = [name for name in (rows[0] if rows else ()) if any(row[name] not in (None, "", {}, []) for row in rows)]
    return [{name: row[name] for name in told} for row in rows]


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, where a person watches."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress("importing", BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("import", total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)


def _tell(report: ImportReport, *, dry_run: bool) -> None:
    if dry_run:
        typer.echo("a dry run: nothing was written")
    typer.echo(
        f"{report.rows} rows: {report.valid} leads ({report.created} new, {report.changed} changed, "
        f"{report.unchanged} unchanged), {report.updated_duplicates} later rows of one of them, "
        f"{sum(report.rejected.values())} rejected"
    )
    if report.rejected:
        print_table([{"rejected": reason, "rows": count} for reason, count in sorted(report.rejected.items())])
    if report.suppressed:
        typer.echo(f"{report.suppressed} addresses get nothing from now on: the list says they left or bounced")
    if report.notes:
        print_table([{"left out or noted": name, "times": count} for name, count in sorted(report.notes.items())])
    if report.encoding != "utf-8":
        typer.echo(f"the file was read as {report.encoding}")
    taken = {column.header: column.target for column in report.columns}
    print_table([{"column": name, "field": target} for name, target in taken.items()])
