"""A simulation jumps from moment to moment; it must decide what the daemon's passes decide on the same leads."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from tests.engine.world import make_root, steps
from tests.rehearsal.playing import apart
from tests.rehearsal.simulating import BEGINS, GRID, Scripted, get_ready, pass_by_pass, simulate, told

CONFIG = """
window = { days = "mon-fri", hours = "09:00-12:00", timezone = "lead" }
[limits]
per_lead = ["1 per day", "3 per 7 days"]
[reps.ben]
name = "Ben Okafor"
email = "ben@acme.example"
timezone = "Europe/Berlin"
[reps.chloe]
name = "Chloe Dubois"
email = "chloe@acme.example"
timezone = "Europe/Paris"
"""
LIFECYCLE = """
stages:
  - lead
  - mql: {when: score >= 20, demote_when: score < 12, demote_after: 6 hours}
  - sql: {when: did("demo requested")}
engagement:
  half_life: 1 day
  points:
    - {event: clicked, points: 20, at_most: 40 per week}
    - {event: page viewed, path: "/pricing*", points: 10}
hot: {when: score >= 40, cool_down: 2 days}
alerts:
  channels: [email]
  hours: {days: mon-fri, hours: "09:00-18:00", timezone: rep}
routing:
  - {reps: [ben, chloe]}
"""

COMPARED = (
    *("enrolled", "paused", "out_of_window", "capped", "waiting", "queued", "sent", "bounced"),
    *("branched", "skipped_when", "tagged", "notified", "exited", "completed", "promoted", "demoted", "alerted"),
)


def cadence(segment: str, *said: str, **keys: str) -> str:
    head = {"name": "Some mails", "segment": f"'{segment}'", "enroll": "current_and_future", **keys}
    return "".join(f"{key}: {value}\n" for key, value in head.items()) + steps(*said)


CADENCES = {
    # two cadences that want the same lead on the same day, so that caps stand in the way
    "news": cadence(
        'tag("news")',
        "mail:a",
        "wait: 2 days",
        'if: clicked(step="a")\n    then:\n      - email: hello\n        id: b\n        subject: b\n'
        "    else:\n      - email: hello\n        id: c\n        subject: c",
        'wait_for: did("demo requested")\n    up_to: 36 hours',
        'promote: sql\n    when: clicked(step="b")',
        "mail:d",
        priority="10",
    ),
    "guide": cadence(
        'tag("guide")',
        "mail:one",
        "wait: 1 day",
        'notify: sales\n    id: tell\n    message: "{{ lead.email }}"\n    when: score >= 5',
        "tag: guide-done",
        "mail:two",
        goal='stage == "sql"',
        priority="50",
    ),
    # a tag of another cadence lets leads in, and so does the time that goes by where nothing happens
    "late": cadence('tag("guide-done") or days_since(created_at) >= 3 and not tag("news")', "mail:slow", window="any"),
}


@pytest.mark.slow
def test_a_simulation_decides_as_the_daemons_passes_do(tmp_path: Path) -> None:
    """Every lead, every decision, its reason and its moment; and nothing is left over on either side."""
    until, readers = BEGINS + timedelta(days=4, hours=18), Scripted()
    worlds = []
    for name in ("jumping", "stepping"):
        root = make_root(tmp_path / name, config=CONFIG, _lifecycle=LIFECYCLE, **CADENCES)
        worlds.append(get_ready(root, readers=readers, berlin=["news", "guide"], york=["news"], kolkata=["guide"]))
    jumping, stepping = worlds
    simulate(jumping, readers, until)
    apart(lambda: pass_by_pass(stepping, readers, until, every=GRID))
    found, expected = told(jumping.database), told(stepping.database)
    for each in worlds:
        each.database.close()
    for table, rows in expected.items():
        assert found[table] == rows, table
    codes = Counter(row[4] for row in expected["decision"])
    # what is compared is worth comparing
    for code in COMPARED:
        assert codes[code], code
