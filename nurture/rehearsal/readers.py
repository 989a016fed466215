"""Simulated readers: people and scanners who act on what is in their mail, by a seed.

They know nothing of the database: like real readers they see an address, a subject and links. A person's interest is
drawn once from the address, so that the same seed plays the same weeks.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36"
SCANNER = "Mozilla/5.0 (compatible; BarracudaLinkProtect)"
SCANNED_SHARE = 0.15
_LINK = re.compile(r'href="([^"]+)"')
_PIXEL = re.compile(r'src="([^"]+/o/[^"]+)"')


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something done at a moment: a request to the public listener, or a fact told by another system."""

    at: datetime
    kind: Literal["get", "head", "one_click", "fact", "answer"]
    who: str
    url: str = ""
    user_agent: str = BROWSER
    network_address: str = ""
    fact: str = ""
    path: str = ""
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What a reader sees of a message."""

    to: str
    subject: str
    html: str
    list_unsubscribe: str | None
    at: datetime


class Readers:
    """Plays everybody. `appeal` raises the interest in subjects that carry a word."""

    def __init__(self, *, seed: int, public_url: str, appeal: dict[str, float]) -> None:
        self._seed = seed
        self._public = public_url
        self._appeal = appeal
        self._clicks: dict[str, int] = {}

    def read(self, letter: Letter) -> Iterator[Act]:
        """What comes of this letter, in the order of time."""
        rng = random.Random(f"{self._seed}:{letter.to}:{letter.subject}:{letter.at}")
        if self._is_scanned(letter.to):
            yield from self._scan(letter, rng)
        yield from self._person(letter, rng)

    def _is_scanned(self, address: str) -> bool:
        """Whole companies stand behind a gateway that looks at every link."""
        domain = address.rpartition("@")[2]
        return random.Random(f"{self._seed}:gateway:{domain}:{address[:2]}").random() < SCANNED_SHARE

    def _scan(self, letter: Letter, rng: random.Random) -> Iterator[Act]:
        for place, url in enumerate(self._links(letter)):
            kind: Literal["get", "head"] = "head" if rng.random() < 0.3 else "get"
            at = letter.at + timedelta(seconds=1 + place * 0.4)
            agent = SCANNER if rng.random() < 0.5 else BROWSER
            yield Act(at=at, kind=kind, who=letter.to, url=url, user_agent=agent, network_address="198.51.100.7")

    def _person(self, letter: Letter, rng: random.Random) -> Iterator[Act]:
        interest = random.Random(f"{self._seed}:interest:{letter.to}").betavariate(1.8, 2.2)
        boost = 1 + sum(more for word, more in self._appeal.items() if word in letter.subject)
        opened = letter.at + timedelta(hours=rng.expovariate(1 / 3) + 0.05)
        address = f"203.0.113.{random.Random(letter.to).randrange(1, 254)}"
        pixel = _PIXEL.search(letter.html)
        if rng.random() > 0.35 + 0.6 * interest:
            return
        if pixel:
            yield Act(at=opened, kind="get", who=letter.to, url=_plain(pixel[1]), network_address=address)
        if rng.random() < 0.01 and letter.list_unsubscribe:
            yield Act(
                at=opened + timedelta(minutes=1),
                kind="one_click",
                who=letter.to,
                url=letter.list_unsubscribe,
                network_address=address,
            )
            return
        links = self._links(letter)
        if not links or rng.random() > min(0.9, 0.7 * interest * boost):
            return
        clicked = opened + timedelta(seconds=rng.uniform(20, 300))
        yield Act(at=clicked, kind="get", who=letter.to, url=links[0], network_address=address)
        yield from self._visit(letter.to, clicked, interest, rng)

    def _visit(self, who: str, clicked: datetime, interest: float, rng: random.Random) -> Iterator[Act]:
        """What the website and the product tell of a reader who came by."""
        self._clicks[who] = self._clicks.get(who, 0) + 1
        after = clicked + timedelta(minutes=rng.uniform(1, 20))
        if rng.random() < 0.3 + interest / 2:
            yield Act(at=after, kind="fact", who=who, fact="page viewed", path="/pricing")
        if self._clicks[who] >= 2 and rng.random() < interest / 2:
            yield Act(at=after + timedelta(minutes=5), kind="fact", who=who, fact="demo requested")

    def _links(self, letter: Letter) -> list[str]:
        """Tracked links as a reader sees them: not the bait that only machines follow."""
        found = [_plain(url) for url in _LINK.findall(letter.html)]
        return [url for url in found if f"{self._public}/c/" in url and not url.endswith("-h")]


def _plain(url: str) -> str:
    return url.replace("&amp;", "&")
