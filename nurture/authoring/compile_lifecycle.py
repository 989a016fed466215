"""_lifecycle.yaml becomes the `Lifecycle` that scores, promotes, alerts and routes."""

from __future__ import annotations

from datetime import timedelta

from nurture.authoring.lifecycle_file import DECLARABLE, LifecycleFile, PointsBody, StageBody
from nurture.authoring.reading import Reading
from nurture.documents.document import Path
from nurture.domain.cadence import ANY_TIME
from nurture.domain.lifecycle import (
    AtMost,
    Engagement,
    FitRule,
    Hot,
    Lifecycle,
    PointsRule,
    Route,
    StageRule,
)
from nurture.domain.spans import parse_duration

EMAIL_CHANNEL = "email"


def default_lifecycle() -> Lifecycle:
    """Without a file: the stages from lead to customer, moved by steps and people only, and nothing is hot."""
    return Lifecycle(stages=tuple(StageRule(stage=stage) for stage in DECLARABLE))


def compile_lifecycle(reading: Reading, file: LifecycleFile) -> Lifecycle:
    """The lifecycle; what is wrong with it is in `reading.findings`."""
    _check_names(reading, file)
    stages = default_lifecycle().stages if file.stages is None else _stages(reading, file.stages)
    return Lifecycle(
        stages=stages,
        fit=tuple(
            FitRule(when=_text(reading, ("fit", index, "when"), rule.when), points=rule.points)
            for index, rule in enumerate(file.fit)
        ),
        engagement=Engagement(
            half_life=file.engagement.half_life,
            cap=file.engagement.cap,
            points=tuple(_points(rule) for rule in file.engagement.points),
        ),
        hot=_hot(reading, file),
        alert_channels=tuple(file.alerts.channels),
        alert_hours=file.alerts.hours or ANY_TIME,
        routing=tuple(
            Route(reps=tuple(route.reps), when=reading.condition_text(("routing", index, "when"), route.when))
            for index, route in enumerate(file.routing)
        ),
        hold_claim=file.hold.claim,
        hold_reply=file.hold.reply,
        recycle_after=file.recycle.after,
        recycle_into=file.recycle.into,
        sla_respond=file.sla.respond if file.sla else None,
        sla_escalate=file.sla.escalate if file.sla else None,
        digest=file.digest,
    )


def _text(reading: Reading, path: Path, text: str) -> str:
    return reading.condition_text(path, text) or text


def _check_names(reading: Reading, file: LifecycleFile) -> None:
    names = reading.names
    for index, channel in enumerate(file.alerts.channels):
        reading.known(("alerts", "channels", index), channel, "channel", {EMAIL_CHANNEL, *names.channels})
    for index, route in enumerate(file.routing):
        for number, rep in enumerate(route.reps):
            none = "there is no [reps.…] in config.toml"
            reading.known(("routing", index, "reps", number), rep, "rep", names.reps, none=none)
    reading.known(("recycle", "into"), file.recycle.into, "cadence", names.cadences)
    if file.sla is not None:
        reading.known(("sla", "escalate"), file.sla.escalate, "rep", names.reps)


def _stages(reading: Reading, entries: list[dict[str, StageBody]]) -> tuple[StageRule, ...]:
    rules: list[StageRule] = []
    for index, entry in enumerate(entries):
        (stage, body), *_ = entry.items()
        place: Path = ("stages", index)
        reading.known(place, stage, "stage", DECLARABLE)
        _check_order(reading, place, stage, [rule.stage for rule in rules])
        inside = (*place, stage)
        if body.demote_after is not None and body.demote_when is None:
            reading.report(
                (*inside, "demote_after"), "demote-after", "'demote_after' needs a 'demote_when'", at_key=True
            )
        for number, field in enumerate(body.requires):
            reading.field((*inside, "requires", number), field)
        rules.append(
            StageRule(
                stage=stage,
                when=reading.condition_text((*inside, "when"), body.when),
                demote_when=reading.condition_text((*inside, "demote_when"), body.demote_when),
                demote_after=body.demote_after or timedelta(0),
                requires=tuple(body.requires),
                alert=body.alert,
            )
        )
    return tuple(rules)


def _check_order(reading: Reading, place: Path, stage: str, before: list[str]) -> None:
    if stage in before:
        reading.report(place, "duplicate-stage", f"stage '{stage}' stands here twice")
    elif stage in DECLARABLE and any(
        DECLARABLE.index(earlier) > DECLARABLE.index(stage) for earlier in before if earlier in DECLARABLE
    ):
        reading.report(place, "stage-order", f"stage '{stage}' comes too late: the order is {', '.join(DECLARABLE)}")


def _points(rule: PointsBody) -> PointsRule:
    at_most = None
    if rule.at_most is not None:
        points, _, unit = rule.at_most.partition(" per ")
        at_most = AtMost(points=float(points), within=parse_duration(f"1 {unit}"))
    return PointsRule(event=rule.event, points=rule.points, at_most=at_most, path=rule.path)


def _hot(reading: Reading, file: LifecycleFile) -> Hot | None:
    if file.hot is None:
        return None
    return Hot(
        when=_text(reading, ("hot", "when"), file.hot.when),
        fit=file.hot.fit,
        unknown_fit=file.hot.unknown_fit,
        hysteresis=file.hot.hysteresis,
        cool_down=file.hot.cool_down,
        always=Hot.always if file.hot.always is None else tuple(file.hot.always),
    )
