"""The reason codes of decisions: one list, printed by `nurture why` and explained in the docs."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    ENROLLED = "enrolled"
    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    WAITING = "waiting"
    OUT_OF_WINDOW = "out_of_window"
    CAPPED = "capped"
    LIMITED = "limited"
    PAUSED = "paused"
    HELD = "held"
    SKIPPED_LATE = "skipped_late"
    SKIPPED_EXPIRED = "skipped_expired"
    SKIPPED_WHEN = "skipped_when"
    BRANCHED = "branched"
    EXITED = "exited"
    COMPLETED = "completed"
    HELD_OUT = "held_out"
    VARIANT = "variant"
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    ALERTED = "alerted"
    QUEUED = "queued"
    TAGGED = "tagged"
    NOTIFIED = "notified"
