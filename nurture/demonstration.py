"""The whole thing in a minute, with no account anywhere: a workspace in a temporary folder, sample leads, a catch-all
mailbox, some weeks on a virtual clock, and then the daemon, live."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from nurture.authoring.skeleton import write_skeleton
from nurture.authoring.workspace import Workspace, load_workspace
from nurture.bootstrap import (
    Clock,
    Installation,
    build_engine,
    build_public_server,
    build_stages,
    open_installation,
    system_random,
)
from nurture.daemon import run_daemon
from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.inbound.spend_file import read_spend
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.mailbox import Mailbox, MailServer, mailbox_app
from nurture.rehearsal.readers import Readers
from nurture.rehearsal.sales import Reps
from nurture.rehearsal.sample import sample_leads, sample_spend
from nurture.rehearsal.story import Cast, Story
from nurture.settings import Settings
from nurture.store import tables as t
from nurture.store.reports import ReportRequest, Row, run_report
from nurture.store.spend import save_spend
from nurture.web.server import make_server

LEADS = 400
WEEKS = 6
SEED = 7
PUBLIC_PORT = 8080
MAILBOX_PORT = 8025
# The readers' taste, which the engine does not know: subjects with a number in them are liked better.
APPEAL = {"3 numbers": 1.0}

# title -> report, and the columns that fit a terminal
TABLES = {
    "Leads by stage": ("leads", "stage count reached"),
    "Subjects": ("experiments", "experiment arm sent converted share state lift e_value"),
    "Follow-up by step": ("cadence", "cadence step entered sent clicked replied unsubscribed"),
    "Cost": ("cost", "channel spend leads cost_per_lead qualified cost_per_qualified currency"),
    "Sales": ("sales", "leads sales leads_per_sale"),
    "Alerts": ("alerts", "rep sent claimed rejected median_minutes"),
}

Progress = Callable[[datetime], None]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What happened, as the command prints it; `tables` are reports, by their title."""

    figures: dict[str, int]
    tables: dict[str, list[Row]]


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A workspace with its world around it."""

    root: Path
    workspace: Workspace
    installation: Installation
    mailbox: Mailbox
    clock: VirtualClock
    began: datetime
    ends: datetime


@contextmanager
def demonstration(root: Path, *, now: datetime) -> Iterator[Demonstration]:
    """Write the workspace into `root`, start the mailbox, import the sample leads. The weeks end at `now`."""
    write_skeleton(root, secret=secrets.token_urlsafe(32))
    plain = load_workspace(root)
    zone = ZoneInfo(plain.settings.workspace.timezone)
    began = _monday_morning(now - timedelta(weeks=WEEKS), zone)
    clock = VirtualClock(began)
    mailbox = Mailbox(clock=clock)
    smtp_port = _free_port(0)
    server = MailServer(mailbox, port=smtp_port)
    server.start()
    settings = _settings(plain.settings, smtp_port=smtp_port, public_port=_free_port(PUBLIC_PORT))
    workspace = replace(plain, settings=settings)
    installation = replace(open_installation(root), settings=settings, clock=clock, rng=random.Random(SEED))
    try:
        _take_in(root, installation, began)
        yield Demonstration(
            root=root,
            workspace=workspace,
            installation=installation,
            mailbox=mailbox,
            clock=clock,
            began=began,
            ends=now,
        )
    finally:
        server.stop()
        installation.database.close()


async def play(demo: Demonstration, *, progress: Progress) -> None:
    """The weeks, on the virtual clock, with the real public listener answering the players."""
    stages = build_stages(demo.installation, demo.workspace, sole_worker=True)
    public = build_public_server(demo.installation, demo.workspace)
    serving = asyncio.create_task(public.serve())
    reps = demo.workspace.settings.reps.values()
    story = Story(
        stages=stages,
        database=demo.installation.database,
        clock=demo.clock,
        mailbox=demo.mailbox,
        cast=Cast(
            readers=Readers(seed=SEED, public_url=demo.workspace.settings.workspace.public_url, appeal=APPEAL),
            reps=Reps(seed=SEED, addresses=[rep.email for rep in reps]),
        ),
        zone=ZoneInfo(demo.workspace.settings.workspace.timezone),
    )
    try:
        await story.play(until=demo.ends, progress=progress)
    finally:
        await stages.deliverer.close()
        public.should_exit = True
        await serving


async def live(demo: Demonstration, *, clock: Clock, announce: Callable[[str, str], None]) -> None:
    """The daemon in real time over what the weeks left behind, and the mailbox's page, until a signal."""
    installation = demo.installation.at(clock=clock, rng=system_random())
    stages = build_stages(installation, demo.workspace, sole_worker=True)
    public = build_public_server(installation, demo.workspace)
    pages = make_server(mailbox_app(demo.mailbox), f"127.0.0.1:{_free_port(MAILBOX_PORT)}")
    showing = asyncio.create_task(pages.serve())
    try:
        await run_daemon(
            root=demo.root,
            stages=stages,
            engine_of=partial(build_engine, installation),
            servers=[public],
            announce=lambda: announce(public.address, pages.address),
        )
    finally:
        pages.should_exit = True
        await showing


def summarise(demo: Demonstration) -> Summary:
    """Numbers of the whole run, read from the tables and the reports."""
    m, e = t.message.c, t.event.c
    with demo.installation.database.reading() as connection:

        def count(query: object) -> int:
            return connection.scalar(query) or 0  # type: ignore[call-overload]  # any count

        clicked = select(func.count()).where(e.kind == "clicked")
        figures = {
            "leads": count(select(func.count()).where(t.lead.c.stage != "visitor")),
            "sent": count(select(func.count()).where(m.status == "sent", m.kind == "step")),
            "unknown": count(select(func.count()).where(m.status == "unknown")),
            "human clicks": count(clicked.where(e.verdict == "human")),
            "machine clicks left out": count(clicked.where(e.verdict == "machine")),
            "unsubscribed": count(select(func.count()).where(t.suppression.c.reason == "unsubscribed")),
            "alerts": count(select(func.count()).where(t.alert.c.status != "notice")),
            "answered alerts": count(select(func.count(func.distinct(t.alert_answer.c.alert_id)))),
        }
        request = ReportRequest(now=demo.ends)
        tables = {
            title: [_chosen(row, columns) for row in run_report(connection, name, request).rows]
            for title, (name, columns) in TABLES.items()
        }
    return Summary(figures=figures, tables=tables)


def _chosen(row: Row, columns: str) -> Row:
    return {name: row[name] for name in columns.split()}


def _take_in(root: Path, installation: Installation, began: datetime) -> None:
    leads = root / "leads.csv"
    leads.write_text(sample_leads(LEADS, seed=SEED, day=began.date()), encoding="utf-8")
    import_leads(installation.database, ImportRequest(path=leads, source="demo"), now=began)
    spend = root / "spend.csv"
    spend.write_text(sample_spend(began.date()), encoding="utf-8")
    lines = read_spend(spend)
    with installation.database.transaction() as connection:
        save_spend(connection, lines)


def _settings(settings: Settings, *, smtp_port: int, public_port: int) -> Settings:
    """The skeleton's settings, on this machine's free ports."""
    public = f"127.0.0.1:{public_port}"
    smtp = {name: each.model_copy(update={"port": smtp_port}) for name, each in settings.smtp.items()}
    workspace = settings.workspace.model_copy(update={"public_url": f"http://{public}"})
    web = settings.web.model_copy(update={"public": public})
    return settings.model_copy(update={"smtp": smtp, "workspace": workspace, "web": web})


def _monday_morning(moment: datetime, zone: ZoneInfo) -> datetime:
    day = moment.astimezone(zone).date()
    return datetime.combine(day - timedelta(days=day.weekday()), time(8), tzinfo=zone).astimezone(UTC)


def _free_port(wanted: int) -> int:
    """That port of loopback, or any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return 0
