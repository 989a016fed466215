"""The one place where settings become concrete parts: the clock, chance, the database, servers, stages.

Everything below takes what it needs as arguments, so that two months of cadence run in a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import random
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from nurture.authoring.workspace import Workspace
from nurture.calendar import Calendar
from nurture.content.dkim import DkimSigner
from nurture.content.letters import Composer
from nurture.content.names import TemplateNames
from nurture.content.templates import TemplateLibrary
from nurture.content.tokens import Tokens
from nurture.delivery.conversation import Patience
from nurture.delivery.servers import Server, ServerAddress
from nurture.engines.stages import Stages
from nurture.pipeline.advance import Rules
from nurture.pipeline.deliver import Deliverer
from nurture.pipeline.outgoing import LetterWriter
from nurture.settings import Settings, load_settings, resolve_secret
from nurture.store.database import Database
from nurture.store.migrate import upgrade
from nurture.web.public import PublicParts, public_app
from nurture.web.server import ListeningServer, make_server

Clock = Callable[[], datetime]
TEMPLATES = Path("templates") / "email"
LOCK = ".nurture.lock"


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  the only clock there is


def system_random() -> random.Random:
    """Chance for what nobody may predict; a rehearsal brings a seeded one."""
    return random.SystemRandom()


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A workspace with its database open. Secrets are resolved when they are needed."""

    root: Path
    settings: Settings
    database: Database
    clock: Clock
    rng: random.Random

    @cached_property
    def secrets(self) -> list[str]:
        """The workspace's secret keys; the first signs. Raises Problem when one is missing."""
        references = self.settings.workspace.secret_key
        named = [references] if isinstance(references, str) else references
        return [resolve_secret(self._rooted(each)) for each in named]

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.secrets)

    def key(self, purpose: str) -> bytes:
        """A key of its own for each purpose, from the first secret."""
        return hashlib.sha256(f"nurture {purpose}:{self.secrets[0]}".encode()).digest()

    def secret(self, reference: str | None) -> str | None:
        return resolve_secret(self._rooted(reference)) if reference is not None else None

    def at(self, *, clock: Clock, rng: random.Random) -> Installation:
        """The same installation at another time and with other luck."""
        return replace(self, clock=clock, rng=rng)

    def _rooted(self, reference: str) -> str:
        kind, _, name = reference.partition(":")
        return f"file:{(self.root / name).absolute()}" if kind == "file" else reference


def open_installation(root: Path) -> Installation:
    """Read config.toml, open the database and bring its schema up to date. Raises Problem."""
    settings = load_settings(root)
    return Installation(
        root=root,
        settings=settings,
        database=open_database(root, settings),
        clock=system_clock,
        rng=system_random(),
    )


def open_database(root: Path, settings: Settings) -> Database:
    database = Database(settings.database.url, root=root)
    upgrade(database)
    return database


@contextmanager
def hold_lock(installation: Installation) -> Iterator[bool]:
    """Whether this is the only process that works on this SQLite database, for as long as the block runs.

    The kernel frees the lock when a process dies, so whoever holds it knows that every other owner's lease is dead,
    and need not wait for it to end. On PostgreSQL other hosts may work: leases alone decide.
    """
    if not installation.database.is_sqlite:
        yield False
        return
    handle = os.open(installation.root / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def build_library(root: Path, settings: Settings) -> TemplateLibrary:
    """The workspace's templates; their custom fields are checked where config.toml declares any."""
    custom = frozenset(settings.fields) if settings.fields is not None else None
    return TemplateLibrary(root / TEMPLATES, names=TemplateNames(custom=custom))


def build_stages(
    installation: Installation, workspace: Workspace, *, sole_worker: bool, patience: Patience | None = None
) -> Stages:
    """The stages with everything they need. Raises Problem where a secret is missing."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    library = build_library(installation.root, workspace.settings)
    composer = Composer(library)
    waits = patience or Patience()
    servers = {name: Server(address, patience=waits) for name, address in _addresses(installation).items()}

    def rules(files: Workspace) -> Rules:
        return Rules(
            vocabulary=files.vocabulary,
            calendar=_calendar(files.settings),
            workspace_zone=ZoneInfo(files.settings.workspace.timezone),
            caps=tuple(files.settings.limits.per_lead),
            half_life=files.lifecycle.engagement.half_life,
            engagement_cap=files.lifecycle.engagement.cap,
            arm_key=installation.key("arms"),
            say=lambda text, values: library.line(text).render(dict(values)),
        )

    def deliverer(files: Workspace) -> Deliverer:
        letters = LetterWriter(
            settings=files.settings,
            forms=files.forms,
            offers=files.offers,
            composer=composer,
            tokens=installation.tokens,
            calendar=_calendar(files.settings),
            clock=installation.clock,
            header_key=installation.key("message ids"),
            signers=_signers(installation, files.settings),
        )
        return Deliverer(
            database=installation.database,
            letters=letters,
            servers=servers,
            clock=installation.clock,
            rng=installation.rng,
            owner=owner,
            sole_worker=sole_worker,
            patience=waits,
        )

    return Stages(
        database=installation.database,
        workspace=workspace,
        rules=rules,
        deliverer=deliverer,
        tokens=installation.tokens,
        clock=installation.clock,
        rng=installation.rng,
    )


def build_public_server(installation: Installation, workspace: Workspace) -> ListeningServer:
    """The public listener, bound to its address. Raises Problem where that is taken."""
    parts = PublicParts(
        database=installation.database,
        settings=workspace.settings,
        tokens=installation.tokens,
        clock=installation.clock,
        forms=workspace.forms,
        offers=workspace.offers,
        lifecycle=workspace.lifecycle,
        root=installation.root,
    )
    return make_server(public_app(parts), workspace.settings.web.public)


def _addresses(installation: Installation) -> dict[str, ServerAddress]:
    return {
        name: ServerAddress(
            name=name,
            host=smtp.host,
            port=smtp.port,
            security=smtp.security,
            username=smtp.username,
            password=installation.secret(smtp.password),
            connections=smtp.connections,
            rate=smtp.rate,
        )
        for name, smtp in installation.settings.smtp.items()
    }


def _signers(installation: Installation, settings: Settings) -> dict[str, list[DkimSigner]]:
    """domain of From -> who signs for it; each key makes a signature of its own."""
    signers = {}
    for domain, keys in settings.dkim.items():
        signers[domain.lower()] = [
            DkimSigner(domain=domain, selector=key.selector, private_key_pem=installation.secret(key.key) or "")
            for key in (keys if isinstance(keys, list) else [keys])
        ]
    return signers


def _calendar(settings: Settings) -> Calendar:
    return Calendar(settings.holidays.extra, settings.workspace.country)


def prepare_logging() -> None:
    """Structured lines on standard error: one JSON document each, or colours on a terminal. No addresses in them."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
