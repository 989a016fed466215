"""What a rep has to do from a `task` step, and how it ends."""

from __future__ import annotations

from enum import StrEnum


class TaskOutcome(StrEnum):
    """How a rep closes a task; the row's status holds it (`open` until then)."""

    DONE = "done"
    NO_ANSWER = "no answer"
    WRONG_NUMBER = "wrong number"
    SKIPPED = "skipped"


OPEN = "open"
CANCELED = "canceled"
"""Its lead was erased, or its enrollment ended and nobody needs it any more."""
