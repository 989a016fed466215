"""The log as a program reads it: a record a line, whole, with no reader in it, whoever speaks and whatever is said."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog

from nurture.logs import prepare_logging

log = structlog.get_logger()


@pytest.fixture(autouse=True)
def prepared() -> Iterator[None]:
    kept, levels = list(logging.getLogger().handlers), {}
    for name in ("apscheduler", "pgqueuer"):
        levels[name] = logging.getLogger(name).level
    prepare_logging()
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers = kept
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Every line of it is one, by the reckoning of whoever splits lines most eagerly."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_record_has_its_time_in_utc_its_level_and_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.warning("channel_away", channel="sales", attempts=3, share=0.5, why=None, open=True, hosts=["a", "b"])
    (record,) = records(capsys)
    at = datetime.fromisoformat(record.pop("timestamp"))
    assert at.utcoffset() is not None
    assert at.utcoffset().total_seconds() == 0  # type: ignore[union-attr]  # it is not None
    assert record == {
        "event": "channel_away",
        "level": "warning",
        "channel": "sales",
        "attempts": 3,
        "share": 0.5,
        "why": None,
        "open": True,
        "hosts": ["a", "b"],
    }


def listen_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pytest's own handlers, which raise at a call that is wrong and report what can't be encoded."""
    ours = [each for each in logging.getLogger().handlers if type(each).__module__ == "nurture.logs"]
    monkeypatch.setattr(logging.getLogger(), "handlers", ours)


def test_libraries_speak_the_same_form(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    listen_alone(monkeypatch)
    logging.getLogger("uvicorn.error").error("no room for <%s>", "zoe@example.com")
    logging.getLogger("nurture.web").warning("%d of %d", 1)  # a call that is wrong loses nothing but its numbers
    logging.getLogger("asyncio").log(35, "between two levels")
    logging.getLogger("nurture.web.access").info("GET / 200")
    told = [(each["logger"], each["level"], each["event"]) for each in records(capsys)]
    assert told == [
        ("uvicorn.error", "error", "no room for <[address]>"),
        ("nurture.web", "warning", "%d of %d"),
        ("asyncio", "warning", "between two levels"),
    ]


def test_a_traceback_is_whole_and_names_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(to: str) -> None:
        try:
            raise ValueError(f"550 5.1.1 <{to}>: user unknown")
        except ValueError as error:
            error.add_note("for zoe%40example.com")
            raise RuntimeError(to) from error

    try:
        fail("zoe@example.com")
    except RuntimeError as error:
        log.exception("attempt_failed", message=7)
        logging.getLogger("nurture.web").error("error 12", exc_info=error)
    first, second = records(capsys)
    for record in (first, second):
        assert "zoe" not in json.dumps(record)
        assert "ValueError: 550 5.1.1 <[address]>: user unknown" in record["exception"]
        assert "RuntimeError: [address]" in record["exception"]
        assert "in fail" in record["exception"]
    assert first["message"] == 7


class Odd:
    def __repr__(self) -> str:
        return "<Odd zoe@example.com>"


@pytest.mark.parametrize(
    "value",
    [
        "zoe@example.com",
        b"RCPT TO:<zoe@example.com>",
        ["zoe@example.com"],
        {"zoe@example.com": {"to": ("zoe@example.com",)}},
        {"zoe@example.com"},
        ValueError("zoe@example.com"),
        Odd(),
    ],
)
def test_no_kind_of_field_brings_an_address_in(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    log.error("refused", reply=value)
    assert "zoe" not in json.dumps(records(capsys))


FORGED = '{"event": "sent", "level": "info"}'
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\n\u202e", "\ud800\n", "\x1b[2J\n"]


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
def test_no_text_forges_a_record(end: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    listen_alone(monkeypatch)
    hostile = f"451 try later{end}{FORGED}"
    log.warning(hostile, reply=hostile, **{hostile: 1})
    logging.getLogger("uvicorn.error").error(hostile)
    try:
        raise ValueError(hostile)
    except ValueError:
        log.exception("attempt_failed")
    assert [each["level"] for each in records(capsys)] == ["warning", "error", "error"]


def test_a_number_that_json_lacks_and_a_field_without_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    endless: list[object] = []
    endless.append(endless)
    log.info("odd", ratio=float("nan"), endless=endless)
    (record,) = records(capsys)
    assert record["ratio"] == "nan"


def test_preparing_twice_tells_once(capsys: pytest.CaptureFixture[str]) -> None:
    prepare_logging()
    logging.getLogger("uvicorn.error").error("once")
    assert len(records(capsys)) == 1


TOLD_ON_A_TERMINAL = """
import logging, structlog
from nurture.logs import prepare_logging
prepare_logging()
log = structlog.get_logger()
hostile = "451 later\\n2026-01-01T00:00:00Z [info] forged \\x1b[2J"
def fail(secret):
    raise ValueError("zoe@example.com " + hostile)
try:
    fail("a secret of " + "max@example.com")
except ValueError:
    log.exception(hostile, reply=hostile)
logging.getLogger("asyncio").error("zoe@example.com")
"""


def test_on_a_terminal_it_is_for_people_and_keeps_the_same_promises() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", TOLD_ON_A_TERMINAL], stderr=theirs)
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        told += part
    os.close(ours)
    assert process.wait() == 0
    text = told.decode()
    assert "{" not in text.splitlines()[0]
    assert "ValueError: [address] 451 later" in text
    assert "\x1b[2J" not in text
    assert not any(line.startswith("2026-01-01") for line in text.splitlines())
    for secret in ("zoe", "max@", "a secret"):
        assert secret not in text, "no address, and no variable's value"
