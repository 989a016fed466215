"""The picture of a simulation: sound HTML without scripts, whatever a cadence is called, and the document's numbers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from nurture.cli.main import app
from tests.engine.world import HEAD, make_root, steps

HOSTILE = '</title></svg><script>alert(1)</script><img src=x onerror="alert(2)"> & more'
VOID = ("meta", "br", "img", "link", "input", "hr")


class Page(HTMLParser):
    """Reads a page strictly: every element that opens is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} says an attribute twice"
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, tag: str) -> list[str]:
        return [data for within, data in self.texts if within == tag]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    """The document and the picture of the same run."""
    folder = tmp_path_factory.mktemp("picture")
    title = json.dumps(HOSTILE)
    tour = HEAD.replace("A cadence", title) + steps("mail:a", "wait: 1 day", "mail:b", "tag: '<b>done</b>'")
    root = make_root(folder / "workspace", tour=tour)
    leads, picture = folder / "leads.csv", folder / "weeks.html"
    leads.write_text("Email,Consent\n" + "".join(f"reader{number}@example.com,yes\n" for number in range(40)))
    asked = ["simulate", "-C", root, "--days", 3, "--from", "2026-11-03", "--runs", 1, "--json"]
    result = CliRunner().invoke(app, [*map(str, asked), "--leads", str(leads), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), picture.read_text(encoding="utf-8")


def test_it_is_sound_and_fetches_and_runs_nothing(played: tuple[dict[str, object], str]) -> None:
    page = Page(played[1])
    tags = {tag for tag, _ in page.seen}
    assert {"html", "svg", "table"} <= tags
    assert not tags & {"script", "img", "link", "iframe", "object"}
    assert not [name for _, attributes in page.seen for name in attributes if name.startswith("on") or name == "src"]
    assert "http" not in re.sub(r"http-equiv", "", played[1])


def test_a_hostile_title_is_text(played: tuple[dict[str, object], str]) -> None:
    page = Page(played[1])
    assert any(HOSTILE in text for text in page.text("h3"))
    assert any("<b>done</b>" in data for _, data in page.texts)
    assert sum(tag == "title" for tag, _ in page.seen) == 1 + sum(tag == "path" for tag, _ in page.seen)


def test_its_numbers_are_those_of_the_document(played: tuple[dict[str, object], str]) -> None:
    document, text = played
    told = {day["date"]: day["sends"]["p50"] for day in document["days"]}  # type: ignore[attr-defined]
    assert len(told) == 3 and sum(told.values()) > 50
    rows = re.findall(r'<time datetime="([\d-]+)">.*?</tr>', text)
    drawn = {}
    for row in re.findall(r"<tr[^>]*><th scope=\"row\"><time.*?</tr>", text):
        (day,) = re.findall(r'datetime="([\d-]+)"', row)
        hours = sum(int(count) for count in re.findall(r'<td class="h\d" title="(\d+)"', row))
        (total,) = re.findall(r'<td class="total">(?:<small>)?(\d+)', row)
        assert hours == int(total)
        drawn[day] = hours
    assert len(rows) == 3 and drawn == told
    figures = dict(zip(Page(text).text("dt"), Page(text).text("dd"), strict=True))
    assert figures["mails"] == str(sum(told.values()))
    assert figures["times a cap stood in the way"] == str(document["capped"])
    assert f"tour · {document['enrolled']['tour']['p50']} leads" in text  # type: ignore[index]
