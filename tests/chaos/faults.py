"""Which faults come, and in which order: drawn once, from a seed, before anything begins.

The same seed gives the same sequence. When exactly each strikes depends on processes, and no seed repeats that.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.mortal import POINTS
from tests.smtp_receiver import STAGES

AT_RANDOM = "any moment"
WEIGHTS = {
    "kill": 40,
    "point": 30,
    "freeze": 6,
    "links": 30,
    "stall": 16,
    "leave": 10,
    "edit": 4,
    "cut off": 16,
    "lock": 8,
    "restart": 10,
    "full": 8,
    "panic": 6,
    "clock": 6,
    "resend": 2,
}
"""What may happen, and how often beyond once each."""
KINDS = tuple(WEIGHTS)
PLACES: Mapping[str, Sequence[str]] = {
    "point": POINTS,
    "freeze": (AT_RANDOM, *POINTS),
    "stall": (*STAGES, "dotted:after"),
    "clock": ("ahead", "back"),
}
WHAT = {
    "kill": "SIGKILL at a random moment",
    "point": "SIGKILL at a commit point",
    "freeze": "SIGSTOP, leases taken over, SIGCONT",
    "links": "every SMTP link dropped",
    "stall": "the receiver stalls; a worker does, before its dot",
    "leave": "people unsubscribe",
    "edit": "the cadence is edited",
    "cut off": "database connections dropped; SQLite locked for a while",
    "lock": "SQLite locked for longer than anybody waits",
    "restart": "PostgreSQL stopped at once and started again",
    "full": "the database's disk is full",
    "panic": "the same, until PostgreSQL can't write its log and gives up",
    "clock": "a worker's clock jumps by an hour",
    "resend": "SIGSTOP before the dot, sent again by a person, SIGCONT",
}
OFTEN = ("dotted", "dot", "outcome")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One of them. `who` and `much` are between 0 and 1: which of the workers, and how long."""

    kind: str
    at: str = ""
    nth: int = 1
    who: float = 0.0
    much: float = 0.5

    @property
    def name(self) -> tuple[str, str]:
        return self.kind, self.at


def draw(*, count: int, seed: int, kinds: Collection[str], points: Collection[str] = POINTS) -> list[Fault]:
    """So many faults: each kind at each of its places once, if there are enough, and the rest by weight."""
    rng = random.Random(seed)
    places = {kind: [at for at in PLACES.get(kind, [""]) if at not in POINTS or at in points] for kind in kinds}
    weights = [WEIGHTS[kind] for kind in places]
    names = [(kind, at) for kind, ats in places.items() for at in ats]
    if len(names) > count:
        names = []
    while len(names) < count:
        kind = rng.choices(list(places), weights)[0]
        names.append((kind, rng.choice(places[kind])))
    rng.shuffle(names)
    return [
        Fault(
            kind=kind,
            at=at,
            nth=rng.randrange(1, 25 if at.partition(":")[0] in OFTEN else 3),
            who=rng.random(),
            much=rng.random(),
        )
        for kind, at in names
    ]
