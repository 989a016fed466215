"""A workspace as a user brings it, on a clock moved by hand, with a real SMTP server process behind it."""

from __future__ import annotations

import asyncio
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nurture.authoring.workspace import Workspace, load_workspace
from nurture.bootstrap import Installation, build_stages, open_installation
from nurture.engines.stages import PassReport, Stages
from nurture.rehearsal.clock import VirtualClock
from tests.conftest import DATA
from tests.migrated import SQLITE, put_database

SECRET = "a secret for tests alone"


def copy_acceptance(target: Path, *, smtp_port: int, database_url: str | None = None) -> Path:
    """The acceptance workspace, unchanged but for where its servers are."""
    shutil.copytree(DATA / "acceptance", target)
    config = target / "config.toml"
    text = config.read_text().replace("port = 2525", f"port = {smtp_port}")
    if database_url is not None:
        text = text.replace("sqlite:///nurture.db", database_url)
    config.write_text(text)
    return target


@dataclass
class Running:
    """An installation with its stages, driven by hand."""

    installation: Installation
    workspace: Workspace
    stages: Stages
    clock: VirtualClock

    def once(self) -> PassReport:
        async def one_pass() -> PassReport:
            try:
                return await self.stages.once()
            finally:
                await self.stages.deliverer.close()

        # in a thread of its own: a browser test of the same process may have a loop running in this one
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(one_pass())).result()

    def advance(self, **length: float) -> PassReport:
        self.clock.advance(timedelta(**length))
        return self.once()


def start(root: Path, *, at: datetime, seed: int = 1) -> Running:
    clock = VirtualClock(at)
    if f'"{SQLITE}"' in (root / "config.toml").read_text():
        put_database(root)
    installation = open_installation(root).at(clock=clock, rng=random.Random(seed))
    workspace = load_workspace(root)
    stages = build_stages(installation, workspace, sole_worker=True)
    return Running(installation, workspace, stages, clock)
