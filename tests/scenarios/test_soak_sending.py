"""The soak at full rate in small, and that what grows would be found."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from bench.machine import found
from soak.sending import Sample, judge
from tests.conftest import DATA

FLAT = Sample(rate=5_000, memory=90, files=40, threads=6, log=4)
WORSE = {"rate": 4_000.0, "memory": 100.0, "files": 50, "threads": 7, "log": 9.0}


@pytest.mark.parametrize("waited", ["0", "120"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_letters_go_out_and_the_queue_is_filled_again(database: str, waited: str) -> None:
    if found("smtp-sink") is None:
        pytest.skip("Postfix is not installed: apt-get install postfix")
    given = ["--minutes", "0.06", "--every", "0.2", "--leads", "8", "--waited", waited]
    given += ["--postgresql"] * (database == "postgresql")
    command = [sys.executable, "-m", "soak.sending", *given]
    done = subprocess.run(command, cwd=DATA.parent.parent, capture_output=True, text=True, timeout=300, check=False)
    told = re.search(r"soak: ([\d,]+) sent in 0\.1 minutes", done.stdout)
    assert told is not None, done.stdout + done.stderr
    assert int(told[1].replace(",", "")) > 8, "the queue began with so many"
    assert "neither sent nor left" not in done.stdout
    assert "ended with code" not in done.stdout


def test_what_stays_as_it_is_is_flat() -> None:
    start = replace(FLAT, memory=60, files=4, rate=100)
    assert judge([start] * 4 + [FLAT] * 12) == []


@pytest.mark.parametrize("name", WORSE)
def test_what_grew_is_found(name: str) -> None:
    worse = replace(FLAT, **{name: WORSE[name]})
    assert [line.partition(":")[0] for line in judge([FLAT] * 12 + [worse] * 4)] == [name]
    assert judge([worse] * 4 + [FLAT] * 12) == [], "how it began is nobody's business"


def test_what_got_better_is_no_finding() -> None:
    better = Sample(rate=9_000, memory=50, files=10, threads=2, log=1)
    assert judge([FLAT] * 12 + [better] * 4) == []


def test_too_few_looks_prove_nothing() -> None:
    assert judge([FLAT] * 3) == ["3 looks are too few to tell: let it run for longer"]
