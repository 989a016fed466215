"""`nurture run`: the daemon, or everything that is due now and out again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nurture.authoring.check import load_sound_workspace
from nurture.bootstrap import (
    build_engine,
    build_private_server,
    build_public_server,
    build_stages,
    hold_lock,
    open_installation,
)
from nurture.cli.output import AsJson, WorkspaceDir, print_json, print_table
from nurture.daemon import Role, run_daemon
from nurture.engines.stages import PassReport, Stages
from nurture.logs import prepare_logging
from nurture.pipeline.counters import Counters

T = TypeVar("T")


def run(
    once: Annotated[bool, typer.Option("--once", help="Do all that is due now and exit.")] = False,
    only: Annotated[Role | None, typer.Option(help="web: the listeners alone; work: the stages alone.")] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Run the daemon until SIGTERM, or with --once do all that is due now."""
    if once and only == "web":
        raise typer.BadParameter("--once runs the stages; it does not go with --only web")
    prepare_logging()
    files = load_sound_workspace(workspace)
    installation = open_installation(workspace)
    with hold_lock(installation) as alone:
        if once:
            stages = build_stages(installation, files, sole_worker=alone)
            _print(_in_a_loop(_once(stages)), as_json=as_json)
            return
        counters = Counters()
        private = build_private_server(installation, files, counters)
        public = build_public_server(installation, files) if only != "work" else None
        working = build_stages(installation, files, sole_worker=alone, counters=counters) if only != "web" else None

        def announce() -> None:
            pages = f", public pages at http://{public.address}" if public else ""
            typer.echo(f"nurture: running{pages}, metrics at http://{private.address}/metrics", err=True)

        engine_of = partial(build_engine, installation)
        servers = [private, public] if public else [private]
        _in_a_loop(run_daemon(root=workspace, stages=working, engine_of=engine_of, servers=servers, announce=announce))


def _in_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """On uvloop where it runs: the benchmarks send on it, so the daemon does."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


async def _once(stages: Stages) -> PassReport:
    try:
        return await stages.once()
    finally:
        await stages.deliverer.close()


def _print(report: PassReport, *, as_json: bool) -> None:
    if as_json:
        print_json(vars(report))
    else:
        print_table([vars(report)])
