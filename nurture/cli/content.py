"""Seeing a mail before it goes: `nurture render`, `nurture send-test` and `nurture preview`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nurture.authoring.samples import sample_event, sample_lead
from nurture.authoring.sources import TEMPLATES
from nurture.authoring.workspace import Workspace, load_workspace
from nurture.bootstrap import (
    Installation,
    build_letters,
    build_library,
    build_preview_server,
    build_server,
    open_installation,
    open_unsigned,
)
from nurture.cli.output import WorkspaceDir, printable
from nurture.content.letters import Composer, RenderProblem
from nurture.content.templates import TemplateError
from nurture.delivery.conversation import LinkLost
from nurture.delivery.replies import Reply
from nurture.delivery.servers import Server, ServerUnavailable
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.problem import Problem
from nurture.pipeline.outgoing import RenderFailed
from nurture.pipeline.proofs import (
    Proof,
    ProofRequest,
    choose_variant,
    find_recipient,
    find_step,
    last_event,
    names_used,
    write_proof,
)
from nurture.web.preview import Preview
from nurture.web.server import ListeningServer

TEST_MARK = "[test] "

StepName = Annotated[str, typer.Argument(metavar="STEP", help="CADENCE/ID: the cadence's file and the step's id.")]
Variant = Annotated[str | None, typer.Option(help="One of the step's variants; without it, the first.")]
Language = Annotated[str | None, typer.Option(help="Such as de or pt-BR, instead of the lead's own.")]


class Format(StrEnum):
    HTML = "html"
    TEXT = "text"
    EML = "eml"


def render(
    step: StepName,
    lead: Annotated[str, typer.Option(metavar="ADDRESS", help="The lead who would get it.")],
    variant: Variant = None,
    language: Language = None,
    format_: Annotated[Format, typer.Option("--format", help="Its HTML, its text part, or the whole letter.")] = (
        Format.HTML
    ),
    workspace: WorkspaceDir = Path(),
) -> None:
    """Print a step's mail as one lead would get it. Nothing is sent or recorded; its links are not tracked."""
    files, installation = load_workspace(workspace), open_unsigned(workspace)
    with installation.database.reading() as connection:
        fields = find_recipient(connection, lead)
    proof = _write(installation, files, step, variant, fields, language=language)
    match format_:
        case Format.HTML:
            typer.echo(proof.letter.html, nl=False)
        case Format.TEXT:
            typer.echo(proof.letter.text, nl=False)
        case Format.EML:
            typer.echo(proof.letter.wire, nl=False)


def send_test(
    step: StepName,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Where the test goes.")],
    lead: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Written as for this lead; without it, for a made-up one.")
    ] = None,
    variant: Variant = None,
    language: Language = None,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Send one mail of a step to yourself, now, through the sender's own server. Nothing is recorded or tracked."""
    files, installation = load_workspace(workspace), open_installation(workspace)
    recipient = _recipient(to)
    fields = None
    if lead is not None:
        with installation.database.reading() as connection:
            fields = find_recipient(connection, lead)
    proof = _write(installation, files, step, variant, fields, to=recipient, language=language)
    server = build_server(installation, proof.mailer.server)
    reply = asyncio.run(_send(server, proof, recipient))
    if not reply.accepted:
        raise Problem(f"{server.address.host}:{server.address.port} refused the test to {recipient}: {reply.text}")
    typer.echo(f"sent to {printable(recipient)} through {server.address.host}:{server.address.port}: {reply.text}")


def preview(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes any free one.")] = 8083,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Show every step's mail in the browser, for any lead, and again whenever a file changes."""
    installation = open_unsigned(workspace)
    server, pages = build_preview_server(installation, port)
    typer.echo(f"nurture: preview at http://{server.address} (Ctrl-C ends it)", err=True)
    asyncio.run(_until_interrupted(server, pages))


async def _until_interrupted(server: ListeningServer, pages: Preview) -> None:
    def end() -> None:
        pages.closing = server.should_exit = True

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, end)
    await server.serve()


def _recipient(text: str) -> str:
    try:
        return read_address(text).text
    except AddressProblem:
        raise Problem(f"'{printable(text)}' is no e-mail address to send a test to") from None


def _write(
    installation: Installation,
    files: Workspace,
    step_name: str,
    variant: str | None,
    lead: Mapping[str, Any] | None,
    *,
    to: str | None = None,
    language: str | None = None,
) -> Proof:
    """The letter of the named step; a test where it is `to` somebody else than its lead. Raises Problem."""
    cadence, step = find_step(files.cadences, step_name)
    library = build_library(installation.root, files.settings)
    arm = choose_variant(step, variant)
    used = names_used(library, step, arm, language)
    fields = lead if lead is not None else sample_lead(files.settings, used, full=True)
    event = None
    if lead is not None:
        with installation.database.reading() as connection:
            event = last_event(connection, fields["email"], cadence)
    request = ProofRequest(
        cadence=cadence,
        step=step,
        variant=arm,
        lead=fields,
        to_address=to or fields["email"],
        event=event if event is not None else sample_event(used),
        language=language,
        message_id="proof" if to is None else f"test.{installation.rng.getrandbits(80):020x}",
        mark="" if to is None else TEST_MARK,
    )
    try:
        return write_proof(build_letters(installation, files, Composer(library)), request)
    except TemplateError as error:
        raise Problem(f"{TEMPLATES}/{error}") from None
    except (RenderProblem, RenderFailed) as error:
        raise Problem(f"{step_name} can't be written for {printable(fields['email'])}: {error}") from None


async def _send(server: Server, proof: Proof, recipient: str) -> Reply:
    """One message in one conversation. Raises Problem where nobody knows, or nothing was said of it."""
    where = f"{server.address.host}:{server.address.port}"
    try:
        conversation = await server.conversation()
    except ServerUnavailable as error:
        raise Problem(f"the server of sender '{proof.mailer.name}' is not there: {error}") from None
    outcome = "the test is not sent"
    try:
        refusal = await conversation.offer(proof.mailer.address, recipient, proof.letter.wire)
        outcome = "whether the test arrives is not known"
        return refusal or await conversation.dot()
    except (LinkLost, ServerUnavailable) as error:
        raise Problem(f"the link to {where} was lost ({error}): {outcome}") from None
    finally:
        await conversation.quit()
