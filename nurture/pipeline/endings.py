"""How an attempt ended, as an outcome, and the commit of outcomes with what follows from them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from nurture.delivery.replies import Reply
from nurture.domain.backoff import next_attempt
from nurture.domain.message import MessageStatus, ReplyCause, ReplyClass
from nurture.domain.reasons import Reason
from nurture.pipeline.claimed import Claimed, Held, decision
from nurture.pipeline.counters import Counters
from nurture.pipeline.domains import Domains
from nurture.store.bounces import record_bounces
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.outbox import Outcome, record_outcomes

_ENDS = {ReplyClass.ACCEPTED: MessageStatus.SENT, ReplyClass.HARD: MessageStatus.BOUNCED}

log = structlog.get_logger()


class Endings:
    """The outcomes of one worker's attempts."""

    def __init__(
        self, *, clock: Callable[[], datetime], rng: random.Random, domains: Domains, counters: Counters
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._domains = domains
        self._counters = counters

    def answered(self, claimed: Claimed, reply: Reply) -> Outcome:
        """What a server said of this message alone; `Domains` may see in it what it says of all."""
        self._counters.replied(reply.klass)
        end = _ENDS.get(reply.klass)
        if end is not None:
            return _outcome(claimed, end, reply.text, klass=reply.klass, cause=reply.cause, is_answer=True)
        if reply.klass is ReplyClass.BLOCK and reply.cause is None:
            self._domains.note_block(claimed.row, reply.text, self._clock())
        outcome = self.deferred(claimed, reply.text, klass=reply.klass)
        return replace(outcome, cause=reply.cause, is_answer=True)

    def deferred(
        self, claimed: Claimed, text: str, *, klass: ReplyClass = ReplyClass.SOFT, until: datetime | None = None
    ) -> Outcome:
        """Tried again: after a back-off, or from `until` on where no attempt came to be spoken."""
        outcome = _outcome(claimed, MessageStatus.DEFERRED, text, klass=klass)
        return replace(outcome, not_before=until or self.again(claimed), is_counted=until is None)

    def again(self, claimed: Claimed) -> datetime:
        """When the next attempt is."""
        return next_attempt(self._clock(), attempt=claimed.row.attempt + 1, chance=self._rng.random())

    def given_back(self, claimed: Claimed, why: str) -> Outcome:
        """No attempt was made; whoever claims it next decides anew."""
        outcome = _outcome(claimed, MessageStatus.DEFERRED, why, klass=ReplyClass.SOFT)
        return replace(outcome, is_counted=False)

    def failed(self, claimed: Claimed, why: str) -> Outcome:
        """No attempt will bring it there."""
        return _outcome(claimed, MessageStatus.FAILED, why)

    def unwritten(self, claimed: Claimed, why: str) -> Outcome:
        """Its letter can't be written."""
        self._counters.render_failed()
        return self.failed(claimed, why)

    def unknown(self, claimed: Claimed, why: str) -> Outcome:
        """Its end was written, and nobody knows what became of it."""
        return _outcome(claimed, MessageStatus.UNKNOWN, why)

    def tripped(self, claimed: Claimed, error: Exception) -> Outcome:
        """A message that trips over a mistake of ours must not keep the others from going."""
        log.error("attempt_failed", message=claimed.row.id, exc_info=error)
        return self.deferred(claimed, f"a mistake inside nurture: {type(error).__name__}")

    def record(
        self, connection: Connection, outcomes: list[Outcome], now: datetime, *, held: Held, owner: str
    ) -> list[Outcome]:
        """Those that were written, with all that follows from them; the transaction may fail and be tried again."""
        judged = self._domains.judge(connection, outcomes, held, now, self.again)
        written = record_outcomes(connection, judged, owner=owner, now=now)
        record_decisions(connection, _told_of(written, held, now))
        record_bounces(connection, _bounced_of(written, held), now=now)
        return written


def _outcome(
    claimed: Claimed,
    status: MessageStatus,
    text: str,
    *,
    klass: ReplyClass | None = None,
    cause: ReplyCause | None = None,
    is_answer: bool = False,
) -> Outcome:
    return Outcome(
        message_row=claimed.row.id,
        epoch=claimed.epoch,
        status=status,
        reply_class=klass.value if klass is not None else None,
        reply=text,
        cause=cause,
        is_answer=is_answer,
    )


def _told_of(outcomes: Iterable[Outcome], held: Held, now: datetime) -> list[NewDecision]:
    """The decisions to record for outcomes that are written."""
    decisions: list[NewDecision] = []
    for outcome in outcomes:
        claimed = held.get(outcome.claim)
        if claimed is None or outcome.is_given_back:
            continue
        detail: dict[str, Any] = {"reply": outcome.reply} if outcome.reply else {}
        if outcome.status is MessageStatus.FAILED:
            detail = {"why": outcome.reply}
        if outcome.not_before is not None and outcome.not_before > now:
            detail["until"] = outcome.not_before.isoformat()
        decisions += decision(claimed.row, Reason(outcome.status.value), now, detail)
    return decisions


def _bounced_of(outcomes: Iterable[Outcome], held: Held) -> list[tuple[Any, str, ReplyCause | None]]:
    """(message row, reply, what it was about) of those that bounced."""
    return [
        (held[each.claim].row, each.reply or "", each.cause)
        for each in outcomes
        if each.status is MessageStatus.BOUNCED and each.claim in held and not each.is_forgotten
    ]
