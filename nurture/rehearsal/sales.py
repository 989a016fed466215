"""Simulated sales reps: they claim alerts from their mail, meet, win and lose, by a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

from nurture.rehearsal.readers import Act, Letter

_ANSWER = re.compile(r'href="([^"]*/a/[^"]+)"')


class Reps:
    """Plays everybody whose address is a rep's."""

    def __init__(self, *, seed: int, addresses: Iterable[str]) -> None:
        self._seed = seed
        self._addresses = frozenset(address.lower() for address in addresses)

    def knows(self, address: str) -> bool:
        return address.lower() in self._addresses

    def read(self, letter: Letter) -> Iterator[Act]:
        """Most alerts are claimed within hours; of those, some become meetings, and of those some are won."""
        found = _ANSWER.search(letter.html)
        if found is None:
            return
        page = _page(found[1].replace("&amp;", "&"))
        rng = random.Random(f"{self._seed}:{letter.to}:{letter.subject}")
        at = letter.at + timedelta(minutes=rng.uniform(5, 240))
        if rng.random() < 0.15:
            yield _answer(letter, page, at, answer="reject", reason=rng.choice(["timing", "budget", "not_a_fit"]))
            return
        yield _answer(letter, page, at, answer="claim")
        if rng.random() < 0.7:
            met = at + timedelta(days=rng.uniform(1, 4))
            yield _answer(letter, page, met, answer="meeting")
            decided = met + timedelta(days=rng.uniform(2, 8))
            if rng.random() < 0.45:
                value = str(rng.randrange(20, 120) * 100)
                yield _answer(letter, page, decided, answer="won", value=value, currency="EUR")
            elif rng.random() < 0.5:
                yield _answer(letter, page, decided, answer="lost")


def _page(url: str) -> str:
    """The address of the page itself, without what it preselects."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def _answer(letter: Letter, page: str, at: datetime, **form: str) -> Act:
    return Act(at=at, kind="answer", who=letter.to, url=page, form=form)
