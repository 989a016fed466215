"""What one process counts of its own work. It forgets when it ends; what must be kept is in the rows.

Plain numbers under one lock: a count costs less than a microsecond, against the millisecond that a message may cost.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from nurture.domain.message import MessageStatus, ReplyClass

OUTCOMES = (
    MessageStatus.SENT,
    MessageStatus.BOUNCED,
    MessageStatus.DEFERRED,
    MessageStatus.FAILED,
    MessageStatus.CANCELED,
    MessageStatus.UNKNOWN,
)
STAGE_BOUNDS_S = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0)
COMMIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
"""The last is half of what the promise allows between a commit's beginning and the dot (`attempt.DOT_WITHIN_S`)."""


@dataclass
class Durations:
    """How long something took: how often up to each of `bounds` (the last count is of what took longer), and in all."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    sum_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds

    def copy(self) -> Durations:
        return Durations(self.bounds, list(self.counts), self.sum_s)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """All of them at one moment."""

    outcomes: Mapping[str, int]
    replies: Mapping[str, int]
    render_errors: int
    marks: int
    marks_refused: int
    outcomes_written: int
    outcomes_lost: int
    commits: Durations
    commit_failures: int
    leases_ended: Mapping[str, int]
    stages: Mapping[str, Durations]
    stage_failures: Mapping[str, int]


class Counters:
    """Told by the stages in the words of what happened; read by whoever shows it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter({status.value: 0 for status in OUTCOMES})
        self._replies: Counter[str] = Counter({klass.value: 0 for klass in ReplyClass})
        self._leases_ended: Counter[str] = Counter({"deferred": 0, "unknown": 0})
        self._commits = Durations(COMMIT_BOUNDS_S)
        self._numbers: Counter[str] = Counter()
        self._stages: dict[str, Durations] = {}
        self._stage_failures: Counter[str] = Counter()

    def decided(self, statuses: Mapping[str, int]) -> None:
        """So many messages came to these ends, or were deferred."""
        with self._lock:
            self._outcomes.update(statuses)

    def replied(self, klass: ReplyClass) -> None:
        """A server answered for one message: at its recipient, its body, or its end."""
        with self._lock:
            self._replies[klass] += 1

    def render_failed(self) -> None:
        with self._lock:
            self._numbers["render_errors"] += 1

    def committed(self, seconds: float, *, marks: int, refused: int, outcomes: int, lost: int) -> None:
        """One group commit: of its marks so many were refused by the guard, of its outcomes so many lost to another."""
        with self._lock:
            self._commits.add(seconds)
            self._numbers["marks"] += marks - refused
            self._numbers["marks_refused"] += refused
            self._numbers["outcomes_written"] += outcomes - lost
            self._numbers["outcomes_lost"] += lost

    def commit_failed(self) -> None:
        with self._lock:
            self._numbers["commit_failures"] += 1

    def leases_ended(self, *, deferred: int, unknown: int) -> None:
        """Messages that another worker left: tried again, or listed for a person."""
        with self._lock:
            self._leases_ended.update(deferred=deferred, unknown=unknown)

    @contextmanager
    def passing(self, stage: str) -> Iterator[None]:
        """One pass of a stage, for as long as the block runs."""
        began = time.monotonic()
        failed = 1
        try:
            yield
            failed = 0
        finally:
            seconds = time.monotonic() - began
            with self._lock:
                self._stages.setdefault(stage, Durations(STAGE_BOUNDS_S)).add(seconds)
                self._stage_failures[stage] += failed

    def read(self) -> Counts:
        with self._lock:
            return Counts(
                outcomes=dict(self._outcomes),
                replies=dict(self._replies),
                render_errors=self._numbers["render_errors"],
                marks=self._numbers["marks"],
                marks_refused=self._numbers["marks_refused"],
                outcomes_written=self._numbers["outcomes_written"],
                outcomes_lost=self._numbers["outcomes_lost"],
                commits=self._commits.copy(),
                commit_failures=self._numbers["commit_failures"],
                leases_ended=dict(self._leases_ended),
                stages={stage: durations.copy() for stage, durations in self._stages.items()},
                stage_failures=dict(self._stage_failures),
            )
