"""The one place where settings become concrete parts: the clock, chance, the database, servers, stages.

Everything below takes what it needs as arguments, so that two months of cadence run in a second.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import random
import secrets
import socket
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from nurture.authoring.compile_tests import CadenceTest
from nurture.authoring.workspace import Workspace
from nurture.calendar import Calendar
from nurture.content.dkim import DkimSigner
from nurture.content.letters import Composer
from nurture.content.names import TemplateNames
from nurture.content.templates import TemplateLibrary
from nurture.content.tokens import Tokens
from nurture.delivery.conversation import Patience
from nurture.delivery.esp import EspServer, esp_address
from nurture.delivery.servers import Server, ServerAddress
from nurture.domain.problem import Problem
from nurture.engines.embedded import Embedded
from nurture.engines.stages import QUIET_AFTER, Stages
from nurture.engines.ticking import Engine
from nurture.notify.carrier import Carrier, HttpCarrier
from nurture.notify.channels import Channel, read_channels
from nurture.notify.webhook import read_secret
from nurture.pipeline.claimed import Equipment
from nurture.pipeline.counters import Counters
from nurture.pipeline.deliver import Deliverer
from nurture.pipeline.outgoing import LetterWriter
from nurture.pipeline.permits import Limits
from nurture.pipeline.post import PostEquipment, Poster
from nurture.pipeline.rules import Rules
from nurture.rehearsal.cadence_tests import Outcome, Scene, empty, lead_zone, moment_of, run_test, scene_files
from nurture.rehearsal.carrier import InMemoryCarrier
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.transport import InMemoryServer
from nurture.settings import Settings, load_settings, resolve_secret
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.migrate import upgrade
from nurture.web.preview import Preview
from nurture.web.preview_desk import Desk
from nurture.web.private import PrivateParts, private_app
from nurture.web.public import PublicParts, public_app
from nurture.web.server import ListeningServer, make_server

Clock = Callable[[], datetime]
TEMPLATES = Path("templates") / "email"
LOCK = ".nurture.lock"
PROCESSES_OF_A_HOST = 31
"""So many ports behind that of `private` are tried."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a folder that nobody can foresee is made in it


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

    def signers(self, settings: Settings) -> dict[str, list[DkimSigner]]:
        """domain of From -> who signs for it; each key makes a signature of its own. Raises Problem."""
        signers = {}
        for domain, keys in settings.dkim.items():
            signers[domain.lower()] = [
                DkimSigner(domain=domain, selector=key.selector, private_key_pem=self.secret(key.key) or "")
                for key in (keys if isinstance(keys, list) else [keys])
            ]
        return signers

    def webhook_secret(self, channel: str) -> str:
        """What signs a webhook whose channel names no secret of its own, as its receiver is to be told it."""
        return f"whsec_{b64encode(self.key(f'webhook {channel}')).decode()}"

    def channels(self, settings: Settings) -> dict[str, Channel]:
        """The channels of config.toml; a webhook without a `secret` signs with a key made from the workspace's."""
        return read_channels(
            settings, secret_of=self.secret, own_secret=lambda name: read_secret(self.webhook_secret(name))
        )

    def carrier(self) -> Carrier:
        """Who takes posts to their channels."""
        return HttpCarrier()

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


def open_unsigned(root: Path) -> Unsigned:
    """As `open_installation`, for looking at letters: no secret is needed. Raises Problem."""
    return Unsigned(**vars(open_installation(root)))


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
    installation: Installation,
    workspace: Workspace,
    *,
    sole_worker: bool,
    patience: Patience | None = None,
    servers: Mapping[str, Server] | None = None,
    library: TemplateLibrary | None = None,
    counters: Counters | None = None,
) -> Stages:
    """The stages with everything they need; `servers` stand in for those of config.toml, `counters` are told.

    Raises Problem where a secret is missing.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    templates = library or build_library(installation.root, workspace.settings)
    composer = Composer(templates)
    waits = patience or Patience()
    told = counters or Counters()

    def rules(files: Workspace) -> Rules:
        return Rules(
            vocabulary=replace(files.vocabulary, trigger=True),
            calendar=_calendar(files.settings),
            workspace_zone=ZoneInfo(files.settings.workspace.timezone),
            caps=tuple(files.settings.limits.per_lead),
            half_life=files.lifecycle.engagement.half_life,
            engagement_cap=files.lifecycle.engagement.cap,
            arm_key=installation.key("arms"),
            say=lambda text, values: templates.line(text).render(dict(values)),
            default_sender=files.settings.sending.sender,
            rep_senders={name: rep.sender for name, rep in files.settings.reps.items() if rep.sender is not None},
        )

    def equipment(files: Workspace) -> Equipment:
        hops = servers or _servers(replace(installation, settings=files.settings), waits)
        return Equipment(
            letters=build_letters(installation, files, composer),
            servers=hops,
            rules=rules(files),
            limits=Limits(files.settings),
        )

    def deliverer(first: Equipment) -> Deliverer:
        return Deliverer(
            database=installation.database,
            equipment=first,
            clock=installation.clock,
            rng=installation.rng,
            owner=owner,
            sole_worker=sole_worker,
            patience=waits,
            counters=told,
        )

    def channels(files: Workspace) -> PostEquipment:
        return PostEquipment(channels=installation.channels(files.settings), id_key=installation.key("post ids"))

    def poster(first: PostEquipment) -> Poster:
        return Poster(
            database=installation.database,
            equipment=first,
            carrier=installation.carrier(),
            clock=installation.clock,
            rng=installation.rng,
        )

    return Stages(
        database=installation.database,
        workspace=workspace,
        rules=rules,
        equipment=equipment,
        deliverer=deliverer,
        channels=channels,
        poster=poster,
        tokens=installation.tokens,
        clock=installation.clock,
        rng=installation.rng,
        counters=told,
    )


def build_engine(installation: Installation, stages: Stages, reload: Callable[[], None]) -> Engine:
    """What wakes the stages: this process alone on SQLite, PgQueuer among any number of them on PostgreSQL."""
    if installation.database.is_sqlite:
        return Embedded(stages, clock=installation.clock, reload=reload)
    from nurture.engines.distributed import Distributed  # takes a third of a second to import

    return Distributed(stages, database=installation.database, clock=installation.clock, reload=reload)


def build_letters(installation: Installation, workspace: Workspace, composer: Composer) -> LetterWriter:
    """Who writes this workspace's letters. Raises Problem where a secret is missing."""
    return LetterWriter(
        settings=workspace.settings,
        forms=workspace.forms,
        offers=workspace.offers,
        composer=composer,
        tokens=installation.tokens,
        calendar=_calendar(workspace.settings),
        clock=installation.clock,
        header_key=installation.key("message ids"),
        signers=installation.signers(workspace.settings),
    )


def build_server(installation: Installation, name: str) -> Server:
    """One next hop of config.toml, for a message that a person waits for. Raises Problem: its password is missing."""
    return _servers(installation, Patience(command=30, data=30, block=30, dot=120))[name]


@dataclass(frozen=True, kw_only=True)
class Unsigned(Installation):
    """An installation for looking at letters: without a secret, so its mail bears no signature and its tokens open
    nothing.
    """

    @cached_property
    def secrets(self) -> list[str]:
        return ["nobody's"]

    def signers(self, settings: Settings) -> dict[str, list[DkimSigner]]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Rehearsed(Installation):
    """An installation that touches nothing outside: its secret is made up, and seeds which variants leads get."""

    seed: str

    @cached_property
    def secrets(self) -> list[str]:
        return [f"rehearsal {self.seed}"]

    def channels(self, settings: Settings) -> dict[str, Channel]:
        nowhere = "https://rehearsal.invalid"
        return {name: Channel(name=name, kind=each.kind, url=nowhere) for name, each in settings.alerts.items()}

    def carrier(self) -> Carrier:
        return InMemoryCarrier()


class Rehearsals:
    """Plays cadence tests one after the other, each through the real stages over a database without a row in it.

    `workspace` may be replaced between two of them.
    """

    def __init__(self, workspace: Workspace, database: Database) -> None:
        self.workspace = workspace
        self._database = database
        self._library = build_library(workspace.root, workspace.settings)

    async def play(self, cadence: str, test: CadenceTest) -> Outcome:
        """The lead's address seeds its luck, so the outcome is the same wherever and whenever it is played."""
        empty(self._database)
        files = scene_files(self.workspace, cadence, test.lead)
        zone = lead_zone(files, test.lead)
        clock = VirtualClock(moment_of(test.start, zone))
        seed = test.lead.address.key
        installation = Rehearsed(
            root=files.root,
            settings=files.settings,
            database=self._database,
            clock=clock,
            rng=random.Random(seed),  # noqa: S311  it guards nothing: no secret is made here
            seed=seed,
        )
        stages = build_stages(
            installation,
            files,
            sole_worker=True,
            library=self._library,
            servers={name: InMemoryServer(name, clock=clock) for name in files.settings.servers},
        )
        scene = Scene(
            cadence=cadence,
            database=self._database,
            clock=clock,
            zone=zone,
            lifecycle=files.lifecycle,
            look=lambda: _follow(stages),
        )
        return await run_test(test, scene)


async def _follow(stages: Stages) -> None:
    """What is due now for a lead that is enrolled: rounds of the stages that move it, until one finds nothing."""
    for _ in range(QUIET_AFTER):
        reports = (
            await asyncio.to_thread(stages.react),
            await asyncio.to_thread(stages.advance),
            await stages.deliverer.deliver(),  # days go by from look to look: no stop
        )
        if not any(count for report in reports for count in vars(report).values()):
            return


@contextmanager
def rehearsals(workspace: Workspace) -> Iterator[Rehearsals]:
    """For as long as the block runs, with a database file of its own, in memory where the system has such a folder."""
    memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="nurture-test-", dir=memory) as folder:
        database = Database("sqlite:///test.db", root=Path(folder))
        try:
            t.lead.metadata.create_all(database.engine)
            yield Rehearsals(workspace, database)
        finally:
            database.close()


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


def build_private_server(installation: Installation, workspace: Workspace, counters: Counters) -> ListeningServer:
    """The private listener, bound to its address or, where others of this host listen there, to a port behind it.

    Raises Problem where none is free.
    """
    parts = PrivateParts(database=installation.database, clock=installation.clock, counters=counters)
    return make_server(private_app(parts), workspace.settings.web.private, or_ports_behind=PROCESSES_OF_A_HOST)


def build_preview_server(installation: Installation, port: int) -> tuple[ListeningServer, Preview]:
    """The pages of `nurture preview`, on loopback alone. Raises Problem where the port is taken."""

    def make_letters(workspace: Workspace, library: TemplateLibrary) -> LetterWriter:
        return build_letters(installation, workspace, Composer(library))

    preview = Preview(Desk(root=installation.root, database=installation.database, make_letters=make_letters))
    try:
        return make_server(preview.app(), f"127.0.0.1:{port}"), preview
    except Problem:
        raise Problem(f"port {port} of 127.0.0.1 is taken: name another one, or 0 for any, with --port") from None


def _servers(installation: Installation, patience: Patience) -> dict[str, Server]:
    """name -> what takes mail on. Raises Problem where a secret is missing, or what a provider needs."""
    hops = {name: Server(address, patience=patience) for name, address in _addresses(installation).items()}
    for name, esp in installation.settings.esp.items():
        address = esp_address(
            f"esp.{name}",
            provider=esp.provider,
            api_key=installation.secret(esp.api_key) or "",
            url=esp.url,
            stream=esp.stream,
            connections=esp.connections,
        )
        hops[address.name] = EspServer(address, patience=patience, clock=installation.clock)
    return hops


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
        )
        for name, smtp in installation.settings.smtp.items()
    }


def _calendar(settings: Settings) -> Calendar:
    return Calendar(settings.holidays.extra, settings.workspace.country)
