"""One form for every line of the log, whichever library speaks: an event, its level, its time in UTC, and fields.

Nothing in it names a reader, and no text that came from outside can end a line and begin another one.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from nurture.domain.characters import visible
from nurture.domain.redaction import redact

DEEPEST = 20
"""Levels of a field at most; what lies deeper is told as text."""


class _StandardError:
    """Whatever standard error is when a line is written. One that is closed, or full, keeps no mail from going."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            print(message, file=sys.stderr, flush=True)  # noqa: T201  this is where lines go

    log = debug = info = warn = warning = error = critical = fatal = exception = msg


class _Others(logging.Handler):
    """What libraries and pages tell Python's `logging` goes the way of all other lines."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001  a text that does not fit its arguments is told as it is
            said = str(record.msg)
        level = min(record.levelno // 10 * 10, logging.CRITICAL)  # structlog knows no levels in between
        with suppress(Exception):  # who logs has something better to do than to fail
            structlog.get_logger().log(level, said, logger=record.name, exc_info=record.exc_info)


def prepare_logging() -> None:
    """Structured lines on standard error: one JSON document each, or colours on a terminal. No addresses in them."""
    structlog.configure(
        processors=processors(terminal=sys.stderr.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _StandardError(),
    )
    root = logging.getLogger()
    if not any(isinstance(each, _Others) for each in root.handlers):
        root.addHandler(_Others(logging.WARNING))
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)  # the engine itself tells of what ends its worker


def processors(*, terminal: bool) -> list[Processor]:
    """What a record goes through until it is text."""
    # the traceback becomes text before addresses are looked for, and with none of the variables' values in it
    plain = structlog.dev.plain_traceback
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_addresses,
        structlog.dev.ConsoleRenderer(exception_formatter=plain)
        if terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def without_addresses(_logger: WrappedLogger, _method: str, record: EventDict) -> EventDict:
    """The record as plain values, its texts redacted and on one line each."""
    clean = {_text(key): _clean(value) for key, value in record.items() if key != "exception"}
    if "exception" in record:
        # lines of a traceback stay lines, but none begins where a record begins
        clean["exception"] = "\n  ".join(_text(line) for line in str(record["exception"]).splitlines())
    return clean


def _clean(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {_text(key): _clean(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
        return [_clean(each, depth + 1) for each in value]
    return _text(value)


def _text(value: Any) -> str:
    return visible(redact(value if isinstance(value, str) else repr(value)))
