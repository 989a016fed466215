"""A million lead-days through the real stages, with the promises checked after each day: `make soak`.

Usage: python -m soak [--leads 20000] [--days 60] [--seed 1] [--step-minutes 60]

A small company's cadences (soak/cadences) run on a clock moved by hand, over SQLite and an in-memory next hop that
keeps what it accepts. Leads in many zones click, reply, unsubscribe, bounce, buy and change their dates; files are
edited, cadences paused and let go. After each day every message of that day is looked at by rules that share no code
with the engine (soak/promises.py). The same seed gives the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_stages, open_installation
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.transport import InMemoryServer
from soak.company import edited, make_workspace, populate
from soak.life import a_day_of_life
from soak.promises import Promises

BEGINS = datetime(2026, 10, 19, 0, 0, tzinfo=UTC)
"""A Monday; summer time ends in Europe and America within the first two weeks."""


CONNECTIONS = 32
"""Of the next hop; those that send at the same time share their commits."""


async def soak(*, leads: int, days: int, seed: int, step: timedelta) -> int:
    """Returns how many promises were broken."""
    rng, clock = random.Random(seed), VirtualClock(BEGINS)
    with tempfile.TemporaryDirectory(prefix="nurture-soak-") as folder:
        root = make_workspace(Path(folder))
        installation = open_installation(root).at(clock=clock, rng=random.Random(seed))
        workspace = load_workspace(root)
        hop = InMemoryServer("primary", clock=clock)
        hop.address = replace(hop.address, connections=CONNECTIONS)
        stages = build_stages(installation, workspace, sole_worker=True, servers={"primary": hop})
        promises = Promises(installation.database, hop)
        populate(installation.database, leads=leads, rng=rng, now=clock())
        started, totals = time.monotonic(), Counter[str]()
        for day in range(days):
            happenings = a_day_of_life(installation.database, rng=rng, begins=clock(), day=day)
            end = clock() + timedelta(days=1)
            while clock() < end:
                clock.advance(step)
                for happening in happenings.until(clock()):
                    with installation.database.transaction() as connection:
                        happening(connection, clock())
                report = await stages.once()
                totals.update({name: value for name, value in vars(report).items() if isinstance(value, int)})
            broken = promises.broken_by(clock())
            if edited(root, day):
                stages.use(load_workspace(root))
            _tell(day, days, leads, totals, promises, started)
            if broken:
                print(*broken[:20], sep="\n", file=sys.stderr)
                return len(broken)
        installation.database.close()
    print(promises.summary(lead_days=leads * days, seed=seed, seconds=time.monotonic() - started))
    return 0


def _tell(day: int, days: int, leads: int, totals: Counter[str], promises: Promises, started: float) -> None:
    done = f"{leads * (day + 1):,} lead-days, {totals['sent']:,} sent, {promises.looked_at:,} checked"
    print(f"day {day + 1}/{days}: {done}, {time.monotonic() - started:.0f} s", file=sys.stderr)


def main() -> None:
    """Exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m soak")
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step-minutes", type=int, default=60)
    given = parser.parse_args()
    step = timedelta(minutes=given.step_minutes)
    broken = asyncio.run(soak(leads=given.leads, days=given.days, seed=given.seed, step=step))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
