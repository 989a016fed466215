"""What commands that read a list of leads share: how one says which column is what, and that all agreed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from nurture.cli.output import printable
from nurture.domain.folding import fold
from nurture.domain.mailbox import read_mailbox
from nurture.domain.problem import Problem
from nurture.settings import Settings

ColumnMap = Annotated[
    list[str] | None, typer.Option("--map", metavar="COL=FIELD", help='A column\'s field: "Mail=email".')
]
ConsentText = Annotated[
    str | None, typer.Option("--consent-text", help="All of them agreed to this text (no column says so).")
]


def pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    """`NAME=VALUE` apart. A column may have a `=` in its name, so `--map` is parted at the last. Raises Problem."""
    found = []
    for text in given:
        name, equals, value = text.rpartition("=") if option == "--map" else text.partition("=")
        if not equals or not name.strip():
            raise Problem(f"{option} '{printable(text)}': write NAME=VALUE")
        found.append((name.strip(), value.strip()))
    return found


def filled(option: str, text: str) -> str:
    """The text without blanks around it. Raises Problem where nothing else is in it."""
    if not text.strip():
        raise Problem(f"{option} is blank: say it in words")
    return text.strip()


def owners(settings: Settings) -> dict[str, str]:
    """How lists name a rep -> the rep's key in config.toml."""
    found: dict[str, str] = {}
    for key, rep in settings.reps.items():
        for name in (rep.name, read_mailbox(rep.email).address, key):
            found[fold(name)] = key
    return found
