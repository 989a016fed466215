"""Recording an open or a click, durable before the answer, against the same route with nothing to record.

A public listener as `nurture run --only web` makes it serves letters that were sent; wrk asks for their pixels and
links over loopback, each request for another letter. The peer is the same server with a recorder that answers at once.
The two run side by side and are asked in turns; afterwards the database must hold every hit that was answered. Needs
wrk (Debian: wrk).
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path

from sqlalchemy import func, insert, select, update

from bench.machine import fdatasync_ms, free_port, tool
from bench.next_hop import await_port
from bench.rows import Row, a_second, at_least, by_rounds, options_of, tell
from bench.sending_workspace import Chain, make_workspace, queue_letters
from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_public_server, open_installation
from nurture.content.tokens import Purpose
from nurture.logs import prepare_logging
from nurture.store import tables as t
from nurture.store.hits import RawHit, Recorded

GOAL = at_least(0.5)
ROOT = Path(__file__).resolve().parent.parent
URLS = [f"https://www.acme.example/read/{number}?ref=mail" for number in range(13)]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
SENT_AGO = timedelta(hours=3)
SCRIPT = """
local paths = {}
for line in io.lines("PATHS") do paths[#paths + 1] = line end
local place = 0
wrk.headers["User-Agent"] = "AGENT"
function request()
  place = place % #paths + 1
  return wrk.format("GET", paths[place])
end
"""


class Forgetful:
    """Stands in for the recorder: it knows every destination and keeps no hit."""

    async def record(self, _hit: RawHit) -> Recorded:
        return Recorded(destination=URLS[0])


def serve(root: Path, *, storing: bool) -> None:
    """The public listener in this process, until it is killed."""
    installation = open_installation(root)
    server = build_public_server(installation, load_workspace(root))
    if not storing:
        server.config.app.state.site.recorder = Forgetful()  # type: ignore[union-attr]
    asyncio.run(server.serve())


@contextmanager
def served(root: Path, port: int, *, storing: bool) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.recording", "--serve", str(root), *([] if storing else ["--forgetful"])]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        await_port(port)
        yield
    finally:
        process.terminate()
        process.wait()


def send_all(root: Path, letters: int) -> None:
    """Letters that went out three hours ago, when no scanner looks at them any more."""
    queue_letters(root, letters)
    chain = Chain(root)
    long_ago = chain.installation.clock() - SENT_AGO
    with chain.database.transaction() as connection:
        connection.execute(insert(t.link_set).values(digest="thirteen", urls=URLS))
        sent = {"status": "sent", "sent_at": long_ago, "dotted_at": long_ago, "link_set": "thirteen", "attempt": 1}
        connection.execute(update(t.message).values(sent))
    chain.close()


def write_script(root: Path, kind: str, letters: int) -> Path:
    """What wrk asks for: the pixel of each letter, or one of its links."""
    tokens = open_installation(root).tokens
    purpose, form = (Purpose.OPEN, "/o/{}.gif") if kind == "open" else (Purpose.CLICK, "/c/{}-{}")
    signed = ((number, tokens.sign(purpose, str(number))) for number in range(1, letters + 1))
    paths = root / f"{kind}.txt"
    paths.write_text("".join(form.format(token, number % len(URLS)) + "\n" for number, token in signed))
    script = root / f"{kind}.lua"
    script.write_text(SCRIPT.replace("PATHS", str(paths)).replace("AGENT", FIREFOX))
    return script


def asked(port: int, script: Path, *, clients: int, seconds: int) -> tuple[float, int]:
    """(answers a second, answers) of wrk; ends the benchmark where one of them is an error."""
    command = [tool("wrk"), "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    answers = re.search(r"(\d+) requests in", told)
    if rate is None or answers is None or "Non-2xx" in told or "Socket errors" in told:
        sys.exit(f"wrk was not answered as it should be:\n{told}")
    return float(rate[1]), int(answers[1])


def hits(root: Path) -> int:
    installation = open_installation(root)
    with installation.database.reading() as connection:
        count = connection.scalar(select(func.count()).select_from(t.hit))
    installation.database.close()
    return int(count or 0)


def measure(*, letters: int, clients: int, seconds: int, rounds: int, warm_up: bool) -> list[Row]:
    rates: dict[str, list[float]] = defaultdict(list)
    answered = 0
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder:
        roots, ports = {}, {}
        for name in ("storing", "forgetful"):
            ports[name] = free_port()
            roots[name] = make_workspace(Path(folder) / name, port=9, web_port=ports[name])
            send_all(roots[name], letters)
        scripts = {kind: write_script(roots["storing"], kind, letters) for kind in ("open", "click")}
        with (
            served(roots["storing"], ports["storing"], storing=True),
            served(roots["forgetful"], ports["forgetful"], storing=False),
        ):
            for port, script in product(ports.values(), scripts.values() if warm_up else ()):
                asked(port, script, clients=clients, seconds=seconds)
            for _ in range(rounds):
                for kind, script in scripts.items():
                    for name, port in ports.items():
                        rate, count = asked(port, script, clients=clients, seconds=seconds)
                        rates[f"{kind} {name}"].append(rate)
                        answered += count if name == "storing" else 0
        kept = hits(roots["storing"])
        disk = fdatasync_ms(Path(folder))
    if kept < answered:
        sys.exit(f"{answered} hits were answered, and {kept} are in the database")
    return [
        Row(
            work=f"recording {'an open' if kind == 'open' else 'a click'}",
            limit=f"without storage: {a_second(rates[f'{kind} forgetful'], 'answers')}",
            result=a_second(rates[f"{kind} storing"], "answers"),
            ratios=by_rounds(rates[f"{kind} storing"], rates[f"{kind} forgetful"]),
            goal=GOAL,
            note=f"wrk, {clients} clients, {letters:,} letters, SQLite, fdatasync {disk:.2f} ms",
        )
        for kind in scripts
    ]


def main() -> None:
    parser = options_of(__doc__, "bench.recording")
    parser.add_argument("--letters", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=4, help="of each turn, the first of which warms up")
    parser.add_argument("--cold", action="store_true", help="leave the turn out that warms up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, metavar="ROOT", help="only serve this workspace, until killed")
    parser.add_argument("--forgetful", action="store_true", help="with --serve: keep no hit")
    options = parser.parse_args()
    prepare_logging()
    if options.serve is not None:
        serve(options.serve, storing=not options.forgetful)
        return
    rows = measure(
        letters=options.letters,
        clients=options.clients,
        seconds=options.seconds,
        rounds=options.rounds,
        warm_up=not options.cold,
    )
    tell(rows, options.rows)


if __name__ == "__main__":
    main()
