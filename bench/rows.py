"""What a benchmark found, as a row of the table in docs/performance.md, and the options that all of them share.

Each benchmark is a command of its own: it prints its lines, and with `--rows FILE` leaves its rows there as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the ratio ought to be: at least so much, or at most."""

    bound: float
    at_least: bool

    def met_by(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:.4g}"


def at_least(bound: float) -> Goal:
    return Goal(bound=bound, at_least=True)


def at_most(bound: float) -> Goal:
    return Goal(bound=bound, at_least=False)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`limit` and `result` are measured in the same run; `ratios` are those of its rounds, of which the median counts.

    Without a goal a row is there to compare with.
    """

    work: str
    limit: str
    result: str
    ratios: tuple[float, ...]
    goal: Goal | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def __str__(self) -> str:
        spread = f" ({said(min(self.ratios))} to {said(max(self.ratios))})" if len(self.ratios) > 1 else ""
        line = f"{self.work}: {self.result}; {self.limit}; ratio {said(self.ratio)}{spread}"
        if self.goal is not None:
            line += f", goal {self.goal}, {'met' if self.goal.met_by(self.ratio) else 'not met'}"
        return line + (f" [{self.note}]" if self.note else "")


def said(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def by_rounds(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """The ratio of each round: both were measured in it, one after the other."""
    return tuple(mine / other for mine, other in zip(ours, theirs, strict=True))


def a_second(rates: Sequence[float], what: str = "messages") -> str:
    return f"{statistics.median(rates):,.0f} {what}/s"


def options_of(module_doc: str | None, name: str) -> argparse.ArgumentParser:
    """A parser whose `--help` says what is measured."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=module_doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, metavar="FILE", help="leave the rows of the table here as well (JSON)")
    return parser


def tell(rows: Sequence[Row], file: Path | None) -> None:
    """Print them, and leave them where they were asked for."""
    for row in rows:
        print(row, flush=True)
    if file is not None:
        file.write_text(json.dumps([asdict(row) for row in rows], ensure_ascii=False), encoding="utf-8")


def read_rows(file: Path) -> list[Row]:
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [
        Row(**row | {"ratios": tuple(row["ratios"]), "goal": Goal(**row["goal"]) if row["goal"] else None})
        for row in rows
    ]
