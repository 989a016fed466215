"""The command `nurture`: gathers the groups; a Problem becomes one line on standard error and exit code 1."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from nurture.cli import (
    author,
    by_hand,
    content,
    database,
    demo,
    leads,
    mail,
    new,
    numbers,
    plan,
    rehearse,
    run,
    simulate,
    stopping,
)
from nurture.domain.problem import Problem

app = typer.Typer(
    name="nurture",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Follows up with leads: declarative cadences, honest delivery, every decision explained.",
)

app.command("init")(author.init)
app.command("new")(new.new)
app.command("check")(author.check)
app.command("plan")(plan.plan)
app.command("simulate")(simulate.simulate)
app.command("test")(rehearse.test)
app.command("preview")(content.preview)
app.command("render")(content.render)
app.command("send-test")(content.send_test)
app.command("schema")(author.schema)
app.command("import")(leads.import_file)
app.add_typer(leads.leads_app, name="leads")
app.command("track")(leads.track)
app.command("suppress")(leads.suppress)
app.command("run")(run.run)
app.command("demo")(demo.demo)
app.command("enroll")(by_hand.enroll)
app.command("exit")(by_hand.exit_)
app.command("pause")(stopping.pause)
app.command("resume")(stopping.resume)
app.command("release")(stopping.release)
app.command("report")(numbers.report)
app.command("why")(numbers.why)
app.add_typer(numbers.spend_app, name="spend")
app.add_typer(mail.messages_app, name="messages")
app.add_typer(database.db_app, name="db")


def main() -> None:
    """The console script."""
    try:
        app()
    except Problem as problem:
        _end(str(problem))
    except SQLAlchemyError as error:  # away, locked, full or broken: the statement and its values stay out of sight
        cause = getattr(error, "orig", None) or error
        _end(f"the database does not go along: {' '.join(str(cause).split())[:300]}")
    except OSError as error:
        _end(f"{error.filename + ': ' if error.filename else ''}{error.strerror or error}")


def _end(line: str) -> NoReturn:
    typer.echo(f"nurture: {line}", err=True)
    sys.exit(1)
