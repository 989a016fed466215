"""The CSV of spend: month, channel, campaign, amount, currency. Every row of it is good, or none is taken."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from pathlib import Path

from nurture.domain.problem import Problem
from nurture.store.spend import SpendLine

REQUIRED = ("month", "channel", "amount", "currency")
COLUMNS = (*REQUIRED, "campaign")
LARGEST_FILE = 32 * 1024 * 1024
FINDINGS_SHOWN = 50
LARGEST_AMOUNT = Decimal(10) ** 12

_MONTH = re.compile(r"^(19|20|21)\d\d-(0[1-9]|1[0-2])$", re.ASCII)
_CURRENCY = re.compile(r"^[A-Z]{3}$")
_PLAIN = re.compile(r"^\d+(\.\d+)?$", re.ASCII)
_GROUPED = re.compile(r"^\d{1,3}(,\d{3})+(\.\d{1,2})?$", re.ASCII)
_COMMA = re.compile(r"^\d+,\d+$", re.ASCII)
_GROUPED_COMMA = re.compile(r"^\d{1,3}(\.\d{3})+(,\d{1,2})?$", re.ASCII)
_AMBIGUOUS = re.compile(r"^\d{1,3}[.,]\d{3}$", re.ASCII)


class _BadCell(ValueError):
    """What is wrong with a cell, in words for a person."""


def read_spend(path: Path) -> list[SpendLine]:
    """The file's lines. Raises Problem with every bad row, a line each; then nothing may be imported."""
    text = _text(path)
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[SpendLine] = []
    findings: list[str] = []
    first_seen: dict[tuple[str, str, str], int] = {}
    try:
        places = _places(next(reader, []), path)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            number = reader.line_num
            try:
                line = _line(cells, places)
            except _BadCell as bad:
                findings.append(f"{path.name}:{number}: {bad}")
                continue
            before = first_seen.setdefault(line.key, number)
            if before != number:
                findings.append(f"{path.name}:{number}: repeats line {before} (same month, channel and campaign)")
            lines.append(line)
    except csv.Error as error:
        findings.append(f"{path.name}:{reader.line_num}: {error}")
    if findings:
        raise Problem("\n".join(_shortened(findings)) + "\nnothing was imported: mend these rows and import again")
    return lines


def read_amount(text: str) -> float:
    """'1234.50', '1,234.50', '1234,50' or '1.234,50'. Raises ValueError where it could mean two things, or none."""
    number = text.strip().replace("\u00a0", "").replace("'", "")
    if _AMBIGUOUS.match(number):
        raise _BadCell(f"amount '{text}' can be read in two ways: write it without grouping, e.g. 1234.00")
    if _PLAIN.match(number):
        plain = number
    elif _GROUPED.match(number):
        plain = number.replace(",", "")
    elif _COMMA.match(number):
        plain = number.replace(",", ".")
    elif _GROUPED_COMMA.match(number):
        plain = number.replace(".", "").replace(",", ".")
    else:
        raise _BadCell(f"amount '{text}' is no amount: use e.g. 1234.50")
    if Decimal(plain) > LARGEST_AMOUNT:
        raise _BadCell(f"amount '{text}' is too large")
    return float(plain)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Problem(f"{path}: larger than 32 MiB: this is no list of monthly spend")
        content = path.read_bytes()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror or error}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(path, content, "utf-16")
    if b"\0" in content:
        raise Problem(f"{path}: this is no text: save the sheet as CSV")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise Problem(f"{path}: this is no text: save the sheet as CSV in UTF-8") from None


def _delimiter(text: str) -> str:
    """The header says it: it holds none of these characters in a name."""
    header = text.split("\n", 1)[0]
    return max(",;\t", key=header.count)


def _places(header: list[str], path: Path) -> dict[str, int]:
    names = [cell.strip().lower() for cell in header]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise Problem(
            f"{path.name}:1: no column {' and no column '.join(missing)}: "
            "the first line must read month,channel,campaign,amount,currency"
        )
    return {name: names.index(name) for name in COLUMNS if name in names}


def _line(cells: list[str], places: dict[str, int]) -> SpendLine:
    def cell(name: str) -> str:
        place = places.get(name)
        return cells[place].strip() if place is not None and place < len(cells) else ""

    month, channel, currency = cell("month"), cell("channel"), cell("currency").upper()
    if not _MONTH.match(month):
        raise _BadCell(f"month '{month}' is no month: use YYYY-MM, e.g. 2026-11")
    if not channel:
        raise _BadCell("the channel is missing")
    if not _CURRENCY.match(currency):
        raise _BadCell(f"currency '{currency}' is no currency: use its three letters, e.g. EUR")
    if any(not char.isprintable() for char in channel + cell("campaign")):
        raise _BadCell("channel or campaign holds a control character")
    return SpendLine(
        month=month, channel=channel, campaign=cell("campaign"), amount=read_amount(cell("amount")), currency=currency
    )


def _shortened(findings: list[str]) -> list[str]:
    rest = len(findings) - FINDINGS_SHOWN
    return findings if rest <= 0 else [*findings[:FINDINGS_SHOWN], f"… and {rest} more"]
