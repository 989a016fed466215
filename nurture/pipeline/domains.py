"""What recipient domains answer, and mail to them that waits: blocked senders, domains that are ill or gone (spec 6.2).

The rows are shared by all workers. Each looks at them whenever it claims or commits, and gives back what it holds for a
domain that refuses meanwhile. Replies are counted in memory and written now and then, and always before a domain is
judged, so that they cost nothing while nothing is refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from nurture.domain.domain_health import ANY_SENDER, JUDGED_BY, give_up_moved, is_ill, tried_at_once
from nurture.domain.message import MessageStatus, ReplyCause, ReplyClass
from nurture.pipeline.claimed import Claimed, Held
from nurture.store.bounces import hold_suspects
from nurture.store.domain_health import (
    DomainPause,
    Tally,
    begin_pause,
    count_replies,
    domain_pauses,
    end_pause,
    forget_replies,
    found_hosts,
    is_ill_now,
    is_trusted,
    lock_pauses,
    note_unknown_host,
    replies_of,
    sending_to,
    unknown_hosts,
)
from nurture.store.outbox import ClaimKey, Outcome

COUNT_EVERY = timedelta(seconds=10)
_ADDRESS = re.compile(r"[^\s<>()\[\]:;,]+@[^\s<>()\[\]:;,]+")
"""Left out of what is kept about a domain: it is no place to look for a person who was erased."""

log = structlog.get_logger()


@dataclass(kw_only=True)
class Gate:
    """Of the messages that may go: until when which wait for their domain, which stay due, and which try it."""

    barred: dict[int, DomainPause] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    trying: set[int] = field(default_factory=set)


class Domains:
    """As one worker sees them."""

    def __init__(self) -> None:
        self._pauses: Mapping[tuple[str, str], DomainPause] = {}
        self._trying: Mapping[tuple[str, str], int] = {}
        self._unknown: frozenset[str] = frozenset()
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._counted_at: datetime | None = None
        self._then: list[Callable[[], None]] = []
        self._has_changed = False
        self._refused_just_now: dict[tuple[str, str], DomainPause] = {}

    # --- before an attempt

    def look(self, connection: Connection, now: datetime) -> list[tuple[str, str]]:
        """Read what waits; returns the (domain, sender) pairs that are being tried, so that no more may be claimed."""
        self._read(connection)
        over = [pause for pause in self._pauses.values() if pause.until <= now]
        self._trying = {}
        if over:
            lock_pauses(connection, over)
            self._read(connection)  # who held the lock may have let one of them wait for longer
            over = [pause for pause in self._pauses.values() if pause.until <= now]
            under_way = sending_to(connection, {pause.domain for pause in over})
            self._trying = {(each.domain, each.sender): under_way[(each.domain, each.sender)] for each in over}
        return sorted(pair for pair, count in self._trying.items() if count >= tried_at_once(pair[1]))

    def look_again(self, connection: Connection) -> None:
        """Read what other workers were told meanwhile."""
        self._read(connection)

    def _read(self, connection: Connection) -> None:
        self._pauses = {(each.domain, each.sender): each for each in domain_pauses(connection)}
        self._unknown = unknown_hosts(connection)

    def gate(self, rows: Sequence[Any], now: datetime) -> Gate:
        """After `look`, in the same transaction."""
        gate, trying = Gate(), dict(self._trying)
        for row in rows if self._pauses else ():
            pauses = self._of(row)
            waiting = [pause for pause in pauses if pause.until > now]
            if waiting:
                gate.barred[row.id] = max(waiting, key=lambda pause: pause.until)
                continue
            pairs = [(pause.domain, pause.sender) for pause in pauses]
            if any(trying.get(pair, 0) >= tried_at_once(pair[1]) for pair in pairs):
                gate.left.add(row.id)
                continue
            for pair in pairs:
                trying[pair] = trying.get(pair, 0) + 1
            if pairs:
                gate.trying.add(row.id)
        return gate

    def closed_to(self, row: Any, now: datetime) -> DomainPause | None:
        """What began since the message was claimed."""
        just_now = self._refused_just_now.get((row.recipient_domain, row.sender))
        if just_now is not None or not self._pauses:
            return just_now
        return next((pause for pause in self._of(row) if pause.until > now), None)

    def _of(self, row: Any) -> list[DomainPause]:
        pairs = ((row.recipient_domain, ANY_SENDER), (row.recipient_domain, row.sender))
        return [self._pauses[pair] for pair in pairs if pair in self._pauses]

    def forget(self) -> None:
        """What was never committed: at the beginning of a pass the tables alone say who is closed."""
        self._refused_just_now.clear()

    # --- after it

    def note_block(self, row: Any, reply: str, now: datetime) -> None:
        """This worker says no more of this sender to this domain; what the others do follows from the commit."""
        pair = (row.recipient_domain, row.sender)
        self._refused_just_now[pair] = DomainPause(domain=pair[0], sender=pair[1], since=now, until=now, reply=reply)

    def judge(
        self,
        connection: Connection,
        outcomes: Sequence[Outcome],
        held: Held,
        now: datetime,
        again: Callable[[Claimed], datetime],
    ) -> list[Outcome]:
        """What the outcomes are, given what else their domains answered. May be asked twice, until `committed`."""
        self._then, self._has_changed = [], False
        answers = [(each, held[each.claim]) for each in outcomes if each.is_answer and each.claim in held]
        judged = {each.claim: each for each in outcomes}
        for outcome, claimed in answers:
            if outcome.cause is ReplyCause.HOST_UNKNOWN:
                judged[outcome.claim] = self._missed(connection, outcome, claimed, now, again)
        self._count(connection, [(judged[each.claim], claimed) for each, claimed in answers], now)
        self._believe_accepted(connection, answers)
        for domain in sorted({claimed.row.recipient_domain for each, claimed in answers if _is_hard(each)}):
            self._judge_domain(connection, domain, judged, answers, now)
        blocked = {
            (claimed.row.recipient_domain, claimed.row.sender): each.reply or ""
            for each, claimed in answers
            if each.reply_class == ReplyClass.BLOCK.value and each.cause is None
        }
        for (domain, sender), reply in sorted(blocked.items()):
            self._begin(connection, domain, sender, reply, now)
        for each, claimed in answers:
            if (claimed.row.recipient_domain, claimed.row.sender) in blocked and each.cause is None and _is_block(each):
                judged[each.claim] = replace(each, not_before=now)  # the next look says until when
        if self._has_changed:
            self._read(connection)
        begun = {pair: self._pauses[pair] for pair in blocked if pair in self._pauses}
        self._then.append(lambda: self._remember(begun, blocked))
        return [judged[each.claim] for each in outcomes]

    def _remember(self, begun: Mapping[tuple[str, str], DomainPause], pairs: Iterable[tuple[str, str]]) -> None:
        """A claim may have read the tables meanwhile, without what was not committed yet."""
        self._pauses = {**self._pauses, **begun}
        for pair in pairs:
            self._refused_just_now.pop(pair, None)

    def committed(self) -> None:
        """What was judged last is stored: tell of it."""
        for tell in self._then:
            tell()
        self._then = []

    @property
    def has_counts(self) -> bool:
        """Whether anything was counted that is not written."""
        return bool(self._tallies)

    def write_counts(self, connection: Connection, now: datetime) -> None:
        """What was counted and not written yet. At the end of a worker's life."""
        count_replies(connection, self._tallies, now=now)
        self._tallies.clear()

    # --- what was answered

    def _count(self, connection: Connection, answers: Sequence[tuple[Outcome, Claimed]], now: datetime) -> None:
        tallies: dict[str, Tally] = defaultdict(Tally)
        for outcome, claimed in answers:
            tally = tallies[claimed.row.recipient_domain]
            tally.replies += 1
            tally.hard += _is_hard(outcome)
        self._counted_at = self._counted_at or now
        is_time = any(each.hard for each in tallies.values()) or now - self._counted_at >= COUNT_EVERY
        if not is_time:
            self._then.append(lambda: _add(self._tallies, tallies))
            return
        both: dict[str, Tally] = defaultdict(Tally)
        _add(both, self._tallies)
        _add(both, tallies)
        count_replies(connection, both, now=now)

        def start_anew() -> None:
            self._tallies.clear()
            self._counted_at = now

        self._then.append(start_anew)

    def _believe_accepted(self, connection: Connection, answers: Sequence[tuple[Outcome, Claimed]]) -> None:
        """Where a message that tried it was taken, the others go on; what is found is not lost."""
        taken = [claimed for outcome, claimed in answers if outcome.status is MessageStatus.SENT]
        found = sorted({claimed.row.recipient_domain for claimed in taken} & self._unknown)
        if found:
            found_hosts(connection, found)
            self._has_changed = True
        for row in (claimed.row for claimed in taken if claimed.is_trying):
            for sender in (ANY_SENDER, row.sender):
                if end_pause(connection, row.recipient_domain, sender):
                    if sender == ANY_SENDER:
                        forget_replies(connection, row.recipient_domain)
                    self._tell_end(row.recipient_domain, sender)

    def _missed(
        self,
        connection: Connection,
        outcome: Outcome,
        claimed: Claimed,
        now: datetime,
        again: Callable[[Claimed], datetime],
    ) -> Outcome:
        """The domain was not found: a reason to suppress anybody only once it has been so for days."""
        is_gone = note_unknown_host(connection, claimed.row.recipient_domain, now=now)
        self._has_changed = True
        if is_gone or outcome.status is not MessageStatus.BOUNCED:
            return outcome
        soft = ReplyClass.SOFT.value
        return replace(outcome, status=MessageStatus.DEFERRED, reply_class=soft, not_before=again(claimed))

    def _judge_domain(
        self,
        connection: Connection,
        domain: str,
        judged: dict[ClaimKey, Outcome],
        answers: Sequence[tuple[Outcome, Claimed]],
        now: datetime,
    ) -> None:
        """Where it is the domain that is ill its hard replies are held as suspect, these and those of the last hour."""
        these = [each for each, claimed in answers if claimed.row.recipient_domain == domain and _is_hard(each)]
        reply = these[-1].reply or ""
        if not is_ill_now(connection, domain):
            tally = replies_of(connection, domain, now=now)
            if not is_ill(replies=tally.replies, hard=tally.hard) or is_trusted(connection, domain, now=now):
                return
            reply = f"{tally.hard} of {tally.replies} replies within an hour; the last: {reply}"
            hold_suspects(connection, domain, since=now - JUDGED_BY, now=now)
        self._begin(connection, domain, ANY_SENDER, reply, now)
        for each in these:
            judged[each.claim] = replace(each, status=MessageStatus.DEFERRED, not_before=now)

    # --- pauses

    def _begin(self, connection: Connection, domain: str, sender: str, reply: str, now: datetime) -> None:
        begun = begin_pause(connection, domain, sender, reply=_ADDRESS.sub("…", reply), now=now)
        if begun is None:
            return
        self._has_changed = True
        by_sender = "" if sender == ANY_SENDER else f" --sender {sender}"

        def tell() -> None:
            log.warning(
                "domain_ill" if sender == ANY_SENDER else "sender_blocked",
                domain=domain,
                **({} if sender == ANY_SENDER else {"sender": sender}),
                until=begun.until.isoformat(),
                cure=f"nurture pause shows why; nurture resume --domain {domain}{by_sender}",
            )

        self._then.append(tell)

    def _tell_end(self, domain: str, sender: str) -> None:
        self._has_changed = True
        self._then.append(lambda: log.info("domain_takes_mail_again", domain=domain, sender=sender or None))


def held_by(pause: DomainPause, row: Any, expires_at: datetime | None) -> tuple[datetime, datetime | None]:
    """When a message that waits for its domain is looked at again, and when it is given up."""
    until = pause.until if expires_at is None else min(pause.until, expires_at)
    if row.give_up_at is None:
        return until, None
    return until, give_up_moved(row.give_up_at, due_at=row.not_before, until=until, since=pause.since)


def _is_hard(outcome: Outcome) -> bool:
    """That a domain is not found is said of the domain, which is not ill for it."""
    return outcome.status is MessageStatus.BOUNCED and outcome.cause is None


def _is_block(outcome: Outcome) -> bool:
    return outcome.reply_class == ReplyClass.BLOCK.value


def _add(to: dict[str, Tally], more: Mapping[str, Tally]) -> None:
    for domain, tally in more.items():
        to[domain].replies += tally.replies
        to[domain].hard += tally.hard
