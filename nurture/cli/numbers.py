"""Numbers for people: `report`, `spend import`, `why`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import open_installation
from nurture.cli.output import AsJson, WorkspaceDir, plain, print_json, print_table, printable
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.explain import say_moment
from nurture.domain.problem import Problem
from nurture.inbound.spend_file import read_spend
from nurture.store.explain import Asked, Explanation, explain_lead
from nurture.store.reports import REPORTS, Report, ReportRequest, Row, read_period, run_report
from nurture.store.spend import save_spend

spend_app = typer.Typer(no_args_is_help=True, help="What marketing spent.")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

ReportName = Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(REPORTS)}.")]
FromDay = Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD, in the workspace's time zone.")]
ToDay = Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD, that day included.")]
By = Annotated[str | None, typer.Option("--by", help="Group by a field, such as channel or custom.plan.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV that is safe to open in a spreadsheet.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many rows.")]


def report(
    name: ReportName,
    first: FromDay = None,
    last: ToDay = None,
    by: By = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    limit: Limit = None,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Show a report: where leads stand, what converts, what it costs, what proved better."""
    if as_json and as_csv:
        raise Problem("--json and --csv: choose one of them")
    installation = open_installation(workspace)
    settings = installation.settings
    request = ReportRequest(
        now=installation.clock(),
        period=read_period(first, last, ZoneInfo(settings.workspace.timezone)),
        by=by,
        goals=settings.goals,
    )
    with installation.database.reading() as connection:
        found = run_report(connection, name, request)
    rows = found.rows[:limit]
    if as_json:
        print_json({"report": name, "from": found.period.first, "to": found.period.last, "rows": rows})
    elif as_csv:
        typer.echo(_csv(rows), nl=False)
    else:
        print_table([_for_people(row, found) for row in rows], title=_title(found))


def import_spend(
    file: Annotated[Path, typer.Argument(help="CSV with month,channel,campaign,amount,currency.")],
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Take in what marketing spent; a line given before is replaced."""
    installation = open_installation(workspace)
    lines = read_spend(file)
    with installation.database.transaction() as connection:
        save_spend(connection, lines)
    if as_json:
        print_json({"imported": len(lines)})
    else:
        typer.echo(f"lines of spend imported: {len(lines)}")


def why(
    address: Annotated[str, typer.Argument(help="The lead's e-mail address.")],
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Tell what happened to a lead and why, what comes next, and how its score adds up."""
    try:
        key = read_address(address).key
    except AddressProblem as problem:
        raise Problem(f"'{printable(address)}' is no e-mail address: {problem}") from None
    installation = open_installation(workspace)
    engagement = load_workspace(workspace).lifecycle.engagement
    zone = ZoneInfo(installation.settings.workspace.timezone)
    asked = Asked(now=installation.clock(), half_life=engagement.half_life, engagement_cap=engagement.cap, zone=zone)
    with installation.database.reading() as connection:
        explanation = explain_lead(connection, key, asked)
    if explanation is None:
        raise Problem(f"no lead has the address {printable(address)}: 'nurture leads list' shows who is known")
    if as_json:
        print_json(explanation.__dict__)
    else:
        _tell(explanation, zone)


def _tell(explanation: Explanation, zone: ZoneInfo) -> None:
    lead = explanation.lead
    print_table([lead])
    print_table(
        [
            {"when": say_moment(each["at"], zone), "where": _place(each), "what": each["text"]}
            for each in explanation.past
        ],
        title="What happened",
    )
    print_table(
        [{"where": each["cadence"], "what": each["text"]} for each in explanation.next], title="What comes next"
    )
    lines = [
        {"when": say_moment(each["at"], zone), "points": f"{each['points']:+.2f}", "reason": each["reason"]}
        for each in explanation.score
    ]
    lines.append({"when": "", "points": f"{lead['score']:.2f}", "reason": "score"})
    print_table(lines, title="How the score adds up")


def _place(entry: Mapping[str, Any]) -> str:
    return "/".join(each for each in (entry["cadence"], entry["step"]) if each)


def _title(found: Report) -> str:
    first, last = found.period.first, found.period.last
    when = f", {first or 'the beginning'} to {last or 'now'}" if first or last else ""
    return f"{found.report}{when}"


def _for_people(row: Row, found: Report) -> dict[str, Any]:
    """A rate stands in the place of its numerator, with its fraction; "n/a" where there is no number to give."""
    rates = {over: (name, under) for name, (over, under) in found.fractions.items()}
    cells: dict[str, Any] = {}
    for place, (name, value) in enumerate(row.items()):
        if name in found.fractions:
            continue
        share = row[rates[name][0]] if name in rates else None
        if share is not None:
            cells[name] = f"{share:.1%} ({value}/{row[rates[name][1]]})"
        elif value is None:
            cells[name] = "(none)" if place == 0 else "n/a"
        else:
            cells[name] = _cell(value)
    return cells


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items()) or "–"
    return f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_safe_cell(value) for value in row.values()])
    return out.getvalue()


def _safe_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay numbers."""
    if isinstance(value, Mapping):
        value = "; ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return "" if value is None else plain(value)


spend_app.command("import")(import_spend)
spend_app.callback()(lambda: None)
