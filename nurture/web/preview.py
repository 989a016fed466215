"""`nurture preview`: pages on loopback that show each step's mail, and show it again when a file changes.

They show leads' data and have no login, so they answer only to this machine's own names (a page elsewhere could else
reach them through a name that resolves to 127.0.0.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from nurture.content.assets import Assets
from nurture.content.workspace_files import content_type
from nurture.documents.finding import Finding
from nurture.domain.cadence import Cadence, Email
from nurture.domain.problem import Problem
from nurture.settings import CONFIG
from nurture.web.preview_desk import (
    BARE,
    FULL,
    Desk,
    Look,
    Shelf,
    Sight,
    find_shown,
    framed,
    has_dark_colours,
    problem_of,
)
from nurture.web.site import PAGES

HOSTS = ["127.0.0.1", "localhost"]
LOOKS_A_SECOND = 4
POLL_SECONDS = 20
SCREENS = {"desktop": 600, "phone": 320, "text": 600}
"""How wide the letter is shown, in pixels."""
_ASSETS = {"preview.css": "text/css", "preview.js": "text/javascript"}


class Preview:
    """The pages over one desk. `closing` ends the requests that wait for a change."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.closing = False
        self._assets = Assets(desk.root)
        self._pages = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.overview),
                Route("/step/{cadence}/{step}", self.step),
                Route("/changed", self.changed),
                Route("/s/{digest}/{name:path}", self.picture),
                Route("/{asset}", self.asset),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
        )

    # --- routes

    async def overview(self, _request: Request) -> Response:
        return await anyio.to_thread.run_sync(self._overview)

    async def step(self, request: Request) -> Response:
        return await anyio.to_thread.run_sync(self._step, request)

    async def changed(self, request: Request) -> Response:
        """Answers when the files differ from `since`, or after a while."""
        since, stamp = request.query_params.get("since", ""), ""
        for _ in range(POLL_SECONDS * LOOKS_A_SECOND):
            stamp = await anyio.to_thread.run_sync(self.desk.stamp)
            if stamp != since or self.closing:
                break
            await asyncio.sleep(1 / LOOKS_A_SECOND)
        return JSONResponse({"stamp": stamp}, headers={"cache-control": "no-store"})

    async def asset(self, request: Request) -> Response:
        name = request.path_params["asset"]
        if name not in _ASSETS:
            return Response(status_code=404)
        return Response((PAGES / name).read_bytes(), media_type=_ASSETS[name], headers={"cache-control": "no-cache"})

    async def picture(self, request: Request) -> Response:
        """A file of `assets/`, which readers get from the public listener."""
        name = request.path_params["name"]
        path = await anyio.to_thread.run_sync(self._assets.find, request.path_params["digest"], name)
        if path is None:
            return Response(status_code=404)
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
        return FileResponse(path, media_type=content_type(name), headers=headers)

    # --- pages, in a thread

    def _overview(self) -> Response:
        return self._page("preview.html", self.desk.shelf())

    def _step(self, request: Request) -> Response:
        shelf = self.desk.shelf()
        found = find_shown(shelf, request.path_params["cadence"], request.path_params["step"])
        if found is None:
            return self._unreadable(shelf, request.path_params["cadence"])
        cadence, step = found
        asked = request.query_params
        lead = asked.get("lead", "").strip() or FULL
        look = Look(lead=lead, variant=asked.get("variant"), language=asked.get("language"))
        try:
            sight = self.desk.see(shelf, cadence, step, look)
        except Problem as problem:
            sight = problem_of(problem)
        return self._shown(shelf, cadence, step, sight, Choices(request, cadence, step))

    def _unreadable(self, shelf: Shelf, cadence: str) -> Response:
        """While a file has a mistake its page stays, and tells it; what is nowhere leads to the list."""
        file = f"cadences/{cadence}.yaml"
        about = [finding for finding in shelf.findings if finding.file in (file, CONFIG) and finding.level == "error"]
        return self._page("preview_unreadable.html", shelf, file=file, about=about) if about else RedirectResponse("/")

    def _shown(self, shelf: Shelf, cadence: Cadence, step: Email, sight: Sight, choices: Choices) -> Response:
        html = sight.proof.letter.html if sight.proof else ""
        return self._page(
            "preview_step.html",
            shelf,
            images=choices.images,
            cadence=cadence,
            step=step,
            sight=sight,
            choices=choices,
            frame=framed(html, dark=choices.dark, public_url=shelf.public_url),
            inverted=choices.dark and not has_dark_colours(html),
            languages=shelf.languages(step, choices.arm),
            addresses=self.desk.addresses(),
            about=[
                each for each in shelf.about(cadence.name, step.template_of(choices.arm)) if _place(each) != sight.place
            ],
        )

    def _page(self, name: str, shelf: Shelf, *, images: bool = True, **values: object) -> Response:
        html = self._pages.get_template(name).render(
            shelf=shelf,
            address=step_address,
            errors=_count(shelf, "error"),
            warnings=_count(shelf, "warning"),
            **values,
        )
        return HTMLResponse(html, headers=_headers(images=images))


class Choices:
    """What is chosen on a step's page, and the addresses that choose otherwise."""

    def __init__(self, request: Request, cadence: Cadence, step: Email) -> None:
        asked = request.query_params
        self._path = step_address(cadence.name, step.key)
        self._asked = dict(asked)
        self.screen = asked.get("screen", "desktop") if asked.get("screen") in SCREENS else "desktop"
        self.width = SCREENS[self.screen]
        self.dark = asked.get("dark") == "1"
        self.images = asked.get("images") != "0"
        self.variant = asked.get("variant") or next(iter(step.subjects))
        self.arm = self.variant if self.variant in step.subjects else next(iter(step.subjects))
        self.language = asked.get("language", "")
        lead = asked.get("lead", "").strip() or FULL
        self.sample = lead if lead in (FULL, BARE) else ""
        self.lead = "" if self.sample else lead

    def but(self, **changed: str) -> str:
        """The address of this page with something else chosen; "" takes a choice back."""
        kept = {name: value for name, value in {**self._asked, **changed}.items() if value}
        return f"{self._path}?{urlencode(kept)}" if kept else self._path

    def kept(self) -> Mapping[str, str]:
        """What a form that asks for a lead has to bring along."""
        return {name: value for name, value in self._asked.items() if name != "lead"}


def step_address(cadence: str, step: str) -> str:
    return f"/step/{quote(cadence, safe='')}/{quote(step, safe='')}"


def _place(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}:{finding.column}"


def _count(shelf: Shelf, level: str) -> int:
    return sum(finding.level == level for finding in shelf.findings)


def _headers(*, images: bool) -> dict[str, str]:
    """A frame without an address of its own inherits this: a letter gets its styles and images, and never a script."""
    sources = {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "style-src": "'self' 'unsafe-inline' https:",
        "font-src": "https: data:",
        "img-src": "http: https: data:" if images else "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in sources.items()),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
