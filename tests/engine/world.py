"""A small installation on a clock moved by hand: its next hop is in memory, and misbehaves on request."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_stages, open_installation
from nurture.delivery.conversation import Conversation
from nurture.delivery.replies import Reply
from nurture.delivery.servers import Server, ServerUnavailable
from nurture.engines.stages import Stages
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.transport import InMemoryConversation, InMemoryServer
from nurture.store import tables as t
from nurture.store.database import Database
from tests.migrated import SQLITE, put_database
from tests.scenarios.workspaces import Running

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SECRET = "a secret for tests alone"
CONFIG = """
[workspace]
name = "Acme Analytics"
public_url = "http://127.0.0.1:8080"
postal_address = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
timezone = "UTC"
secret_key = "file:secret"
[database]
url = "{url}"
[web]
public = "127.0.0.1:0"
private = "127.0.0.1:0"
[smtp.primary]
host = "127.0.0.1"
port = 9
security = "none"
connections = 2
[senders.anna]
from = "Anna Meier <anna@acme.example>"
[sending]
sender = "anna"
"""
TEMPLATE = """<mjml><mj-body><mj-section><mj-column>
<mj-text>Hello, <a href="https://www.acme.example/tour">take the tour</a>.</mj-text>
<mj-text>{{ workspace.postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""
HEAD = 'name: A cadence\nsegment: stage == "lead"\nenroll: current_and_future\nwindow: any\n'


def steps(*said: str) -> str:
    """Steps of a cadence in short: `mail:ID`, or a line of YAML."""
    lines = [
        f"email: hello\n    id: {each[5:]}\n    subject: {each[5:]}" if each[:5] == "mail:" else each for each in said
    ]
    return "steps:\n" + "".join(f"  - {line}\n" for line in lines)


@dataclass
class NextHop(InMemoryServer):
    """`refuse`: address -> the refusal it gets. `before_dot`: called while the end of each message is still open."""

    clock: Callable[[], datetime]
    name: str = "primary"
    refuse: dict[str, Reply] = field(default_factory=dict)
    before_dot: Callable[[], None] | None = None
    stalls: Callable[[str], Awaitable[None]] | None = None
    is_down: bool = False
    room_for: int = 100
    knocks: int = 0

    def __post_init__(self) -> None:
        InMemoryServer.__init__(self, self.name, clock=self.clock)
        self.address = replace(self.address, connections=2)

    async def _connect(self) -> Conversation:
        self.knocks += 1
        if self.is_down or self.knocks > self.room_for:
            raise ServerUnavailable("nobody answers")
        return _Talk(self)

    @property
    def arrived(self) -> list[tuple[str, str]]:
        """(recipient's name, subject) of each message, in order."""
        return [(each.to.partition("@")[0], _subject(each.wire)) for each in self.kept]


class _Talk(InMemoryConversation):
    def __init__(self, hop: NextHop) -> None:
        super().__init__(hop._keep)
        self._hop = hop

    async def offer(self, sender: str, recipient: str, body: bytes) -> Reply | None:
        refusal = self._hop.refuse.get(recipient)
        if refusal is not None:
            return refusal
        await super().offer(sender, recipient, body)
        if self._hop.stalls is not None:
            await self._hop.stalls(recipient)
        if self._hop.before_dot is not None:
            self._hop.before_dot()
        return None


def _subject(wire: bytes) -> str:
    return next(line[9:] for line in wire.decode().splitlines() if line.lower().startswith("subject: "))


@dataclass
class World(Running):
    """A running installation and its next hop."""

    hop: NextHop

    @property
    def database(self) -> Database:
        return self.installation.database

    def edit(self, **cadences: str) -> None:
        """Change cadence files and take them up, as the daemon does."""
        write_cadences(self.installation.root, cadences)
        self.stages.use(load_workspace(self.installation.root))

    def send_over(self, *servers: Server) -> None:
        """From now on, instead of what `[smtp.NAME]` says of those names."""
        deliverer = self.stages.deliverer
        deliverer.equipment = replace(deliverer.equipment, servers={each.address.name: each for each in servers})

    def rows(self, table: Any, *columns: str) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(select(*(table.c[name] for name in columns)).order_by(table.c.id)))

    def decisions(self) -> Counter[str]:
        return Counter(row.code for row in self.rows(t.decision, "code"))


def in_a_loop(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it to its end in a thread of its own: a browser test may have a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(story())).result()


def write_cadences(root: Path, cadences: Mapping[str, str]) -> None:
    for name, text in cadences.items():
        (root / "cadences" / f"{name}.yaml").write_text(text)


def make_root(root: Path, *, url: str = SQLITE, config: str = "", **cadences: str) -> Path:
    (root / "cadences").mkdir(parents=True)
    (root / "templates" / "email").mkdir(parents=True)
    (root / "secret").write_text(SECRET)
    (root / "secret").chmod(0o600)
    (root / "config.toml").write_text(CONFIG.format(url=url) + config)
    (root / "templates" / "email" / "hello.mjml").write_text(TEMPLATE)
    write_cadences(root, cadences)
    if url == SQLITE:
        put_database(root)
    return root


def add_leads(database: Database, *names: str, at: str = "example.com", **fields: Any) -> list[int]:
    """Leads with consent, with addresses at this domain; their ids."""
    given = {"custom": {}, "readings": {}, "fit": "unknown", "fit_points": 0.0, "hot_armed": True, "rescore": False}
    given |= {"stage": "lead", "consented_at": MONDAY, "created_at": MONDAY, "email_domain": at, **fields}
    rows = [{**given, "email": f"{name}@{at}", "email_key": f"{name}@{at}"} for name in names]
    with database.transaction() as connection:
        connection.execute(insert(t.lead), rows)
        keys = [row["email_key"] for row in rows]
        return list(connection.scalars(select(t.lead.c.id).where(t.lead.c.email_key.in_(keys)).order_by(t.lead.c.id)))


def open_world(
    root: Path, *, clock: VirtualClock | None = None, sole_worker: bool = True, in_memory: bool = True
) -> World:
    clock = clock or VirtualClock(MONDAY)
    installation = open_installation(root).at(clock=clock, rng=random.Random(1))
    workspace = load_workspace(root)
    hop = NextHop(clock=clock)
    stages: Stages = build_stages(
        installation, workspace, sole_worker=sole_worker, servers={"primary": hop} if in_memory else None
    )
    return World(installation, workspace, stages, clock, hop)
