"""An SMTP server process for tests: it writes each message to disk before it answers, and misbehaves on request.

    python tests/smtp_receiver.py --folder DIR [--port 0] [--drop P] [--defer P] [--pace S] [--seed N] [--keep]

The first line on standard output is the port. `received.log` in the folder is the oracle: a line of JSON for each
message whose end was received, synced to disk before the answer; `links` in it is how many were open at once at most
by then. `--drop P`: with that probability the link is lost after the final dot, half of the time with the message
recorded, half without. `--defer P`: 451 after the dot. `--keep` stores whole messages as N.eml. Recipients steer it: an
address that starts with `unknown` gets 550 5.1.1, `blocked` 550 5.7.1, `greylisted` 451 at RCPT, `leaving` 421 at RCPT,
`stall` no answer at all.

`--steered` reads what to do from standard input, a line each: `drop` loses every link that is open, `stall STAGE S`
says nothing at that stage of a session for S seconds from now (`STAGES`), `pace S` is a new pace. What was received to
its end is recorded also where the link is gone by then, as servers do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
from pathlib import Path

STAGES = ("ehlo", "mail", "rcpt", "data", "body", "dot", "answer")
"""`dot`: all was read and nothing is recorded yet; `answer`: it is recorded."""
RULES = {
    "unknown": b"550 5.1.1 no such user here\r\n",
    "blocked": b"550 5.7.1 rejected due to reputation\r\n",
    "greylisted": b"451 4.7.1 greylisted, try again later\r\n",
    "leaving": b"421 4.3.2 shutting down\r\n",
}


class Receiver:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rng = random.Random(options.seed)
        options.folder.mkdir(parents=True, exist_ok=True)
        self.log = os.open(options.folder / "received.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.count = 0
        self.links: set[asyncio.StreamWriter] = set()
        self.most_links = 0
        self.stalled, self.stalled_until = "", 0.0

    async def serve(self) -> None:
        server = await asyncio.start_server(self.session, "127.0.0.1", self.options.port, limit=16 * 1024 * 1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        steering = asyncio.create_task(self.steered()) if self.options.steered else None
        async with server:
            await server.serve_forever()
        if steering is not None:
            await steering

    async def steered(self) -> None:
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while words := (await orders.readline()).decode().split():
            if words[0] == "drop":
                for link in self.links:
                    link.transport.abort()
            elif words[0] == "stall":
                self.stalled, self.stalled_until = words[1], asyncio.get_running_loop().time() + float(words[2])
            elif words[0] == "pace":
                self.options.pace = float(words[1])

    async def reach(self, stage: str) -> None:
        """Goes on at once, or when the stall of this stage is over."""
        if stage == self.stalled:
            await asyncio.sleep(self.stalled_until - asyncio.get_running_loop().time())

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links.add(writer)
        self.most_links = max(self.most_links, len(self.links))
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.links.discard(writer)
            writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 receiver.test ESMTP\r\n")
        recipient, refused = "", False
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            await self.reach(verb.decode("ascii", "replace").lower())
            if verb == b"EHLO":
                extensions = b"" if self.options.plain else b"250-PIPELINING\r\n250-SMTPUTF8\r\n"
                writer.write(b"250-receiver.test\r\n" + extensions + b"250 8BITMIME\r\n")
            elif verb == b"RCPT":
                recipient = re.sub(rb".*<(.*)>.*", rb"\1", line.strip()).decode()
                answer = next((reply for start, reply in RULES.items() if recipient.startswith(start)), b"250 ok\r\n")
                refused = not answer.startswith(b"250")
                writer.write(answer)
                if answer.startswith(b"421"):
                    await writer.drain()
                    return
            elif verb == b"DATA" and refused:
                writer.write(b"554 5.5.1 no valid recipients\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                if not await self.message(reader, writer, recipient):
                    return
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                return
            elif verb in (b"MAIL", b"RSET", b"NOOP", b"HELO"):
                writer.write(b"250 ok\r\n")
            else:
                writer.write(b"502 what?\r\n")
            await writer.drain()

    async def message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipient: str) -> bool:
        """Read to the dot and answer; False where the link is lost instead."""
        await writer.drain()
        await self.reach("body")
        body = await reader.readuntil(b"\r\n.\r\n")
        if recipient.startswith("stall"):
            await asyncio.sleep(3600)
        await asyncio.sleep(self.options.pace)
        chance = self.rng.random()
        if chance < self.options.drop / 2:
            writer.transport.abort()
            return False
        if chance > 1 - self.options.defer:
            writer.write(b"451 4.3.0 not now\r\n")
            return True
        await self.reach("dot")
        self.record(recipient, body)
        await self.reach("answer")
        if chance < self.options.drop:
            writer.transport.abort()
            return False
        writer.write(b"250 2.0.0 queued\r\n")
        return True

    def record(self, recipient: str, body: bytes) -> None:
        found = re.search(rb"(?im)^message-id: *<(.*?)>", body)
        self.count += 1
        line = {"to": recipient, "message_id": found[1].decode() if found else None, "size": len(body)}
        line["links"] = self.most_links
        os.write(self.log, json.dumps(line).encode() + b"\n")
        os.fdatasync(self.log)
        if self.options.keep:
            (self.options.folder / f"{self.count}.eml").write_bytes(body[:-3].replace(b"\r\n..", b"\r\n."))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--drop", type=float, default=0)
    parser.add_argument("--defer", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=0, help="seconds until the end of a message is answered")
    parser.add_argument("--steered", action="store_true", help="take orders from standard input")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--plain", action="store_true", help="offer no extension")
    asyncio.run(Receiver(parser.parse_args()).serve())


if __name__ == "__main__":
    main()
