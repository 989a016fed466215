"""What every page of the public listener shares: the parts, the pages' look, and the way into the database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from nurture.content.assets import Assets
from nurture.content.tokens import Tokens
from nurture.domain.forms import Form, Offer
from nurture.domain.lifecycle import Lifecycle
from nurture.pipeline.outgoing import LetterWriter
from nurture.settings import Settings, resolve_secret
from nurture.store.database import Database
from nurture.store.hits import RawHit, Recorded, record_hits
from nurture.web.recorder import HitRecorder
from nurture.web.security import network_address, read_networks
from nurture.web.words import choose_language, words_for

PAGES = Path(__file__).parent / "pages"
DATABASE_THREADS = 8
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class PublicParts:
    """What the public listener is made of. `root` is the workspace; offers' files lie under it."""

    database: Database
    settings: Settings
    tokens: Tokens
    clock: Callable[[], datetime]
    forms: Mapping[str, Form]
    offers: Mapping[str, Offer]
    lifecycle: Lifecycle
    root: Path


class Site:
    """The parts, with what is made of them once."""

    def __init__(self, parts: PublicParts) -> None:
        self.parts = parts
        self.networks = read_networks(parts.settings.web.trusted_proxies)
        self.style = (PAGES / "page.css").read_bytes()
        self.style_path = f"/s/{hashlib.sha256(self.style).hexdigest()[:16]}/page.css"
        self.pages = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._threads = anyio.CapacityLimiter(DATABASE_THREADS)
        self.recorder = HitRecorder(self._record)
        self.assets = Assets(parts.root)
        self.letters: LetterWriter | None = None

    def now(self) -> datetime:
        return self.parts.clock()

    def secrets(self) -> list[str]:
        """The workspace's secret keys. Raises Problem where one is missing."""
        references = self.parts.settings.workspace.secret_key
        return [resolve_secret(each) for each in ([references] if isinstance(references, str) else references)]

    async def in_thread(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Run what waits for the database outside the event loop."""
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)

    def network_address(self, request: Request) -> str:
        return network_address(request, self.networks)

    def language(self, request: Request, preferred: str | None = None) -> str:
        """The language of a page: what is known of the reader, else what the browser asks for, else the workspace's."""
        asked = request.headers.get("accept-language", "")
        return choose_language(preferred, asked, self.parts.settings.workspace.language)

    def page(
        self,
        template: str,
        *,
        language: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """A page of the workspace, never kept by caches."""
        html = self.pages.get_template(template).render(
            workspace=self.parts.settings.workspace,
            words=words_for(language),
            language=language,
            style_path=self.style_path,
            **values,
        )
        return HTMLResponse(html, status_code=status, headers=dict(headers or {}))

    def notice(
        self, request: Request, key: str, *, status: int, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> Response:
        """A plain page that says what is wrong: `KEY_title` and `KEY_text` of the words."""
        language = self.language(request)
        words = words_for(language)
        return self.page(
            "notice.html",
            language=language,
            status=status,
            headers=headers,
            title=words[f"{key}_title"],
            text=words[f"{key}_text"],
            hint=hint,
        )

    async def _record(self, hits: Sequence[RawHit]) -> list[Recorded]:
        return await self.in_thread(self._record_now, hits)

    def _record_now(self, hits: Sequence[RawHit]) -> list[Recorded]:
        with self.parts.database.transaction() as connection:
            return record_hits(connection, hits, now=self.now())


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site
