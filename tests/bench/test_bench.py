"""Every benchmark runs and finds a ratio. What it is, a test can't know: the machine does other things as well."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, PAGE, main, section, with_section
from bench.machine import found
from bench.rows import Row, at_least, at_most, read_rows, tell

ROOT = Path(__file__).parent.parent.parent
RUNNABLE = [
    each
    for each in BENCHMARKS
    if all(found(program) for program in each.needs) and each.name != "due-postgresql"  # as `due`, behind a server
]
ROW = re.compile(r"^\| (?P<work>[^|]+) \| (?P<limit>[^|]+) \| (?P<result>[^|]+) \| (?P<ratio>[\d.]+)", re.MULTILINE)


@pytest.mark.slow
def test_every_benchmark_runs_and_finds_a_ratio() -> None:
    page = PAGE.read_text(encoding="utf-8")
    command = [sys.executable, "-m", "bench", "--quick", *(each.name for each in RUNNABLE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {each.name: done.stdout.partition(f"\n{each.name}\n")[2].partition("\n\n")[0] for each in RUNNABLE}
    assert [name for name, lines in told.items() if "ratio" not in lines] == [], done.stdout
    rows = list(ROW.finditer(done.stdout))
    assert len(rows) >= len(RUNNABLE), done.stdout
    assert [row["work"] for row in rows if float(row["ratio"]) <= 0] == []
    assert PAGE.read_text(encoding="utf-8") == page, "a try must not write the page"


@pytest.mark.parametrize("module", sorted({each.module for each in BENCHMARKS}))
def test_help_tells_and_measures_nothing(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        import_module(f"bench.{module}").main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m bench.{module} ")


def test_a_name_that_is_no_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "sned"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no benchmark 'sned': there are send, " in capsys.readouterr().err


FAST = Row(work="send", limit="peer: 10 a|s", result="30/s", ratios=(2.9, 3.0, 3.2), goal=at_least(3), note="how")
SLOW = Row(work="due", limit="1 ms", result="2 ms", ratios=(2.0,), goal=at_most(1.5))
BESIDE = Row(work="compose", limit="1 ms", result="2 ms", ratios=(20.0,))


def test_the_median_of_the_rounds_meets_the_goal_or_not() -> None:
    made = section([FAST, SLOW, BESIDE], machine=["two cores"], on=date(2026, 11, 2))
    assert made.splitlines() == [
        "Measured on 2026-11-02:",
        "",
        "- two cores",
        "",
        "| work | limit or peer | nurture | ratio | goal | how |",
        "| --- | --- | --- | --- | --- | --- |",
        "| send | peer: 10 a\\|s | 30/s | 3.00 (2.90–3.20) | ≥ 3: met | how |",
        "| due | 1 ms | 2 ms | 2.00 | ≤ 1.5: **not met** |  |",
        "| compose | 1 ms | 2 ms | 20.0 |  |  |",
    ]


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = PAGE.read_text(encoding="utf-8")
    once = with_section(page, "a table")
    assert once != page
    assert with_section(with_section(page, "another"), "a table") == once
    outside = re.compile(r"begin -->.*<!--", re.DOTALL)
    assert outside.sub("", once) == outside.sub("", page)
    with pytest.raises(SystemExit, match="its two marks are gone"):
        with_section("no marks here", "a table")


def test_rows_come_back_from_their_file_as_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell([FAST, SLOW, BESIDE], tmp_path / "rows.json")
    assert read_rows(tmp_path / "rows.json") == [FAST, SLOW, BESIDE]
    assert "send: 30/s; peer: 10 a|s; ratio 3.00 (2.90 to 3.20), goal ≥ 3, met [how]" in capsys.readouterr().out
