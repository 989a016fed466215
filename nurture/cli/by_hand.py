"""`nurture enroll` and `nurture exit`: what a person must be able to do to a lead's cadences by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from nurture.authoring.workspace import Workspace, load_workspace
from nurture.bootstrap import open_installation
from nurture.cli.asking import asking, read_where
from nurture.cli.output import AsJson, WorkspaceDir, print_json, printable
from nurture.documents.nearest import suggest
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.problem import Problem
from nurture.pipeline.by_hand import enroll_by_hand, exit_by_hand
from nurture.pipeline.enroll import take_up_cadences
from nurture.store.cadences import current_cadences
from nurture.store.leads import find_lead
from nurture.store.segments import leads_meeting

CadenceName = Annotated[str, typer.Argument(metavar="CADENCE", help="The stem of its file.")]


def enroll(
    cadence: CadenceName,
    address: Annotated[str | None, typer.Argument(metavar="ADDRESS", help="One lead.")] = None,
    where: Annotated[str | None, typer.Option("--where", help="All leads who meet this condition or segment.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Put leads into a cadence by hand, whether or not they meet its segment; never without their consent."""
    if (address is None) == (where is None):
        raise typer.BadParameter("name one ADDRESS, or say who with --where")
    files, installation = load_workspace(workspace), open_installation(workspace)
    _known(cadence, files)
    status = files.cadences[cadence].status
    if status in ("draft", "closed"):
        raise Problem(f"{cadence} is {status}, so nobody enters it: set 'status: live' in cadences/{cadence}.yaml")
    now = asking(installation, files)
    take_up_cadences(database=installation.database, cadences=files.cadences, vocabulary=files.vocabulary, asking=now)
    with installation.database.transaction() as connection:
        if address is not None:
            ids = [_lead(connection, address)]
        else:
            ids = sorted(leads_meeting(connection, read_where(where or "", files), now))
        done = enroll_by_hand(connection, ids, cadence=cadence, asking=now, vocabulary=files.vocabulary)
    if as_json:
        print_json({"enrolled": done.enrolled, "refused": done.refused})
    else:
        refused = ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in done.refused.items())
        typer.echo(f"{done.enrolled} enrolled in {cadence}" + (f"; not: {refused}" if refused else ""))


def exit_(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The lead.")],
    cadence: Annotated[str | None, typer.Argument(metavar="[CADENCE]", help="One cadence; without it, all.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Take a lead out of its cadences by hand; what is queued for it there is called off."""
    installation = open_installation(workspace)
    with installation.database.transaction() as connection:
        if cadence is not None:
            _known_ever(connection, cadence)
        left = exit_by_hand(connection, _lead(connection, address), cadence=cadence, now=installation.clock())
    if as_json:
        print_json({"left": left})
    else:
        typer.echo(f"left {', '.join(left)}" if left else "was in no such cadence")


def _known(cadence: str, files: Workspace) -> None:
    if cadence not in files.cadences:
        raise Problem(f"no cadence '{printable(cadence)}'{suggest(cadence, list(files.cadences))}")


def _known_ever(connection: Connection, cadence: str) -> None:
    """Also one whose file is gone."""
    known = list(current_cadences(connection))
    if cadence not in known:
        raise Problem(f"no cadence '{printable(cadence)}'{suggest(cadence, known)}")


def _lead(connection: Connection, address: str) -> int:
    try:
        found = find_lead(connection, read_address(address).key)
    except AddressProblem:
        found = None
    if found is None:
        raise Problem(f"no lead has the address {printable(address)}: 'nurture leads list' shows who is known")
    lead_id: int = found.id
    return lead_id
