"""Several runs over one ground, each with other luck: from leads to findings."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from zoneinfo import ZoneInfo

from nurture.authoring.workspace import Workspace
from nurture.domain.problem import Problem
from nurture.domain.timing import from_local
from nurture.inbound.csv_import import ImportReport, ImportRequest, import_leads
from nurture.rehearsal.behaviour import AverageReaders, Readers
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.findings import Findings, RunFindings, read_run
from nurture.rehearsal.ground import Ground, copy_workspace, count_leads, ground
from nurture.rehearsal.next_hop import SimulatedHop
from nurture.rehearsal.simulation import Stages, World, play
from nurture.store.database import Database

NO_LIMIT = 1_000_000_000
LISTEN_EVERY_S = 0.2
Progress = Callable[[float], None]
"""Told how many days are done, of all runs together."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to simulate: so many days from a midnight on, so many times. `leads`: a list instead of the database."""

    first_day: date
    days: int
    runs: int
    seed: int
    leads: ImportRequest | None = None


@dataclass(frozen=True, kw_only=True)
class Cast:
    """What the stages of one run work with."""

    workspace: Workspace
    database: Database
    clock: VirtualClock
    seed: str
    hops: Sequence[SimulatedHop]


MakeStages = Callable[[Cast], Stages]
MakeReaders = Callable[[str], Readers]


def simulate(
    workspace: Workspace,
    asked: Asked,
    *,
    make_stages: MakeStages,
    make_readers: MakeReaders = AverageReaders,
    progress: Progress = lambda _days: None,
) -> Findings:
    """Play all runs, each with a seed of its own, on as many processors as there are.

    What is handed in goes to other processes, but for `progress`. Raises Problem where there is nobody to write to.
    """
    plan = _Plan(workspace, asked, make_stages, make_readers)
    with ground() as place:
        with place.base() as base:
            plan.fill(base)
            leads = count_leads(base)
        runs = _play_all(plan, place, progress)
    return Findings(seed=asked.seed, first_day=asked.first_day, days=asked.days, zone=plan.zone, leads=leads, runs=runs)


class _Plan:
    """What all runs have in common."""

    def __init__(self, workspace: Workspace, asked: Asked, make_stages: MakeStages, make_readers: MakeReaders) -> None:
        self._files = _rehearsed(workspace)
        self.asked = asked
        self._make_stages = make_stages
        self._make_readers = make_readers
        self.zone = ZoneInfo(workspace.settings.workspace.timezone)
        self._begins = from_local(asked.first_day, time(0), self.zone)
        self._ends = from_local(asked.first_day + timedelta(days=asked.days), time(0), self.zone)

    def play(self, place: Ground, number: int, progress: Progress) -> RunFindings:
        """One run, on its own copy."""
        seed = f"{self.asked.seed}:{number + 1}"
        readers = self._make_readers(seed)
        clock = VirtualClock(self._begins)
        hops = [SimulatedHop(name, clock=clock, is_dead=readers.is_dead) for name in self._files.settings.servers]
        with place.copy(f"run{number + 1}") as database:
            cast = Cast(workspace=self._files, database=database, clock=clock, seed=seed, hops=hops)
            world = World(
                database=database,
                clock=clock,
                stages=self._make_stages(cast),
                hops=hops,
                readers=readers,
                settings=self._files.settings,
                cadences=self._files.cadences,
            )
            play(world, until=self._ends, progress=lambda now: progress((now - self._begins) / timedelta(days=1)))
            with database.reading() as connection:
                return read_run(connection, begins=self._begins, zone=self.zone)

    def fill(self, base: Database) -> None:
        """The leads: those of the list, or of the workspace's database."""
        if self.asked.leads is None:
            copy_workspace(self._files, base, begins=self._begins)
        else:
            self._take_in(base, self.asked.leads)

    def _take_in(self, base: Database, request: ImportRequest) -> None:
        """The list comes in once the cadences are in force, so that its leads are future ones.

        Cadences for current leads alone are left out here; a run takes them up, and finds these leads there.
        """
        others = {name: each for name, each in self._files.cadences.items() if each.enroll != "only_current"}
        files = replace(self._files, cadences=others)
        clock = VirtualClock(self._begins)
        hops = [SimulatedHop(name, clock=clock, is_dead=lambda _: True) for name in files.settings.servers]
        self._make_stages(Cast(workspace=files, database=base, clock=clock, seed="", hops=hops))
        report = import_leads(base, request, now=self._begins)
        if not report.valid:
            raise Problem(_says_why(request.path, report))


# --- runs side by side

_told: SimpleQueue[tuple[int, float]] | None = None
"""In a process that plays runs: where it tells how far they are."""


def _play_all(plan: _Plan, place: Ground, progress: Progress) -> tuple[RunFindings, ...]:
    done: dict[int, float] = {}

    def hear(number: int, days: float) -> None:
        done[number] = days
        progress(sum(done.values()))

    numbers = range(plan.asked.runs)
    workers = min(len(numbers), len(os.sched_getaffinity(0)))
    if workers == 1:
        return tuple(plan.play(place, number, partial(hear, number)) for number in numbers)
    context = get_context("spawn")
    told: SimpleQueue[tuple[int, float]] = context.SimpleQueue()
    others = set(active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_enter, initargs=(told,)) as pool:
        try:
            with _interruptions_held():
                playing = [pool.submit(_play_apart, plan, place, number) for number in numbers]
            return _await(playing, told, hear)
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()
            raise


def _await(
    playing: Sequence[Future[RunFindings]], told: SimpleQueue[tuple[int, float]], hear: Callable[[int, float], None]
) -> tuple[RunFindings, ...]:
    """What came of all of them, or what the first that failed raises."""
    while wait(playing, timeout=LISTEN_EVERY_S, return_when=FIRST_EXCEPTION).not_done:
        while not told.empty():
            hear(*told.get())
        for each in playing:
            if each.done():
                each.result()
    return tuple(each.result() for each in playing)


@contextmanager
def _interruptions_held() -> Iterator[None]:
    """Processes begun meanwhile never hear Ctrl-C, or each would say so: whoever began them hears it and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _enter(told: SimpleQueue[tuple[int, float]]) -> None:
    global _told  # a process is handed its queue when it starts, and never again
    _told = told


def _play_apart(plan: _Plan, place: Ground, number: int) -> RunFindings:
    told, whole = _told, -1

    def tell(days: float) -> None:
        nonlocal whole
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)  # killed, it can't end this process; and the pool would wait for another run for ever
        if told is not None and int(days) > whole:
            whole = int(days)
            told.put((number, days))

    return plan.play(place, number, tell)


def _rehearsed(workspace: Workspace) -> Workspace:
    """Keys are secrets, and a rehearsal needs none; and nobody is there to release a change that enrolls many."""
    limits = workspace.settings.limits.model_copy(update={"enroll_at_once": NO_LIMIT})
    return replace(workspace, settings=workspace.settings.model_copy(update={"dkim": {}, "limits": limits}))


def _says_why(path: Path, report: ImportReport) -> str:
    if not report.rows:
        return f"{path}: there is no row below its header"
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(report.rejected.items()))
    cure = "; name the column of their consent with --map, or say what all agreed to with --consent-text"
    asking = cure if set(report.rejected) == {"no_consent"} else ""
    return f"{path}: none of its {report.rows} rows is a lead that may be written to ({why}){asking}"


def next_midnight(now: datetime, zone: ZoneInfo) -> date:
    """The day that begins next in this zone."""
    return now.astimezone(zone).date() + timedelta(days=1)
