"""Links of one letter: checked, numbered in the order of the document, and led through the tracker.

A destination may hold slots, so it is known only when the letter is rendered. A slot never changes where a link goes:
before it stands either the whole host, or nothing (then the address it makes must be http or https).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from markupsafe import Markup, escape

from nurture.content.filters import text_of
from nurture.content.problems import RenderProblem
from nurture.content.quoted_printable import SOFT_BREAK, encode, encode_inline

# each way of writing a letter is spelled out: re.IGNORECASE makes them several times slower
WEB = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?(?:[/?#]|\Z)")
COMPLETE_HOST = re.compile(r"https?://[^/?#\s\\@]+[/?#]", re.IGNORECASE)
_OTHER = re.compile(r"(?:mailto|tel|sms):[^\s\"<>]+\Z|#[\w.:-]*\Z", re.IGNORECASE)
_URL_SAFE = re.compile(r"[!#-;=?-\[\]_a-z~]*\Z")  # not " < > \ ^ ` { | } and nothing beyond ASCII
CLICK_BASE = re.compile(r"https?://[\w.~:/%@-]+\Z", re.ASCII)
LENGTH_LIMIT = 2000


@dataclass(frozen=True, kw_only=True)
class LinkStyle:
    """What becomes of a letter's links.

    `click_base`: link number i becomes `CLICK_BASE-i`, and the honeypot `CLICK_BASE-h`; None: not tracked.
    `open_url`: the pixel. `one_click_url`: the RFC 8058 pair; None: the letter has none.
    `utm`: parameters added to destinations on `own_domains` (and below them).
    """

    click_base: str | None = None
    open_url: str | None = None
    unsubscribe_url: str
    preferences_url: str
    one_click_url: str | None = None
    utm: tuple[tuple[str, str], ...] = ()
    own_domains: frozenset[str] = field(default_factory=frozenset)


class LinkCollector:
    """Called by a template for each link; remembers the destinations and answers what stands in the letter.

    The text part replays the HTML part's links: `known` are their destinations, in order.
    """

    __slots__ = ("_encoded_base", "_escaped", "_known", "_new", "_style", "_untracked", "found")

    def __init__(
        self,
        style: LinkStyle,
        *,
        encoded_base: str | None,
        untracked: Sequence[str],
        escaped: bool = True,
        known: Sequence[str] | None = None,
    ) -> None:
        self.found: list[str] = []
        self._style = style
        self._encoded_base = encoded_base
        self._untracked = untracked
        self._escaped = escaped
        self._known = known
        self._new: list[str] = []

    def fixed(self, url: str, encoded: str) -> str:
        """A link whose destination is the template's own; `encoded` is it as it stands in an untracked letter."""
        if self._style.utm or url in self._untracked:
            return self(url)
        found = self.found
        number = len(found) if self._known is None else self._number(url)
        found.append(url)
        return encoded if self._encoded_base is None else f"{self._encoded_base}-{number}{SOFT_BREAK}"

    def __call__(self, *parts: Any) -> str:
        """A link made of literal parts and slots."""
        written = "".join([part if type(part) is str else text_of(part) for part in parts])
        url = destination(written)
        if written in self._untracked or url[:4].lower() != "http":
            return encode_url(url, self._escaped)
        if self._style.utm:
            url = with_utm(url, self._style.utm, self._style.own_domains)
        number = self._number(url)
        self.found.append(url)
        if self._encoded_base is None:
            return encode_url(url, self._escaped)
        return f"{self._encoded_base}-{number}{SOFT_BREAK}"

    def appended(self) -> list[str]:
        """Destinations that only the text part has."""
        return self._new

    def _number(self, url: str) -> int:
        number = len(self.found)
        known = self._known
        if known is None or (number < len(known) and known[number] == url):
            return number
        if url in known:
            return known.index(url)
        if url not in self._new:
            self._new.append(url)
        return len(known) + self._new.index(url)


def destination(written: str) -> str:
    """The checked address of a link, free of `< > "`: what no address has is percent-encoded. Raises RenderProblem."""
    url = written.strip()
    if not _URL_SAFE.match(url):
        url = quote(url, safe="!#$%&'()*+,/:;=?@[]~", errors="replace")
    if len(url) > LENGTH_LIMIT:
        raise RenderProblem(f"a link is longer than {LENGTH_LIMIT} characters")
    if not (WEB.match(url) or _OTHER.match(url)):
        raise RenderProblem(f'a link goes to "{written[:60]}"; write a whole http(s) address')
    return url


def encode_url(url: str, escaped: bool) -> str:
    """A checked address, encoded; in an attribute (`escaped`) or in text."""
    return encode(url.replace("&", "&amp;").replace("'", "&#39;") if escaped else url)


@lru_cache(maxsize=4096)
def with_utm(url: str, utm: tuple[tuple[str, str], ...], own_domains: frozenset[str]) -> str:
    """The address with the parameters it does not have yet, where its host is one of ours."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if not any(host == domain or host.endswith(f".{domain}") for domain in own_domains):
        return url
    present = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    added = urlencode([(name, value) for name, value in utm if name not in present])
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, added)))))


def encoded_click_base(click_base: str | None) -> str | None:
    """The base as quoted-printable with room for `-12345`; the same in HTML and text."""
    if click_base is None:
        return None
    if not CLICK_BASE.match(click_base):
        raise RenderProblem(f"{click_base!a} can't be the base of tracked links")
    return encode_inline(click_base, room=7)


Slot = Callable[[Any], str]
_PLAIN_HTML = re.compile(r"[ !#-%(-\-/-;?-~][ !#-%(-;?-~]{0,71}\Z").match


def html_slot(value: Any) -> str:
    """A slot in HTML: escaped, then encoded. The first line is the way that nearly every value takes."""
    if type(value) is str and _PLAIN_HTML(value):
        return value + SOFT_BREAK
    return encode(value if type(value) is Markup else str(escape(printed(value))))


def text_slot(value: Any) -> str:
    """A slot in the text part."""
    return encode(printed(value))


def printed(value: Any) -> str:
    """A value as text of any length. A missing one raises, naming its field."""
    if type(value) is str:
        return value
    if type(value) is Markup:
        return value.unescape()
    return text_of(value)
