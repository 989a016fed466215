"""A real server on a free loopback port, and a real browser where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nurture.content.tokens import Tokens
from nurture.domain.lifecycle import Lifecycle
from nurture.settings import Settings
from nurture.store.database import Database
from nurture.web.public import PublicParts
from tests.web.served_world import FIREFOX, FORMS, OFFERS, PDF, SETTINGS, Clock, Served, World


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    ends: list[Callable[[], None]] = []

    def make(database: Database, **tables: Any) -> World:
        root = tmp_path / "workspace"
        (root / "offers").mkdir(parents=True, exist_ok=True)
        (root / "offers" / "reporting-guide.pdf").write_bytes(PDF)
        (tmp_path / "secret.txt").write_text("not yours")
        clock, tokens = Clock(), Tokens(["a secret of the tests"])
        settings = Settings.model_validate(SETTINGS | tables)
        parts = PublicParts(
            database=database,
            settings=settings,
            tokens=tokens,
            clock=clock,
            forms=FORMS,
            offers=OFFERS,
            lifecycle=Lifecycle(),
            root=root,
        )
        served = Served(parts)
        client = httpx.Client(base_url=f"http://{served.address}", headers={"user-agent": FIREFOX}, timeout=20)
        ends.extend([served.stop, client.close])
        return World(
            root=root,
            database=database,
            settings=settings,
            clock=clock,
            tokens=tokens,
            client=client,
            address=served.address,
        )

    yield make
    for end in reversed(ends):
        end()


@pytest.fixture
def world(make_world: Callable[..., World], sqlite_database: Database) -> World:
    return make_world(sqlite_database)


CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser; where there is none the test is skipped, unless NURTURE_REQUIRE_BROWSER=1 says it must run."""
    try:
        from playwright.sync_api import sync_playwright

        if not CHROMIUM.exists():
            raise FileNotFoundError(f"no browser at {CHROMIUM}")
    except (ImportError, FileNotFoundError) as error:
        if os.environ.get("NURTURE_REQUIRE_BROWSER") == "1":
            raise
        pytest.skip(f"no browser: {error}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()
