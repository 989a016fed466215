"""`nurture demo`: some weeks in a minute, then the daemon live."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from nurture.bootstrap import system_clock
from nurture.cli.output import console, print_table
from nurture.demonstration import Demonstration, Summary, demonstration, live, play, summarise
from nurture.logs import prepare_logging


def demo(once: Annotated[bool, typer.Option("--once", help="Stop after the summary.")] = False) -> None:
    """Show the whole in a minute: sample leads, a local mailbox, simulated readers; needs no account and no network."""
    prepare_logging()
    with tempfile.TemporaryDirectory(prefix="nurture-demo-") as folder:
        root = Path(folder)
        with demonstration(root, now=system_clock()) as running:
            asyncio.run(_play(running))
            _print(summarise(running))
            if not once:
                asyncio.run(live(running, clock=system_clock, announce=_announce))


async def _play(running: Demonstration) -> None:
    total = (running.ends - running.began).total_seconds()
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console, transient=True) as bar:
        task = bar.add_task("weeks go by", total=total)

        def show(moment: datetime) -> None:
            done = (moment - running.began).total_seconds()
            bar.update(task, completed=done, description=f"{moment:%a %d %b}")

        await play(running, progress=show)


def _print(summary: Summary) -> None:
    for name, value in summary.figures.items():
        typer.echo(f"{name}: {value}")
    for title, rows in summary.tables.items():
        print_table(rows, title=title)


def _announce(public: str, mailbox: str) -> None:
    typer.echo(f"The daemon is running now; end it with Ctrl-C.\n  form     http://{public}/f/guide")
    typer.echo(f"  mailbox  http://{mailbox}/")
