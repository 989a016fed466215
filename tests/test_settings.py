"""config.toml: every key of the documented form is taken, secrets are looked up late, and nothing shows them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.domain.problem import Problem
from nurture.settings import load_settings, resolve_secret

WHOLE = """\
[workspace]
name = "Acme Analytics"
public_url = "https://mail.acme.example/"
postal_address = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
timezone = "Europe/Berlin"
country = "DE"
language = "en"
secret_key = ["file:new.key", "env:NURTURE_SECRET_KEY"]
[database]
url = "postgresql://nurture@/nurture?host=/run/postgresql"
[web]
public = "127.0.0.1:8080"
private = "[::1]:8081"
trusted_proxies = ["127.0.0.1"]
[api]
write_keys = ["env:NURTURE_WRITE_KEY"]
browser_keys = ["env:NURTURE_BROWSER_KEY"]
browser_events = ["video watched"]
[tracking]
opens = "consent"
clicks = "hygiene"
utm = { source = "nurture", medium = "email", campaign = "{cadence}", content = "{step}" }
own_domains = ["acme.example"]
[smtp.primary]
host = "mx.acme.example"
port = 587
security = "starttls"
username = "nurture"
password = "env:SMTP_PASSWORD"
connections = 8
rate = "50 per second"
[esp.sg]
provider = "sendgrid"
api_key = "env:SENDGRID_KEY"
[senders.anna]
from = '"Meier, Anna" <anna@acme.example>'
reply_to = "anna@acme.example"
smtp = "primary"
bounce_domain = "bounces.acme.example"
daily = 2000
warm_up = { start = 50, growth = 1.3 }
tracking_domain = "go.acme.example"
[senders.bulk]
from = "bulk@acme.example"
esp = "sg"
[dkim."acme.example"]
selector = "s1"
key = "file:/etc/nurture/s1.pem"
[[dkim."acme.test.example"]]
selector = "s1"
key = "file:/etc/nurture/s1.pem"
[[dkim."acme.test.example"]]
selector = "s2"
key = "file:/etc/nurture/s2.pem"
[domains."gmail.com"]
connections = 4
rate = "20 per second"
[inbox.bounces]
kind = "maildir"
path = "/var/mail/nurture"
[inbox.replies]
kind = "imap"
host = "imap.acme.example"
port = 993
security = "tls"
username = "anna"
password = "env:IMAP_PASSWORD"
folder = "INBOX"
[hooks.sg]
provider = "sendgrid"
secret = "env:SENDGRID_HOOK_KEY"
[reps.ben]
name = "Ben Okafor"
email = "ben@acme.example"
timezone = "Europe/Berlin"
weight = 1
capacity = 10
sender = "anna"
title = "Account executive"
phone = "+49 30 123"
meeting_url = "https://meet.acme.example/ben"
away = ["2026-12-24 to 2027-01-02", "2027-02-01"]
[alerts.sales-slack]
kind = "slack"
url = "env:SLACK_URL"
digest = "mon-fri 08:30"
[topics]
product = "Product news"
events = "Webinars and events"
[fields]
employees = "number"
trial_ends_at = "datetime"
plan = ["team", "pro"]
[limits]
per_lead = ["1 per day", "3 per 7 days", "8 per 30 days"]
enroll_at_once = 5000
[sending]
sender = "anna"
window = { days = "mon-fri", hours = "09:00-17:00", timezone = "lead", holidays = "lead" }
hold_over = 1000
[goals]
lead = "400 per month"
mql = "60 per month"
[holidays]
extra = ["2026-12-24", "2026-12-31 DE"]
[consent.CA]
inquiry = "6 months"
existing_customer = "24 months"
[retention]
hits = "90 days"
messages = "2 years"
unconfirmed = "30 days"
inactive_leads = "36 months"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(WHOLE, encoding="utf-8")
    return tmp_path


def test_every_documented_key_is_taken(root: Path) -> None:
    settings = load_settings(root)
    assert settings.workspace.public_url == "https://mail.acme.example"
    assert settings.smtp["primary"].rate == 50
    assert settings.retention.inactive_leads == timedelta(days=36 * 30)
    assert settings.fields == {"employees": "number", "trial_ends_at": "datetime", "plan": ["team", "pro"]}
    assert settings.senders["bulk"].esp == "sg"


def test_what_this_version_does_not_act_on_is_a_warning_each(root: Path) -> None:
    findings = check_workspace(root).findings
    assert {each.level for each in findings} == {"warning"}
    said = {each.message.split("'")[1] for each in findings if each.code == "not-acting"}
    assert {"hooks", "inbox", "senders.anna.tracking_domain", "retention", "api"} <= said
    assert said.isdisjoint({"smtp", "topics", "fields", "goals", "holidays", "limits", "tracking.opens"})


def test_secrets_are_found_from_anywhere_and_late(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = load_settings(root).workspace.secret_key
    assert first == f"file:{root / 'new.key'}"
    with pytest.raises(Problem, match=r"new\.key cannot be read: No such file"):
        resolve_secret(first)
    (root / "new.key").write_text("very secret\r\n")
    assert resolve_secret(first) == "very secret"
    monkeypatch.delenv("NURTURE_SECRET_KEY", raising=False)
    with pytest.raises(Problem, match="NURTURE_SECRET_KEY is not set"):
        resolve_secret(second)
    monkeypatch.setenv("NURTURE_SECRET_KEY", "k")
    assert resolve_secret(second) == "k"


def test_a_database_url_may_be_a_secret(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "config.toml").write_text(
        WHOLE.replace("postgresql://nurture@/nurture?host=/run/postgresql", "file:db.url")
    )
    (root / "db.url").write_text("postgresql://nurture:geheim@db/nurture\n")
    assert load_settings(root).database.url == "postgresql://nurture:geheim@db/nurture"


def test_an_empty_secret_is_no_secret(root: Path) -> None:
    (root / "new.key").write_text("\n")
    with pytest.raises(Problem, match=r"new\.key is empty"):
        resolve_secret(f"file:{root / 'new.key'}")


def test_all_mistakes_come_at_once_a_line_each(root: Path) -> None:
    text = WHOLE.replace("port = 587", 'port = "x"').replace('country = "DE"', 'country = "Germany"')
    (root / "config.toml").write_text(text)
    with pytest.raises(Problem) as caught:
        load_settings(root)
    lines = str(caught.value).split("\n")
    assert [line.split(" error: ")[0] for line in lines] == ["config.toml:6:11:", "config.toml:26:8:"]


def test_limits_of_a_domain_are_those_of_the_address_that_mail_goes_to(root: Path) -> None:
    (root / "config.toml").write_text(WHOLE.replace('"gmail.com"', '"München.Example"'))
    assert list(load_settings(root).domains) == ["xn--mnchen-3ya.example"]
    (root / "config.toml").write_text(WHOLE.replace('"gmail.com"', '"*.com"'))
    with pytest.raises(Problem, match=r"config\.toml:\d+:\d+: error: .*'\*\.com' is no domain that mail goes to"):
        load_settings(root)


def test_without_a_config_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        Problem, match=r"no config\.toml in .*: change to a workspace, or make one with `nurture init DIR`"
    ):
        load_settings(tmp_path)
