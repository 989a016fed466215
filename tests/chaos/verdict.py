"""What came of a run, and the table that tells it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.chaos.faults import WHAT

Name = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Died:
    """A worker that was running, and ended by itself."""

    after: str
    told: str


@dataclass(kw_only=True)
class Verdict:
    """Every list but `missed` is a promise broken.

    `lost`: said to be sent, and never received. `untold`: received, and said to be something else than sent or unknown.
    `after_leaving`: marked to be sent after the reader had unsubscribed. `stuck`: workers that did not send again.
    """

    database: str
    seed: int
    lacking: str
    took_s: float
    faults: Counter[Name]
    missed: Counter[Name]
    """Drawn, but never come to."""
    recovery_s: dict[Name, float]
    """The longest that it took until everybody who lives sent again."""
    statuses: Counter[str]
    received: int
    twice: list[str]
    lost: list[str]
    untold: list[str]
    after_leaving: list[str]
    undecided: list[str]
    died: list[Died]
    stuck: list[str]

    @property
    def broken(self) -> dict[str, int]:
        """The promises that were, and how often."""
        return {name: count for name, count in self.promises.items() if count}

    @property
    def promises(self) -> dict[str, int]:
        return {
            "twice": len(self.twice),
            "lost": len(self.lost),
            "untold": len(self.untold),
            "after leaving": len(self.after_leaving),
            "undecided": len(self.undecided),
            "died": len(self.died),
            "stuck": len(self.stuck),
        }

    @property
    def table(self) -> str:
        """In Markdown, as docs/explanation/promise.md shows it."""
        lines = [
            f"{self.database}, seed {self.seed}: {sum(self.faults.values())} faults in {self.took_s:.0f} s.",
            *([f"{self.lacking}."] if self.lacking else []),
            "",
            "| fault | where | times | longest until everybody sent again, s |",
            "| --- | --- | --- | --- |",
        ]
        for kind, what in WHAT.items():
            for name in sorted(each for each in self.faults if each[0] == kind):
                took = self.recovery_s.get(name)
                lines.append(f"| {what} | {name[1]} | {self.faults[name]} | {'' if took is None else f'{took:.1f}'} |")
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.statuses.items()))
        lines += [
            "",
            f"Messages {sum(self.statuses.values())}: {ends}; received {self.received}.",
            f"{', '.join(f'{name} {count}' for name, count in self.promises.items())}.",
        ]
        if self.missed:
            missed = ", ".join(" ".join(filter(None, name)) for name in sorted(self.missed))
            lines.append(f"Drawn but never come to: {sum(self.missed.values())} ({missed}).")
        return "\n".join(lines)
