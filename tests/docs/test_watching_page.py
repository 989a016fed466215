"""docs/how-to/watch-the-daemon.md and the reference of metrics: they name what is there, and all of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from nurture.store.gauges import OPEN
from nurture.web.metrics import METRICS
from tests.docs.pages import DOCS, blocks

PAGE = "how-to/watch-the-daemon.md"
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")
REFERENCE = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
PARTS = {"histogram": ("_bucket", "_count", "_sum")}
SAMPLES = {f"{each.name}{part}": each for each in METRICS for part in PARTS.get(each.kind, ("",))}


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load("".join(blocks(PAGE, "Three alerts to begin with", "yaml")))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_every_metric_is_in_the_reference_and_nothing_else() -> None:
    told = re.findall(r"^\| `(\w+)` \| (\w+) \|", REFERENCE, re.MULTILINE)
    assert told == [(each.name, each.kind) for each in METRICS]


def test_the_page_names_what_is_there() -> None:
    named = set(re.findall(r"\bnurture_\w+", TEXT))
    assert named - SAMPLES.keys() == set()
    for name, labels in re.findall(r"\b(nurture_\w+)\{(.*?)\}", TEXT):
        assert set(re.findall(r"(\w+)=", labels)) <= set(SAMPLES[name].labels)
    for label, name in re.findall(r"by \((\w+)\) \((?:rate\()?(nurture_\w+)", TEXT):
        assert label in {*SAMPLES[name].labels, "le"}


def test_three_alerts_can_be_taken_as_they_are() -> None:
    assert [rule["alert"] for rule in rules()] == ["NurtureQueueStands", "NurtureUnknownMail", "NurtureSenderStopped"]
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "action"}
    assert 'status="unknown"' in rules()[1]["expr"]
    assert "unknown" in OPEN, "what the second asks for is told"


@pytest.mark.parametrize("each", METRICS, ids=lambda each: each.name)
def test_names_follow_the_conventions(each: Any) -> None:
    """https://prometheus.io/docs/practices/naming/: base units, `_total` for what only grows."""
    assert re.fullmatch(r"nurture_[a-z]+(_[a-z]+)*", each.name)
    assert each.name.endswith("_total") == (each.kind == "counter")
    assert each.kind != "histogram" or each.name.endswith("_seconds")
    assert each.meaning.endswith(".")
    assert "|" not in each.meaning
