"""Sends decided become intents, with their arms; a split's lots are drawn. One unique key a step and visit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from nurture.domain.cadence import Email, Split
from nurture.domain.message import MessageKind, MessageStatus
from nurture.pipeline.gathering import Gathering
from nurture.pipeline.walker import Walker
from nurture.store.enrollments import message_states
from nurture.store.experiments import arms_for, weights_of
from nurture.store.messages import NewMessage, queue_intents

Lot = tuple[str, float]
"""An arm, and the odds it was drawn at."""


def queue_mail(gathering: Gathering, sending: Sequence[tuple[Walker, Email]]) -> list[tuple[Walker, Email, Lot]]:
    """Commit the intents; returns those that are newly queued. A lead's second mail of one round is looked at again.

    The others went before, and an edit put their step ahead again: the next round goes on from what became of them.
    """
    free: list[tuple[Walker, Email]] = []
    taken: set[int] = set()
    for walker, step in sending:
        if walker.row.lead_id in taken and step.transactional is None:
            continue  # stays unsettled: the next round decides with this send counted
        taken.add(walker.row.lead_id)
        free.append((walker, step))
    lots = _arms(gathering, free)
    intents = [_intent(gathering, walker, step, lots[walker.row.id][0]) for walker, step in free]
    message_ids = queue_intents(gathering.connection, intents, now=gathering.now)
    gathering.states.update(message_states(gathering.connection, message_ids.values()))
    queued = []
    for (walker, step), intent in zip(free, intents, strict=True):
        walker.message_id = message_ids[intent.intent_key]
        if gathering.states[walker.message_id].status is MessageStatus.QUEUED:
            if step.transactional is None:
                gathering.sends.setdefault(walker.row.lead_id, []).append(gathering.now)
            queued.append((walker, step, lots[walker.row.id]))
    return queued


def draw_paths(gathering: Gathering, choosing: Sequence[tuple[Walker, Split]]) -> list[tuple[Walker, Split, Lot]]:
    """The path of each, drawn once and stored."""
    groups: dict[str, list[tuple[Walker, Split]]] = defaultdict(list)
    for walker, step in choosing:
        groups[f"{walker.cadence.name}/{step.key}"].append((walker, step))
    drawn = []
    for experiment, chosen in groups.items():
        split = chosen[0][1]
        lots = arms_for(
            gathering.connection,
            experiment,
            [walker.row.lead_id for walker, _ in chosen],
            tuple(split.paths),
            seed_key=gathering.rules.arm_key,
            now=gathering.now,
            weights=weights_of(split),
        )
        drawn += [(walker, step, lots[walker.row.lead_id]) for walker, step in chosen]
    return drawn


def _arms(gathering: Gathering, sending: Iterable[tuple[Walker, Email]]) -> dict[int, Lot]:
    """enrollment id -> its lot; a step without variants has the arm ""."""
    arms: dict[int, Lot] = {}
    groups: dict[tuple[str, tuple[str, ...]], list[Walker]] = defaultdict(list)
    for walker, step in sending:
        if len(step.arms) > 1:
            groups[(f"{walker.cadence.name}/{step.key}", step.arms)].append(walker)
        else:
            arms[walker.row.id] = (step.arms[0], 1.0)
    for (experiment, names), walkers in groups.items():
        assigned = arms_for(
            gathering.connection,
            experiment,
            [walker.row.lead_id for walker in walkers],
            names,
            seed_key=gathering.rules.arm_key,
            now=gathering.now,
        )
        arms.update({walker.row.id: assigned[walker.row.lead_id] for walker in walkers})
    return arms


def _intent(gathering: Gathering, walker: Walker, step: Email, arm: str) -> NewMessage:
    row = walker.row
    return NewMessage(
        intent_key=f"step:{row.id}:{step.key}:{walker.visit}",
        kind=MessageKind.STEP,
        to_address=f"{row.lead_email.rpartition('@')[0]}@{row.lead_email_domain}",
        sender=_sender(gathering, walker, step.sender_of(arm) or walker.cadence.sender),
        lead_id=row.lead_id,
        enrollment_id=row.id,
        cadence=walker.cadence.name,
        version=row.version,
        step=step.key,
        visit=walker.visit,
        variant=arm or None,
        transactional=step.transactional,
    )


def _sender(gathering: Gathering, walker: Walker, said: str) -> str:
    """`owner` is the sender of the lead's rep, and where there is none the workspace's."""
    if said != "owner":
        return said
    rules = gathering.rules
    return rules.rep_senders.get(walker.row.lead_owner or "", rules.default_sender)
