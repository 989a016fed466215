"""The CSV of spend as people export it, and every bad row told at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.domain.problem import Problem
from nurture.inbound.spend_file import read_amount, read_spend
from nurture.store.spend import SpendLine

HEADER = "month,channel,campaign,amount,currency\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "spend.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def told(path: Path) -> list[str]:
    with pytest.raises(Problem) as problem:
        read_spend(path)
    return str(problem.value).splitlines()


def test_a_plain_file(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "2026-11,content,Reporting guide,1200.50,EUR\n2026-11,paid search,,300,eur\n\n")
    assert read_spend(path) == [
        SpendLine(month="2026-11", channel="content", campaign="Reporting guide", amount=1200.5, currency="EUR"),
        SpendLine(month="2026-11", channel="paid search", campaign="", amount=300.0, currency="EUR"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + HEADER + "2026-11,content,,1200.50,EUR\n").encode(),
        b"month;channel;campaign;amount;currency\r\n2026-11;content;;1200,50;EUR\r\n",
        b"Currency\tAmount\tChannel\tMonth\nEUR\t1,200.50\tcontent\t2026-11\n",
        (HEADER + '2026-11,content,,"1.200,50",EUR\n').encode("utf-16"),
    ],
    ids=["byte-order mark", "semicolons and a decimal comma", "tabs, other order, no campaign", "UTF-16"],
)
def test_as_spreadsheets_write_it(tmp_path: Path, content: bytes) -> None:
    (line,) = read_spend(write(tmp_path, content))
    assert (line.month, line.channel, line.amount, line.currency) == ("2026-11", "content", 1200.5, "EUR")


def test_latin_1(tmp_path: Path) -> None:
    (line,) = read_spend(write(tmp_path, (HEADER + "2026-11,Anzeigen für Köln,,1,EUR\n").encode("latin-1")))
    assert line.channel == "Anzeigen für Köln"


def test_every_bad_row_is_told_and_nothing_taken(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HEADER
        + "November,content,,1,EUR\n2026-11,,,1,EUR\n2026-11,ok,,1,EUR\n2026-11,x,,-5,EUR\n"
        + "2026-11,y,,1,Euro\n2026-11,ok,,2,EUR\n2026-11,z,,\n",
    )
    assert told(path) == [
        "spend.csv:2: month 'November' is no month: use YYYY-MM, e.g. 2026-11",
        "spend.csv:3: the channel is missing",
        "spend.csv:5: amount '-5' is no amount: use e.g. 1234.50",
        "spend.csv:6: currency 'EURO' is no currency: use its three letters, e.g. EUR",
        "spend.csv:7: repeats line 4 (same month, channel and campaign)",
        "spend.csv:8: currency '' is no currency: use its three letters, e.g. EUR",
        "nothing was imported: mend these rows and import again",
    ]


def test_thousands_of_bad_rows_are_not_all_told(tmp_path: Path) -> None:
    lines = told(write(tmp_path, HEADER + "bad,row,,1,EUR\n" * 5_000))
    assert len(lines) == 52
    assert lines[50] == "… and 4950 more"


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1234.5", 1234.5), ("1,234.50", 1234.5), ("1.234,50", 1234.5), ("12,5", 12.5), ("0", 0.0), ("1'234.50", 1234.5)],
)
def test_amounts(text: str, amount: float) -> None:
    assert read_amount(text) == amount


@pytest.mark.parametrize("text", ["1,234", "1.234", "", "nan", "inf", "1e9", "-1", "€5", "1,2,3", "9" * 30, "٣"])
def test_what_is_no_amount_or_could_be_two(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        read_amount(text)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "spend.csv:1: no column month and no column channel"),
        (b"month,channel\n", "spend.csv:1: no column amount and no column currency"),
        (b"\x89PNG\r\n\x00\x00", "this is no text"),
        (b"\xff\xfe\x00", "this is no text"),
        ((HEADER + '2026-11,"open quote,,1,EUR\n').encode(), "spend.csv:2: unexpected end of data"),
        ((HEADER + "2026-11,a\x07b,,1,EUR\n").encode(), "spend.csv:2: channel or campaign holds a control character"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, line: str) -> None:
    assert line in told(write(tmp_path, content))[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert told(tmp_path / "nowhere.csv") == [f"{tmp_path}/nowhere.csv: No such file or directory"]
    assert told(tmp_path) == [f"{tmp_path}: Is a directory"]
