"""`nurture simulate`: weeks ahead in minutes, through the real engine; nothing is sent and nothing is changed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nurture.authoring.workspace import Workspace, load_workspace
from nurture.bootstrap import Rehearsed, build_stages, system_clock
from nurture.cli.lists import ColumnMap, ConsentText, filled, owners, pairs
from nurture.cli.output import AsJson, WorkspaceDir, print_json, print_table, printable
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage
from nurture.engines.stages import Stages
from nurture.inbound.csv_import import ImportRequest
from nurture.logs import prepare_logging
from nurture.rehearsal.calendar_picture import draw
from nurture.rehearsal.findings import Findings, Spread
from nurture.rehearsal.simulations import Asked, Cast, next_midnight
from nurture.rehearsal.simulations import simulate as play_all

MOST_DAYS = 366
MOST_RUNS = 100
MOST_SEED = 2**63 - 1
SOURCE = "simulation"


def simulate(
    days: Annotated[int, typer.Option("--days", help=f"How many days, 1 to {MOST_DAYS}.")],
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day; without it, tomorrow.")
    ] = None,
    leads: Annotated[
        Path | None,
        typer.Option("--leads", metavar="FILE", help="Take these leads, a list as `nurture import` takes it."),
    ] = None,
    mapping: ColumnMap = None,
    consent_text: ConsentText = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed plays the same weeks.")] = 1,
    runs: Annotated[int, typer.Option("--runs", help="How often, each time with other luck.")] = 5,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw it as well: one HTML file.")
    ] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Play the coming weeks on a virtual clock: mails a day, promotions, alerts. Nothing is sent or changed."""
    prepare_logging()
    _require("--days", days, 1, MOST_DAYS)
    _require("--runs", runs, 1, MOST_RUNS)
    _require("--seed", seed, 0, MOST_SEED)
    if picture is not None:
        _require_place(picture)
    files = load_workspace(workspace)
    if leads is None and (mapping or consent_text is not None):
        raise Problem("--map and --consent-text speak of a list: name it with --leads FILE")
    asked = Asked(
        first_day=_first_day(first, files),
        days=days,
        runs=runs,
        seed=seed,
        leads=_list(leads, mapping or [], consent_text, files) if leads is not None else None,
    )
    with _progress(days * runs) as progress:
        findings = play_all(files, asked, make_stages=_make_stages, progress=progress)
    if picture is not None:
        picture.write_text(draw(findings, files), encoding="utf-8")
    if as_json:
        print_json(_document(findings, files))
    else:
        _print(findings, files, picture)


def _make_stages(cast: Cast) -> Stages:
    """The real stages, over the scratch database of one run."""
    installation = Rehearsed(
        root=cast.workspace.root,
        settings=cast.workspace.settings,
        database=cast.database,
        clock=cast.clock,
        rng=random.Random(cast.seed),  # noqa: S311  it guards nothing: no secret is made here
        seed=cast.seed,
    )
    servers = {hop.address.name: hop for hop in cast.hops}
    return build_stages(installation, cast.workspace, sole_worker=True, servers=servers)


# --- what was asked


def _require(option: str, given: int, least: int, most: int) -> None:
    if not least <= given <= most:
        raise Problem(f"{option} {given}: give a number from {least} to {most}")


def _first_day(text: str | None, files: Workspace) -> date:
    if text is None:
        return next_midnight(system_clock(), ZoneInfo(files.settings.workspace.timezone))
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Problem(f"--from '{printable(text)}' is no date: write it as 2026-12-01") from None
    if not 1990 <= day.year <= 2100:
        raise Problem(f"--from {text}: give a year from 1990 to 2100")
    return day


def _require_place(picture: Path) -> None:
    """Said before minutes are spent. Raises Problem where the file can't be written."""
    folder = picture.parent
    if not folder.is_dir():
        raise Problem(f"--picture {printable(str(picture))}: there is no folder {printable(str(folder))}")
    if picture.is_dir():
        raise Problem(f"--picture {printable(str(picture))} is a folder: name a file in it, such as weeks.html")
    if not os.access(picture if picture.exists() else folder, os.W_OK):
        raise Problem(f"--picture {printable(str(picture))}: nothing may be written there")


def _list(path: Path, mapping: Sequence[str], consent_text: str | None, files: Workspace) -> ImportRequest:
    if not path.is_file():
        raise Problem(f"{printable(str(path))}: there is no such file")
    return ImportRequest(
        path=path,
        source=SOURCE,
        mapping=dict(pairs("--map", mapping)),
        consent_text=filled("--consent-text", consent_text) if consent_text is not None else None,
        owners=owners(files.settings),
    )


@contextmanager
def _progress(days: int) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, where a person watches."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} days"), TimeRemainingColumn())
    with Progress("simulating", *columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=days)
        yield lambda done: bar.update(task, completed=done)


# --- what was found


def _document(findings: Findings, files: Workspace) -> dict[str, Any]:
    return {
        "seed": findings.seed,
        "runs": len(findings.runs),
        "leads": findings.leads,
        "sends": vars(findings.sends),
        "days": [{"date": day, "sends": vars(findings.sends_on(day))} for day in findings.dates],
        "promotions": _each(_promotions(findings, files)),
        "alerts": _each(_alerts(findings, files)),
        "capped": findings.capped.p50,
        "enrolled": _each(findings.each(lambda run: run.enrolled)),
        "exits": {cadence: _each(exits) for cadence, exits in findings.exits().items()},
        "sends_by_step": _each(findings.each(lambda run: run.sends_by_step)),
        "bounced": vars(findings.one(lambda run: run.bounced)),
        "failed": vars(findings.one(lambda run: run.failed)),
    }


def _promotions(findings: Findings, files: Workspace) -> dict[str, Spread]:
    stages = [rule.stage for rule in files.lifecycle.stages if rule.stage != Stage.LEAD]
    return findings.each(lambda run: run.promotions, besides=stages)


def _alerts(findings: Findings, files: Workspace) -> dict[str, Spread]:
    return findings.each(lambda run: run.alerts, besides=list(files.settings.reps))


def _each(spreads: Mapping[str, Spread]) -> dict[str, dict[str, int]]:
    return {name: vars(spread) for name, spread in spreads.items()}


def _print(findings: Findings, files: Workspace, picture: Path | None) -> None:
    runs = len(findings.runs)
    leads = f"{findings.leads} {'lead' if findings.leads == 1 else 'leads'}"
    typer.echo(f"{leads}, {runs} {'run' if runs == 1 else 'runs'} of seed {findings.seed}\n")
    most = max((findings.sends_on(day).p90 for day in findings.dates), default=0)
    print_table([_row(day, findings.sends_on(day), most) for day in findings.dates], title="Mails a day")
    counts = {"mails in all": findings.sends}
    counts |= {f"became {stage}": spread for stage, spread in _promotions(findings, files).items()}
    counts |= {f"alerts to {rep}": spread for rep, spread in _alerts(findings, files).items()}
    counts |= {"a cap stood in the way": findings.capped, "refused for good": findings.one(lambda run: run.bounced)}
    failed = findings.one(lambda run: run.failed)
    if failed.p90:
        counts["could not be written"] = failed
    print_table([{"": name, **vars(spread)} for name, spread in counts.items()], title="In all these days")
    ways = [
        {"cadence": cadence, "how it ended": reason, **vars(spread)}
        for cadence, exits in findings.exits().items()
        for reason, spread in exits.items()
    ]
    print_table(ways, title="Cadences")
    if picture is not None:
        typer.echo(f"the picture is in {printable(str(picture))}")


def _row(day: date, sends: Spread, most: int) -> dict[str, Any]:
    bar = "█" * round(24 * sends.p50 / most) if most else ""
    return {"day": f"{day:%a %d %b %Y}", "p10": sends.p10, "p50": sends.p50, "p90": sends.p90, "": bar}
