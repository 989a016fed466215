"""Every benchmark, one after the other, each in a process of its own, and their table in docs/performance.md.

`make bench` runs them at the sizes that fit into half an hour on two cores. `--quick` tries every one of them at sizes
that say nothing about speed, and leaves the page alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from bench.machine import tool, versions
from bench.rows import Row, read_rows, said

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
HEADINGS = ("work", "limit or peer", "nurture", "ratio", "goal", "how")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A module of bench/ with what it is given in full, and to try it; `needs` names programs of others."""

    module: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.module}-postgresql" if "--postgresql" in self.full else self.module


FEW_LETTERS = ("--messages", "40", "--plain", "10", "--rounds", "1")
BENCHMARKS = (
    Benchmark(module="send", quick=FEW_LETTERS, needs=("smtp-sink", "smtp-source")),
    Benchmark(module="send_far", quick=FEW_LETTERS, needs=("smtp-sink",)),
    Benchmark(module="memory", quick=("--leads", "20", "200", "--sent", "20"), needs=("smtp-sink",)),
    Benchmark(module="due", full=("100000", "1000000"), quick=("1000", "2000")),
    Benchmark(module="due", full=("100000", "1000000", "--postgresql"), quick=("1000", "2000", "--postgresql")),
    Benchmark(module="segments", full=("1000000",), quick=("100",)),
    Benchmark(
        module="recording",
        quick=("--letters", "20", "--clients", "2", "--seconds", "1", "--rounds", "1", "--cold"),
        needs=("wrk",),
    ),
    Benchmark(module="import_rows", full=("100000", "1000000"), quick=("50", "500")),
    Benchmark(module="workers", quick=("--workers", "2", "--messages", "40", "--rounds", "1"), needs=("smtp-sink",)),
    Benchmark(module="compose", quick=("--letters", "20")),
)


def run(benchmark: Benchmark, *, quick: bool) -> list[Row]:
    """Shows what it prints: at once, or when it is done, where several run beside each other. Ends where it fails."""
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder:
        file = Path(folder) / "rows.json"
        given = benchmark.quick if quick else benchmark.full
        command = [sys.executable, "-m", f"bench.{benchmark.module}", *given, "--rows", str(file)]
        if not quick:
            print(f"\n{benchmark.name}", flush=True)
        done = subprocess.run(command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE if quick else None)
        if quick:
            print(f"\n{benchmark.name}\n{done.stdout}", end="", flush=True)
        if done.returncode:
            sys.exit(f"bench.{benchmark.module} failed: its message is above")
        return read_rows(file)


def run_all(benchmarks: Sequence[Benchmark], *, quick: bool) -> list[Row]:
    """One after the other, or as many at once as there are cores where no time is measured."""
    with ThreadPoolExecutor(os.cpu_count() if quick else 1) as pool:
        return [row for rows in pool.map(partial(run, quick=quick), benchmarks) for row in rows]


def section(rows: Sequence[Row], *, machine: Sequence[str], on: date) -> str:
    """The table with its date and machine, as Markdown."""
    lines = [f"Measured on {on.isoformat()}:", "", *(f"- {line}" for line in machine), ""]
    lines += [_cells(HEADINGS), _cells(["---"] * len(HEADINGS)), *(_cells(_row(row)) for row in rows)]
    return "\n".join(lines)


def _row(row: Row) -> tuple[str, ...]:
    spread = f" ({said(min(row.ratios))}–{said(max(row.ratios))})" if len(row.ratios) > 1 else ""
    goal = "" if row.goal is None else f"{row.goal}: {'met' if row.goal.met_by(row.ratio) else '**not met**'}"
    return row.work, row.limit, row.result, f"{said(row.ratio)}{spread}", goal, row.note


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_section(page: str, made: str) -> str:
    """The page with another table between its two marks; what people wrote around it stays."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{PAGE.name}: its two marks are gone: put back '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    names = [each.name for each in BENCHMARKS]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"only these, and no page: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="try them at tiny sizes; no page is written")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(names))
    if unknown:
        parser.error(f"no benchmark '{unknown[0]}': there are {', '.join(names)}")
    wanted = [each for each in BENCHMARKS if not options.only or each.name in options.only]
    for program in sorted({program for each in wanted for program in each.needs}):
        tool(program)  # said now, and not after a quarter of an hour
    began = time.monotonic()
    machine = versions()
    print(*machine, sep="\n", flush=True)
    rows = run_all(wanted, quick=options.quick)
    made = section(rows, machine=machine, on=datetime.now(UTC).date())  # noqa: TID251  a page has a date
    print(f"\n{made}\n\ntook {time.monotonic() - began:.0f} s")
    if not options.quick and not options.only:
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
