"""A cadence whose sender goes over a provider: from the file to the request, and what becomes of each answer."""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from nurture.authoring.check import check_workspace
from nurture.store import tables as t
from tests.delivery.provider import LEAVE_EARLY, LEAVE_LATE, Said, StandIn, stand_in
from tests.engine.world import HEAD, World, add_leads, in_a_loop, make_root, open_world, steps

KEY = "a key that nobody may see"
OVER_ESP = """
[senders.bulk]
from = "Acme <bulk@acme.example>"
esp = "pm"
[esp.pm]
provider = "postmark"
api_key = "file:postmark.key"
url = "{url}"
stream = "broadcast"
connections = 1
"""
OK = Said(
    status=200,
    body={"To": "zoe@example.com", "MessageID": "b7bc2f4a", "ErrorCode": 0, "Message": "OK", "SubmittedAt": "2026"},
)
INVALID = Said(status=422, body={"ErrorCode": 300, "Message": "Invalid 'To' address: 'zoe@example.com'."})
NO_TOKEN = Said(status=401, body={"ErrorCode": 10, "Message": f"Unknown token: {KEY}"})

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anymail") is None and not os.environ.get("NURTURE_REQUIRE_ESP"),
    reason="django-anymail (the extra `esp`) is not installed",
)


def make_workspace(root: Path, url: str) -> Path:
    make_root(root, config=OVER_ESP.format(url=url), tour="sender: bulk\n" + HEAD + steps("mail:a"))
    (root / "postmark.key").write_text(KEY)
    return root


def after(tmp_path: Path, *answers: Said | str) -> tuple[Any, StandIn, list[Any]]:
    """The message when all is done that can be done now, what was asked for it, and all that was logged."""
    kept: list[Any] = []

    async def story() -> None:
        async with stand_in(*answers) as there:
            opened = open_world(make_workspace(tmp_path / "workspace", there.url), in_memory=False)
            try:
                kept.extend(await _play(opened))
            finally:
                await opened.stages.deliverer.close()
                opened.database.close()
            kept.insert(1, there)

    in_a_loop(story)
    return kept[0], kept[1], kept[2]


async def _play(world: World) -> tuple[Any, list[Any]]:
    add_leads(world.database, "zoe")
    with capture_logs() as logs:
        for _ in range(2):
            for report in (world.stages.enroll(), world.stages.advance(), await world.stages.deliver()):
                assert report is not None
    (message,) = world.rows(t.message, "status", "reply", "reply_class", "message_id", "dotted_at")
    return message, logs


def test_a_mail_goes_over_its_senders_provider_once(tmp_path: Path) -> None:
    message, there, _ = after(tmp_path, OK)
    assert (message.status, message.reply) == ("sent", "200 accepted as b7bc2f4a")
    (asked,) = there.asked
    headers = {each["Name"]: each["Value"] for each in asked.json["Headers"]}
    assert headers["Message-ID"] == f"<{message.message_id}>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert {"List-Unsubscribe", "List-Id", "Feedback-ID"} <= set(headers)
    assert asked.json["From"] == "Acme <bulk@acme.example>"
    assert asked.json["MessageStream"] == "broadcast"


def test_an_address_that_the_provider_calls_invalid_has_bounced(tmp_path: Path) -> None:
    message, there, _ = after(tmp_path, INVALID, OK)
    assert (message.status, message.reply_class, len(there.asked)) == ("bounced", "hard", 1)


def test_a_wrong_key_is_ours_to_mend_and_is_in_no_log_and_no_table(tmp_path: Path) -> None:
    message, _, logs = after(tmp_path, NO_TOKEN)
    assert (message.status, message.reply_class) == ("deferred", "soft")
    assert message.reply == "401 Unknown token: …"
    said = {"server": "esp.pm", "error": message.reply, "event": "smtp_server_unavailable", "log_level": "warning"}
    assert [each for each in logs if each["log_level"] == "warning"] == [said]
    assert KEY not in str(logs)


def test_a_wrong_key_stops_nobodys_domain_and_once_it_is_mended_all_mail_goes_within_minutes(tmp_path: Path) -> None:
    kept: list[Any] = []

    async def story() -> None:
        async with stand_in(NO_TOKEN, OK) as there:
            world = open_world(make_workspace(tmp_path / "workspace", there.url), in_memory=False)
            add_leads(world.database, "zoe", "yan", "xia")
            add_leads(world.database, "uwe", at="other.example")
            world.stages.enroll()
            world.stages.advance()
            await world.stages.deliver()
            kept.append((len(there.asked), [row.status for row in world.rows(t.message, "status")]))
            with world.database.reading() as connection:
                assert connection.execute(select(t.domain_pause)).all() == []
            world.clock.advance(timedelta(minutes=1, seconds=1))
            await world.stages.deliver()
            kept.append(sorted(row.status for row in world.rows(t.message, "status")))
            world.clock.advance(timedelta(hours=1))
            await world.stages.deliver()
            kept.append([row.status for row in world.rows(t.message, "status")])
            await world.stages.deliverer.close()
            world.database.close()

    in_a_loop(story)
    assert kept == [(1, ["deferred"] * 4), ["deferred", "sent", "sent", "sent"], ["sent"] * 4]


def test_an_answer_that_is_lost_leaves_it_unknown_and_nothing_is_sent_again(tmp_path: Path) -> None:
    message, there, _ = after(tmp_path, LEAVE_LATE, OK)
    assert (message.status, len(there.asked)) == ("unknown", 1)


def test_a_provider_that_leaves_before_the_end_leaves_it_for_later_or_unknown_and_has_nothing(tmp_path: Path) -> None:
    """Its leaving may arrive after the last byte was written; what it can't be is sent."""
    message, there, _ = after(tmp_path, LEAVE_EARLY)
    assert message.status in ("deferred", "unknown")
    assert there.asked == []


def test_nobody_there_leaves_it_for_later(tmp_path: Path) -> None:
    kept: list[Any] = []

    async def story() -> None:
        opened = open_world(make_workspace(tmp_path / "workspace", "http://127.0.0.1:9"), in_memory=False)
        try:
            kept.extend(await _play(opened))
        finally:
            await opened.stages.deliverer.close()
            opened.database.close()

    in_a_loop(story)
    assert (kept[0].status, kept[0].dotted_at) == ("deferred", None)


def test_check_finds_nothing_to_say_of_it(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "workspace", "http://127.0.0.1:9")
    assert not [each for each in check_workspace(root).findings if "esp" in each.message or each.level == "error"]


@pytest.mark.parametrize(
    "config, code",
    [
        ('provider = "ses"\napi_key = "env:K"', "missing-key"),
        ('provider = "brevo"\napi_key = "env:K"\nstream = "x"', "esp-stream"),
        ('provider = "brevo"\napi_key = "env:K"\nurl = "http://api.brevo.com/v3"', "esp-url"),
    ],
)
def test_check_says_what_a_provider_needs(tmp_path: Path, config: str, code: str) -> None:
    root = make_root(tmp_path / "workspace", config=f"\n[esp.it]\n{config}\n", tour=HEAD + steps("mail:a"))
    assert [each.code for each in check_workspace(root).findings if each.level == "error"] == [code]
