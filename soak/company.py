"""The company that soaks: its workspace, its leads, and the edits that its marketers make while leads are under way."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from nurture.store import tables as t
from nurture.store.database import Database

CONFIG = """
[workspace]
name = "Soak"
public_url = "http://127.0.0.1:8080"
postal_address = "Soak GmbH, Beispielweg 1, 10115 Berlin"
timezone = "Europe/Berlin"
country = "DE"
secret_key = "file:secret"
[database]
url = "sqlite:///nurture.db"
[smtp.primary]
host = "127.0.0.1"
port = 9
[senders.anna]
from = "Anna <anna@soak.example>"
[sending]
sender = "anna"
window = { days = "mon-fri", hours = "09:00-17:00", timezone = "lead", holidays = "lead" }
[limits]
per_lead = ["1 per day", "3 per 7 days", "8 per 30 days"]
enroll_at_once = 1000000
"""
TEMPLATE = """<mjml><mj-body><mj-section><mj-column>
<mj-text>Hello {{ lead.first_name | default("there") }},
<a href="https://www.soak.example/tour">take the tour</a>.</mj-text>
<mj-text>{{ workspace.postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""
CADENCES = {
    "welcome": """
segment: stage in ["lead", "mql"]
enroll: current_and_future
priority: 60
goal: stage in ["opportunity", "customer"]
goal_within: 90 days
steps:
  - {email: hello, id: hi, subject: "welcome/hi"}
  - wait: {WAIT}
  - if: clicked(step="hi")
    then:
      - {email: hello, id: clicked, subject: {a: "welcome/clicked", b: "welcome/clicked"}}
    else:
      - {email: hello, id: again, subject: "welcome/again", window: {days: tue-thu}}
  - wait_for: clicked(step="again")
    up_to: 3 business days
  - split:
      short: {weight: 1, steps: [{tag: short}]}
      long: {weight: 2, steps: [{wait: 2 days at 11:00}, {email: hello, id: long, subject: "welcome/long"}]}
    id: length
  - {promote: mql, when: clicked()}
""",
    "newsletter": """
segment: stage != "customer"
enroll: current_and_future
priority: 20
exit: tag("no-news")
max_pause: 60 days
steps:
  - wait_until: tuesday 10:00
  - {email: hello, id: news, subject: "newsletter/news", max_late: 3 days}
  - wait: 6 days
  - goto: news
""",
    "webinar": """
trigger: {event: webinar registered}
reentry: each_event
concurrent: true
window: {hours: "07:00-21:00", days: mon-sun, holidays: none}
steps:
  - {wait_until: event.starts_at, offset: -1 day}
  - email: hello
    id: day-before
    subject: "webinar/day-before"
    transactional: reminder
    expires: {at: event.starts_at}
  - {wait_until: event.starts_at, offset: 1 business day}
  - {email: hello, id: after, subject: "webinar/after"}
""",
    "trial": """
segment: tag("trial")
enroll: current_and_future
reentry: after 20 days
priority: 90
account: {at_once: 3, hold: pause_colleagues, won: exit}
steps:
  - {wait_until: custom.trial_ends_at, offset: -3 days}
  - {email: hello, id: ending, subject: "trial/ending"}
  - {task: Call, id: call, wait: true, up_to: 2 business days}
  - {email: hello, id: over, subject: "trial/over", window: {hours: "22:00-06:00", days: "mon-sun"}}
""",
}
WAITS = ("3 days", "1 day", "5 business days", "2 days at 09:30", "12 hours")
ZONES = (
    *("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"),
    *("Pacific/Auckland", "Africa/Cairo", "America/St_Johns", None),
)
COUNTRIES = ("DE", "US", "JP", "FR", "GB", None)
CHUNK = 2_000


def make_workspace(root: Path) -> Path:
    """A workspace with the company's cadences; returns its root."""
    (root / "cadences").mkdir(parents=True)
    (root / "templates" / "email").mkdir(parents=True)
    (root / "secret").write_text("a secret for soaking alone")
    (root / "secret").chmod(0o600)
    (root / "config.toml").write_text(CONFIG)
    (root / "templates" / "email" / "hello.mjml").write_text(TEMPLATE)
    for name in CADENCES:
        _write(root, name, WAITS[0])
    return root


def _write(root: Path, name: str, wait: str, head: str = "") -> None:
    (root / "cadences" / f"{name}.yaml").write_text(head + CADENCES[name].replace("{WAIT}", wait).lstrip())


def edited(root: Path, day: int) -> bool:
    """Every fifth day somebody edits: another wait, a pause in the file, a file taken away and brought back."""
    if day % 5 != 4:
        return False
    _write(root, "welcome", WAITS[day // 5 % len(WAITS)])
    match day // 5 % 4:
        case 0:
            _write(root, "newsletter", "", head="status: paused\n")
        case 1:
            _write(root, "newsletter", "", head="on_edit: restart\n")
        case 2:
            (root / "cadences" / "trial.yaml").unlink()
        case _:
            _write(root, "newsletter", "", head="on_edit: pin\n")
            _write(root, "trial", "")
    return True


def populate(database: Database, *, leads: int, rng: random.Random, now: datetime) -> None:
    """Leads in many zones and countries, a fifth of them of a few companies."""
    for start in range(0, leads, CHUNK):
        rows = [_lead(number, rng, now) for number in range(start, min(start + CHUNK, leads))]
        with database.transaction() as connection:
            connection.execute(insert(t.lead), rows)


def _lead(number: int, rng: random.Random, now: datetime) -> dict[str, object]:
    domain = f"firm{rng.randrange(200)}.example" if rng.random() < 0.2 else f"host{number % 4000}.example"
    address = f"lead{number}@{domain}"
    ends = (now + timedelta(days=rng.randrange(5, 50))).strftime(rng.choice(("%Y-%m-%d", "%Y-%m-%d %H:%M")))
    held = rng.choice((ends, ends, "soon"))
    return {
        "email": address,
        "email_key": address,
        "email_domain": domain,
        "first_name": rng.choice(("Zoë", "Max", None)),
        "timezone": rng.choice(ZONES),
        "country": rng.choice(COUNTRIES),
        "custom": {"trial_ends_at": held},
        "readings": {"number": {}, "moment": {}, "truth": {}},
        "stage": "lead",
        "fit": "unknown",
        "fit_points": 0.0,
        "hot_armed": True,
        "rescore": False,
        "created_at": now,
        "consented_at": now,
        "consent_until": None if rng.random() < 0.9 else now + timedelta(days=rng.randrange(10, 60)),
    }
