"""A channel's mistakes in config.toml are found at their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.settings import read_settings

CONFIG = """[workspace]
name = "Acme"
public_url = "http://127.0.0.1:8080"
postal_address = "Beispielweg 1, Berlin"
[smtp.primary]
host = "127.0.0.1"
[senders.anna]
from = "Anna <anna@acme.example>"
[sending]
sender = "anna"
[reps.ben]
name = "Ben"
email = "ben@acme.example"
"""


def found(root: Path, text: str) -> list[tuple[int, str, str]]:
    """(line within `text`, code, message) of each finding."""
    (root / "config.toml").write_text(CONFIG + text)
    _, _, findings = read_settings(root)
    return [(each.line - CONFIG.count("\n"), each.code, each.message) for each in findings]


def test_channels_as_they_are_meant_pass(tmp_path: Path) -> None:
    assert (
        found(
            tmp_path,
            '[alerts.room]\nkind = "slack"\nurl = "env:SLACK_URL"\n'
            '[alerts.crm]\nkind = "webhook"\nurl = "https://crm.example.com/hook?a=1"\nsecret = "env:HOOK"\n'
            '[alerts.here]\nkind = "webhook"\nurl = "http://127.0.0.1:9000/hook"\n'
            '[alerts.also-here]\nkind = "webhook"\nurl = "http://[::1]:9000/hook"\n',
        )
        == []
    )


@pytest.mark.parametrize(
    ("text", "line", "code", "said"),
    [
        ('[alerts.crm]\nkind = "webhook"\nurl = "http://crm.example.com/"\n', 3, "channel-url", "use https"),
        ('[alerts.crm]\nkind = "webhook"\nurl = "crm.example.com"\n', 3, "channel-url", "no web address"),
        ('[alerts.ben]\nkind = "slack"\nurl = "env:X"\n', 1, "channel-name", "'ben'"),
        ('[alerts.email]\nkind = "slack"\nurl = "env:X"\n', 1, "channel-name", "'email'"),
        ('[alerts.sales]\nkind = "slack"\nurl = "env:X"\n', 1, "channel-name", "'sales'"),
        ('[alerts.x]\nkind = "slack"\nurl = "env:X"\nsecret = "env:Y"\n', 4, "channel-secret", "its url is the secret"),
    ],
)
def test_a_mistake_stands_at_its_line(tmp_path: Path, text: str, line: int, code: str, said: str) -> None:
    ((at, what, message),) = found(tmp_path, text)
    assert (at, what) == (line, code)
    assert said in message
