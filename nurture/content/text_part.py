"""The text part: what the HTML says, line by line, with its links written out.

Done once a template, on HTML in which sentinels still stand for the Jinja tags. MJML lays mail out in nested tables, so
this reads blocks one below the other instead of drawing the tables; cells of a table with data get bars between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

LINK_OPEN, LINK_CLOSE = "\ue010", "\ue011"
"""Around a link's address, for whoever numbers the links."""

_SKIPPED = frozenset({"head", "style", "script", "title"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table"})
_BLOCKS = frozenset({"div", "tr", "td", "th", "li", "section", "header", "footer", "hr"}) | _PARAGRAPHS
_VOID = frozenset({"br", "img", "hr", "meta", "link", "input", "area", "base", "col", "source", "wbr"})
_HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)


def text_of_html(html: str, statement: re.Pattern[str]) -> str:
    """`statement` finds the sentinels that stand in comments; they stay where they are."""
    reader = _Reader(statement)
    reader.feed(html)
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self, statement: re.Pattern[str]) -> None:
        super().__init__(convert_charrefs=True)
        self._statement = statement
        self._out: list[str] = []
        self._breaks = 0
        self._at_start = True
        self._space = False
        self._skipping: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._link_at: list[tuple[int, str | None]] = []
        self._first_cell = True

    def text(self) -> str:
        return "".join(self._out).strip("\n") + "\n"

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if self._skipping:
            self._skipping += [tag] if tag not in _VOID else []
            return
        if tag in _SKIPPED or _HIDDEN.search(attributes.get("style") or ""):
            self._skipping = [tag] if tag not in _VOID else []
            return
        if tag == "br":
            self._breaks += 1
        elif tag == "img":
            self._words(attributes.get("alt") or "")
        elif tag == "a":
            self._flush()
            self._link_at.append((len(self._out), attributes.get("href")))
        elif tag in ("td", "th") and self._in_data_table():
            self._words("" if self._first_cell else " | ")
            self._first_cell = False
        elif tag in _BLOCKS:
            self._break(self._lines_around(tag))
            self._first_cell = True
            if tag == "li":
                self._words("- ")
        if tag not in _VOID:
            self._open.append((tag, attributes))

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            if tag in self._skipping:
                del self._skipping[len(self._skipping) - 1 - self._skipping[::-1].index(tag) :]
            return
        at = next((at for at in range(len(self._open) - 1, -1, -1) if self._open[at][0] == tag), None)
        if at is None:
            return
        if tag == "a" and self._link_at:
            self._end_link(*self._link_at.pop())
        elif tag in _BLOCKS and not (tag in ("td", "th") and self._in_data_table()):
            self._break(self._lines_around(tag))
        del self._open[at:]

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._words(data)

    def handle_comment(self, data: str) -> None:
        if self._statement.fullmatch(data):
            self._flush()
            self._out.append(data)

    def _end_link(self, start: int, href: str | None) -> None:
        label = "".join(self._out[start:]).strip()
        if not href or href.startswith("#"):
            return
        if label:
            self._words(": ")
            self._flush()
        self._out.append(f"{LINK_OPEN}{href}{LINK_CLOSE}")
        self._at_start = False

    def _in_data_table(self) -> bool:
        table = next((attributes for tag, attributes in reversed(self._open) if tag == "table"), None)
        return table is not None and not _is_layout("table", table)

    def _lines_around(self, tag: str) -> int:
        """A row of the layout is a paragraph, a row of data is a line."""
        apart = tag in _PARAGRAPHS or (tag == "tr" and not self._in_data_table())
        return 2 if apart else 1

    def _break(self, lines: int) -> None:
        self._space = False
        self._breaks = max(self._breaks, lines)

    def _words(self, data: str) -> None:
        words = data.split()
        if not words:
            self._space = self._space or bool(data)
            return
        self._space = self._space or data[0].isspace()
        self._flush()
        self._out.append(" ".join(words))
        self._at_start = False
        self._space = data[-1].isspace()

    def _flush(self) -> None:
        """Write the breaks or the space that were waiting for something to stand after them."""
        if self._breaks and self._out:
            self._out.append("\n" * min(self._breaks, 2))
            self._at_start = True
        elif self._space and not self._at_start:
            self._out.append(" ")
        self._breaks = 0
        self._space = False


def _is_layout(tag: str, attributes: dict[str, str | None]) -> bool:
    return tag == "table" and attributes.get("role") in ("presentation", "none")
