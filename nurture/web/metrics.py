"""Every metric, with what it means, and how what was read becomes one: `METRICS` is what Prometheus is told and the
reference is made from.

Labels come from short lists: no address, no lead and no recipient's domain is ever one. The families are made anew for
each scrape, in a registry of ours, so that nothing else of the process gets in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from nurture.pipeline.counters import Counts, Durations
from nurture.store.gauges import Gauges

Kind = Literal["gauge", "counter", "histogram"]
Labels = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Described:
    """A metric as its readers know it; a counter's name has its `_total`."""

    kind: Kind
    name: str
    meaning: str
    labels: Labels = ()


def _gauge(name: str, meaning: str, *labels: str) -> Described:
    return Described(kind="gauge", name=name, meaning=meaning, labels=labels)


def _counter(name: str, meaning: str, *labels: str) -> Described:
    return Described(kind="counter", name=name, meaning=meaning, labels=labels)


def _histogram(name: str, meaning: str, *labels: str) -> Described:
    return Described(kind="histogram", name=name, meaning=meaning, labels=labels)


METRICS: tuple[Described, ...] = (
    _gauge(
        "nurture_database_up", "Whether the database answered this scrape; while it is 0 the other gauges are missing."
    ),
    _gauge(
        "nurture_messages",
        "Messages that have not come to their end, by status: queued, deferred, sending, or unknown, which a person "
        "must decide.",
        "status",
    ),
    _gauge("nurture_messages_due", "Messages that could be sent now: their time has come, and no pause holds them."),
    _gauge("nurture_oldest_due_message_age_seconds", "How long the first of those has been due; 0 where none is."),
    _gauge(
        "nurture_messages_held",
        "Messages that a pause holds: their time has come, or they wait for their recipient's domain.",
    ),
    _gauge("nurture_leases_over", "Messages under way whose lease is over, so that their worker may be gone."),
    _gauge("nurture_workers_sending", "Processes that have messages under way."),
    _gauge("nurture_enrollments_due", "Active enrollments whose next step is due."),
    _gauge("nurture_oldest_due_enrollment_age_seconds", "How long the first of those has been due; 0 where none is."),
    _gauge("nurture_posts_due", "Webhooks and chat messages that could be posted now."),
    _gauge("nurture_oldest_due_post_age_seconds", "How long the first of those has been due; 0 where none is."),
    _gauge("nurture_alerts_open", "Alerts that no rep has answered, snoozed ones included."),
    _gauge(
        "nurture_paused",
        "1 for each thing that is stopped until a person says go; kind is sender, cadence, backlog or all, and name is "
        "empty for all.",
        "kind",
        "name",
    ),
    _gauge(
        "nurture_domains_paused",
        "Recipients' domains to which mail waits, by kind: ill, where they refuse so many that all of it does, or "
        "blocked, counted once for each sender whose mail they block. Both end by themselves.",
        "kind",
    ),
    _counter(
        "nurture_message_outcomes_total",
        "Attempts that ended and messages that were given up before one, by outcome: sent, bounced, deferred, failed, "
        "canceled, unknown.",
        "outcome",
    ),
    _counter(
        "nurture_replies_total",
        "What servers answered for a message, by class: accepted, soft, hard, block.",
        "class",
    ),
    _counter("nurture_render_errors_total", "Messages that failed because their letter could not be written."),
    _counter("nurture_marks_total", "Final dots that the database allowed."),
    _counter(
        "nurture_marks_refused_total",
        "Final dots that the database refused: the claim was lost, or the lead left meanwhile. Nothing was sent.",
    ),
    _counter("nurture_outcomes_written_total", "Outcomes of attempts that were committed."),
    _counter(
        "nurture_outcomes_lost_total",
        "Outcomes that the database refused, because another worker's lease epoch was in force.",
    ),
    _counter(
        "nurture_leases_ended_total",
        "Messages that this process took from a worker that was gone, by what became of them: deferred, or unknown.",
        "became",
    ),
    _histogram(
        "nurture_group_commit_duration_seconds",
        "How long one commit of marks and outcomes took. Marks and outcomes over its count say how many shared one.",
    ),
    _counter("nurture_group_commit_failures_total", "Commits of marks and outcomes that the database did not confirm."),
    _histogram(
        "nurture_stage_duration_seconds",
        "How long one pass of a stage took, by stage; a pass of deliver lasts for as long as messages are due.",
        "stage",
    ),
    _counter("nurture_stage_failures_total", "Passes of a stage that ended with an error, by stage.", "stage"),
)


def exposition(counts: Counts, gauges: Gauges | None) -> bytes:
    """All of it in Prometheus' text format. `gauges`: None where the database did not answer."""
    registry = CollectorRegistry()
    registry.register(_Scrape({**_counted(counts), **_gauged(gauges)}, counts))
    return generate_latest(registry)


Samples = Mapping[Labels, float]


class _Scrape(Collector):
    """One reading, as families."""

    def __init__(self, samples: Mapping[str, Samples], counts: Counts) -> None:
        self._samples = samples
        self._durations: Mapping[str, Mapping[Labels, Durations]] = {
            "nurture_group_commit_duration_seconds": {(): counts.commits},
            "nurture_stage_duration_seconds": {(stage,): took for stage, took in sorted(counts.stages.items())},
        }

    def collect(self) -> Iterator[Metric]:
        for each in METRICS:
            match each.kind:
                case "gauge":
                    gauge = GaugeMetricFamily(each.name, each.meaning, labels=each.labels)
                    for labels, value in self._samples[each.name].items():
                        gauge.add_metric(labels, value)
                    yield gauge
                case "counter":
                    counter = CounterMetricFamily(each.name, each.meaning, labels=each.labels)
                    for labels, value in self._samples[each.name].items():
                        counter.add_metric(labels, value)
                    yield counter
                case "histogram":
                    histogram = HistogramMetricFamily(each.name, each.meaning, labels=each.labels)
                    for labels, took in self._durations[each.name].items():
                        histogram.add_metric(labels, buckets=_buckets(took), sum_value=took.sum_s)
                    yield histogram


def _buckets(took: Durations) -> list[tuple[str, float]]:
    bounds = [*(str(float(bound)) for bound in took.bounds), "+Inf"]
    return list(zip(bounds, accumulate(took.counts), strict=True))


def _counted(counts: Counts) -> dict[str, Samples]:
    return {
        "nurture_message_outcomes_total": _by_label(counts.outcomes),
        "nurture_replies_total": _by_label(counts.replies),
        "nurture_render_errors_total": {(): counts.render_errors},
        "nurture_marks_total": {(): counts.marks},
        "nurture_marks_refused_total": {(): counts.marks_refused},
        "nurture_outcomes_written_total": {(): counts.outcomes_written},
        "nurture_outcomes_lost_total": {(): counts.outcomes_lost},
        "nurture_leases_ended_total": _by_label(counts.leases_ended),
        "nurture_group_commit_failures_total": {(): counts.commit_failures},
        "nurture_stage_failures_total": _by_label(counts.stage_failures),
    }


def _gauged(gauges: Gauges | None) -> dict[str, Samples]:
    if gauges is None:
        missing: dict[str, Samples] = {each.name: {} for each in METRICS if each.kind == "gauge"}
        return missing | {"nurture_database_up": {(): 0}}
    return {
        "nurture_database_up": {(): 1},
        "nurture_messages": _by_label(gauges.messages),
        "nurture_messages_due": {(): gauges.mail.due},
        "nurture_oldest_due_message_age_seconds": {(): gauges.mail.age_s},
        "nurture_messages_held": {(): gauges.held},
        "nurture_leases_over": {(): gauges.leases_over},
        "nurture_workers_sending": {(): gauges.workers_sending},
        "nurture_enrollments_due": {(): gauges.enrollments.due},
        "nurture_oldest_due_enrollment_age_seconds": {(): gauges.enrollments.age_s},
        "nurture_posts_due": {(): gauges.posts.due},
        "nurture_oldest_due_post_age_seconds": {(): gauges.posts.age_s},
        "nurture_alerts_open": {(): gauges.alerts_open},
        "nurture_paused": dict(_paused(gauges.paused)),
        "nurture_domains_paused": {("ill",): gauges.domains_ill, ("blocked",): gauges.senders_blocked},
    }


def _by_label(values: Mapping[str, float]) -> Samples:
    return {(label,): value for label, value in values.items()}


def _paused(scopes: Iterable[str]) -> Iterator[tuple[Labels, float]]:
    for scope in sorted(scopes):
        kind, _, name = scope.partition(":")
        yield (kind, name), 1
