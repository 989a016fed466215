"""An HTTP provider in the place of a next hop: `[esp.NAME]` of config.toml.

A letter is one request, whose last byte stands for the dot of SMTP, so that all the promise says of the dot holds.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import structlog

from nurture.delivery.connections import SERVER_DOWN_RETRY
from nurture.delivery.conversation import Conversation, LinkLost, Patience
from nurture.delivery.esp_provider import Answer, EspLetter, Exchange, Provider
from nurture.delivery.esp_raw import MAILGUN, Mailgun, Ses
from nurture.delivery.esp_request import HeldRequest, Link
from nurture.delivery.replies import Reply
from nurture.delivery.servers import Server, ServerAddress, ServerUnavailable
from nurture.domain.message import ReplyCause, ReplyClass
from nurture.domain.problem import Problem

CONNECT_S = 30.0
ASK_AFTER_S = (1.0, 5.0)
"""Pauses before a provider that acts once is asked again; with both answers waited for, well within the 15 minutes
for which Brevo knows a key."""
ANSWER_S = 120.0
"""How long the first answer of such a provider is waited for; the others have all the patience there is."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class EspAddress(ServerAddress):
    """A provider with the account's key. `url`: another endpoint than the provider's usual one."""

    provider: str
    api_key: str = field(repr=False)
    url: str | None = None
    stream: str | None = None


def esp_address(
    name: str, *, provider: str, api_key: str, url: str | None, stream: str | None, connections: int
) -> EspAddress:
    """`name` is the one that messages know this server by."""
    parts = urlsplit(url or "")
    return EspAddress(
        name=name,
        host=parts.hostname or provider,
        port=parts.port or 443,
        security="none" if parts.scheme == "http" else "tls",
        connections=connections,
        provider=provider,
        api_key=api_key,
        url=url,
        stream=stream,
    )


class EspServer(Server):
    """Raises Problem where the key is none of this provider's, or the extra `esp` is not installed."""

    def __init__(
        self,
        address: EspAddress,
        *,
        patience: Patience,
        clock: Callable[[], datetime],
        tls: ssl.SSLContext | None = None,
        ask_after_s: Sequence[float] = ASK_AFTER_S,
    ) -> None:
        super().__init__(address, patience=patience, tls=tls)
        self._provider = _provider(address)
        self._secrets = [address.api_key, *address.api_key.split(":")]
        self._clock = clock
        self._ask_after_s = ask_after_s
        self._leaving: set[asyncio.Task[None]] = set()
        self._rests_until: datetime | None = None
        self._why = ""

    async def close(self) -> None:
        await super().close()
        await asyncio.gather(*self._leaving)

    def turned_away(self, why: str) -> None:
        """Our account was refused: every letter would be, so none is tried for a minute, as with one that is down."""
        if self.why_resting is None:
            self._rests_until, self._why = self._clock() + SERVER_DOWN_RETRY, why
            log.warning("smtp_server_unavailable", server=self.address.name, error=why)

    @property
    def why_resting(self) -> str | None:
        is_resting = self._rests_until is not None and self._clock() < self._rests_until
        return self._why if is_resting else None

    async def _connect(self) -> Conversation:
        """The link itself is made with the first letter."""
        return EspConversation(self, self._client(), self._patience)

    def exchange(self, recipient: str, wire: bytes) -> Exchange:
        """Raises CannotCarry."""
        return self._provider(EspLetter.from_wire(recipient, wire), self._clock())

    def leave(self, conversation: EspConversation) -> None:
        """Close its link without waiting for that."""
        task = asyncio.create_task(conversation.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    @property
    def ask_after_s(self) -> Sequence[float]:
        return self._ask_after_s

    def discreet(self, text: str) -> str:
        """Without our key, should a provider ever repeat it."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    def _client(self) -> httpx.AsyncClient:
        """One connection; no proxy and no netrc from the environment, no redirect that would carry the key away."""
        return httpx.AsyncClient(
            verify=self._context() if self.address.security == "tls" else False,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            timeout=httpx.Timeout(self._patience.block, connect=CONNECT_S),
            headers={"user-agent": "nurture"},
        )


class EspConversation(Conversation):
    """Requests to one provider, one at a time."""

    def __init__(self, server: EspServer, client: httpx.AsyncClient, patience: Patience) -> None:
        super().__init__(asyncio.Transport(), pipelining=False, patience=patience)
        self._server = server
        self._link = Link(client)
        self._exchange: Exchange | None = None
        self._held: HeldRequest | None = None
        self._has_left = False

    @property
    def open(self) -> bool:
        return not self._has_left and (self._held is None or self._held.is_open)

    async def offer(self, _sender: str, recipient: str, body: bytes) -> Reply | None:
        """Write the request but its last byte. The sender's address is the provider's affair.

        Raises CannotCarry, ServerUnavailable or LinkLost: nothing was sent.
        """
        if self._has_left:
            raise LinkLost("closed")
        exchange = self._server.exchange(recipient, body)
        held = self._begin(exchange)
        answer = await held.held()
        if answer is None:
            self._exchange = exchange
            return None
        self._held = None
        reply = self._read(exchange.read, answer)
        return replace(reply, klass=ReplyClass.SOFT) if reply.accepted else reply

    async def dot(self) -> Reply:
        """Write the last byte and read the verdict. Raises LinkLost: nobody knows then."""
        if self._held is None or self._exchange is None:
            raise LinkLost("nothing was offered")
        held, exchange = self._held, self._exchange
        try:
            async with asyncio.timeout(self.patience.dot):
                reply = await self._verdict(held, exchange)
        except TimeoutError:
            raise LinkLost(f"no answer within {self.patience.dot:g} s") from None
        self._held = self._exchange = None
        self.message_count += 1
        return reply

    async def quit(self) -> None:
        self._has_left = True
        if self._held is not None:
            self._held.abort()
            await self._held.gone()
        await self._link.client.aclose()

    def abort(self) -> None:
        if not self._has_left:
            self._has_left = True
            self._server.leave(self)

    async def _verdict(self, held: HeldRequest, exchange: Exchange) -> Reply:
        try:
            return self._read(exchange.read, await held.end())
        except LinkLost as error:
            if exchange.read_again is None:
                raise
            return await self._ask_again(exchange, exchange.read_again, str(error))

    async def _ask_again(self, exchange: Exchange, read: Callable[[Answer], Reply], why: str) -> Reply:
        """The very same request, its key included: the provider acts on it once, however often it is said."""
        for pause in self._server.ask_after_s:
            await asyncio.sleep(pause)
            try:
                return self._read(read, await self._begin(exchange).end())
            except (LinkLost, ServerUnavailable) as error:
                why = str(error)
        raise LinkLost(why)

    def _begin(self, exchange: Exchange) -> HeldRequest:
        patience = self.patience.dot if exchange.read_again is None else min(ANSWER_S, self.patience.dot / 4)
        self._held = HeldRequest(self._link, exchange.request, read_patience=patience)
        return self._held

    def _read(self, read: Callable[[Answer], Reply], answer: Answer) -> Reply:
        try:
            reply = read(answer)
        except LinkLost as error:
            raise LinkLost(self._server.discreet(str(error))) from None
        reply = replace(reply, text=self._server.discreet(reply.text))
        if reply.cause is ReplyCause.OUR_ACCOUNT:
            self._server.turned_away(reply.text)
        return reply


def _provider(address: EspAddress) -> Provider:
    match address.provider:
        case "ses":
            key_id, colon, secret = address.api_key.partition(":")
            if not (key_id and colon and secret) or address.url is None:
                raise Problem(
                    f'[{address.name}] provider = "ses" needs an api_key that is an access key\'s id and secret with '
                    "a colon between them, and a url such as 'https://email.eu-central-1.amazonaws.com'"
                )
            return Ses(key_id=key_id, secret=secret, url=address.url)
        case "mailgun":
            return Mailgun(api_key=address.api_key, url=address.url or MAILGUN)
        case _:
            return _by_anymail(address)


def _by_anymail(address: EspAddress) -> Provider:
    try:
        from nurture.delivery import esp_anymail
    except ImportError:
        raise Problem(
            f"[{address.name}] provider = \"{address.provider}\" needs django-anymail: pip install 'nurture[esp]'"
        ) from None
    match address.provider:
        case "sendgrid":
            return esp_anymail.sendgrid_provider(address.api_key, address.url)
        case "postmark":
            return esp_anymail.postmark_provider(address.api_key, address.url, address.stream)
        case _:
            return esp_anymail.brevo_provider(address.api_key, address.url)
