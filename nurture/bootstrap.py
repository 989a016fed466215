"""The one place where settings become concrete parts: the clock, chance, the database, tokens.

Everything below takes what it needs as arguments, so that two months of cadence run in a second.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nurture.content.tokens import Tokens
from nurture.settings import Settings, load_settings, resolve_secret
from nurture.store.database import Database
from nurture.store.migrate import upgrade

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  the only clock there is


def system_random() -> random.Random:
    return random.SystemRandom()


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A workspace with its database open and its secrets resolved."""

    root: Path
    settings: Settings
    database: Database
    clock: Clock
    rng: random.Random

    @property
    def tokens(self) -> Tokens:
        """Signs and verifies with the workspace's secret keys; raises Problem when they are missing."""
        return Tokens(secret_keys(self.settings))


def secret_keys(settings: Settings) -> list[str]:
    references = settings.workspace.secret_key
    return [resolve_secret(each) for each in ([references] if isinstance(references, str) else references)]


def open_installation(root: Path) -> Installation:
    """Read config.toml, open the database and bring its schema up to date. Raises Problem."""
    settings = load_settings(root)
    database = open_database(root, settings)
    return Installation(root=root, settings=settings, database=database, clock=system_clock, rng=system_random())


def open_database(root: Path, settings: Settings) -> Database:
    database = Database(settings.database.url, root=root)
    upgrade(database)
    return database
