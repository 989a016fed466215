"""Files as people have them: every encoding and delimiter of the wild, broken rows, and what is no CSV at all."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.problem import Problem
from nurture.inbound.csv_file import LONGEST_CELL, LONGEST_LINE, CsvFile, Record


def read(path: Path) -> tuple[list[str], list[Record]]:
    with CsvFile(path) as file:
        return file.columns, list(file)


def rows_of(tmp_path: Path, content: bytes | str) -> tuple[list[str], list[Record]]:
    path = tmp_path / "list.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_every_usual_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    columns, records = rows_of(tmp_path, "Email,Företag\nzoe@x.example,Bücher & Søn\n".encode(encoding))
    assert columns == ["Email", "Företag"]
    assert [record.cells for record in records] == [["zoe@x.example", "Bücher & Søn"]]


def test_windows_dashes_and_quotes_are_read_where_the_file_is_no_utf8(tmp_path: Path) -> None:
    _, records = rows_of(tmp_path, "Email,Name\nzoe@x.example,O’Neil – Zoë\n".encode("cp1252"))
    assert records[0].cells[1] == "O’Neil – Zoë"


def test_one_spoilt_line_does_not_spoil_the_letters_of_the_others(tmp_path: Path) -> None:
    good = "".join(f"{number},Zoë\n" for number in range(5))
    _, records = rows_of(tmp_path, b"Id,Name\n" + good.encode() + b"9,Zo\xeb\n")
    assert [record.cells[1] for record in records[:5]] == ["Zoë"] * 5
    assert records[5].cells[1] == "Zo\udceb"  # kept as it is: a row to be refused, not guessed at


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    lines = [["Email", "Name, first and last", "Plan"], ["zoe@x.example", "Zoë, Dr.", "pro"]]
    text = "".join(delimiter.join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)
    columns, records = rows_of(tmp_path, text)
    assert columns == lines[0]
    assert [record.cells for record in records] == [lines[1]]


def test_the_line_that_excel_writes_for_itself_is_no_header(tmp_path: Path) -> None:
    columns, records = rows_of(tmp_path, "sep=;\r\nEmail;Name\r\nzoe@x.example;Zoë\r\n")
    assert columns == ["Email", "Name"]
    assert records == [Record(3, ["zoe@x.example", "Zoë"])]


def test_line_breaks_in_quotes_belong_to_the_cell_and_lines_are_told_as_an_editor_counts_them(tmp_path: Path) -> None:
    _, records = rows_of(tmp_path, 'Email,Note\na@x.example,"one\r\ntwo\nthree"\n\n\nb@x.example,"say ""hi"""\n')
    assert records == [Record(2, ["a@x.example", "one\r\ntwo\nthree"]), Record(7, ["b@x.example", 'say "hi"'])]


def test_a_row_with_too_few_or_too_many_cells_is_broken_and_the_next_is_read(tmp_path: Path) -> None:
    _, records = rows_of(tmp_path, "Email,Name\na@x.example\nb@x.example,Bo,extra\nc@x.example,Cy\nd@x.example,Di,,\n")
    assert [(record.line, record.fault) for record in records] == [
        (2, "1 cells, the header has 2"),
        (3, "3 cells, the header has 2"),
        (4, ""),
        (5, ""),
    ]
    assert records[3].cells == ["d@x.example", "Di"]


@pytest.mark.parametrize("rest", ["", 'z@x.example,"Zoë"\n', "z@x.example,Zoë\n" * 3_000])
def test_an_open_quote_loses_its_own_line_and_no_other(tmp_path: Path, rest: str) -> None:
    whole = 'Email,Name\na@x.example,Al\nb@x.example,"Bo\nc@x.example,Cy\n' + rest
    _, records = rows_of(tmp_path, whole)
    assert records[0] == Record(2, ["a@x.example", "Al"])
    assert records[1].fault and records[1].line == 3
    assert records[1].cells == ['b@x.example,"Bo']
    assert records[2] == Record(4, ["c@x.example", "Cy"])
    assert len(records) == 3 + rest.count("\n")
    assert not any(record.fault for record in records[2:])


def test_a_quote_inside_a_cell_is_a_sign_and_a_quote_after_one_is_a_fault(tmp_path: Path) -> None:
    _, records = rows_of(tmp_path, 'Email,Screen\na@x.example,27" wide\nb@x.example,"27" wide\nc@x.example,x\n')
    assert [bool(record.fault) for record in records] == [False, True, False]
    assert records[0].cells[1] == '27" wide'


def test_a_cell_or_a_line_without_end_is_one_broken_row_and_takes_no_memory(tmp_path: Path) -> None:
    long_cell = "x" * (LONGEST_CELL + 10)
    long_line = "y" * (3 * LONGEST_LINE + 10)
    _, records = rows_of(tmp_path, f"Email,Name\na@x.example,{long_cell}\n{long_line}\nc@x.example,Cy\n")
    assert [(record.line, bool(record.fault)) for record in records] == [(2, True), (3, True), (4, False)]
    assert all(len(cell) <= LONGEST_CELL for record in records for cell in record.cells)


def test_a_nul_in_a_cell_is_data(tmp_path: Path) -> None:
    _, records = rows_of(tmp_path, "Email,Name\n" + "a@x.example,Al\n" * 20 + "b@x.example,Nul\0byte\n")
    assert records[-1].cells == ["b@x.example", "Nul\0byte"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\r\n\r\n", "empty"),
        (b",,,\n", "empty"),
        (b"PK\x03\x04rest of a spreadsheet", "spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08rest", "compressed"),
        (b"SQLite format 3\0", "database"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "binary"),
        ("Email,Name\n".encode("utf-16-le"), "binary"),
        (b"Email,Name\n" + bytes(range(256)) * 40, "binary"),
        (b'"Email\nnever closed', "header"),
    ],
)
def test_what_is_no_list_is_told_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(Problem) as caught:
        rows_of(tmp_path, content)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "none.csv", "No such file"), (tmp_path, "no regular file")):
        with pytest.raises(Problem, match=told):
            CsvFile(path)


_CELLS = st.text(alphabet="ab,;\"'\r\n\t é😀", max_size=8)


@given(st.lists(st.tuples(st.just("x"), _CELLS, _CELLS), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], end: str
) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("Email", "B", "C"), *rows])
    path = tmp_path_factory.mktemp("csv") / "list.csv"
    path.write_bytes(written.getvalue().encode())
    _, records = read(path)
    assert [tuple(record.cells) for record in records] == rows
