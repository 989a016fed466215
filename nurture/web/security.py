"""What stands between the open internet and the pages: bounds on bodies, headers on answers, and who is asking.

Nothing a request says of itself (Host, X-Forwarded-For of a stranger) is believed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from nurture.content.tokens import Purpose, Tokens

BODY_LIMIT = 64 * 1024
FIELD_LIMIT = 100
FORM_TOKEN_LIFE = timedelta(hours=12)
"""How long a form may lie open before it is sent; an older one is shown again with what was typed."""
FORM_TOKEN_AHEAD = timedelta(minutes=5)
HOPS_AT_MOST = 20
NETWORK_PREFIX_V6 = 64
"""Whoever has one IPv6 address has its whole /64, so limits count by that."""

Network = IPv4Network | IPv6Network


def read_networks(addresses: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and CIDR blocks as networks. Raises ValueError with the entry that is none."""
    return tuple(ip_network(each, strict=False) for each in addresses)


def network_address(request: Request, trusted: Sequence[Network]) -> str:
    """Who is asking: the peer, or what trusted proxies in front of us say, read from the nearest one outwards.

    IPv6 addresses are written in full, so that a prefix of the text is a network. Empty when nothing is known.
    """
    peer = request.client.host if request.client else ""
    forwarded = [hop for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    address = _read_address(peer)
    for hop in reversed(forwarded[-HOPS_AT_MOST:]):
        claimed = _read_address(hop)
        if address is None or claimed is None or not any(address in network for network in trusted):
            break
        address = claimed
    return address.exploded if address is not None else ""


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_prefix(address: str) -> str:
    """What all addresses of one household or host share, as the start of their text."""
    return address[:19] if ":" in address else address


async def read_form(request: Request) -> FormData:
    """The fields of a body, urlencoded or multipart, without files. Raises HTTPException 413 or 400."""
    body = await _read_body(request)

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    content_type = request.headers.get("content-type", "")
    multipart = content_type.partition(";")[0].strip().lower() == "multipart/form-data"
    try:
        if multipart:
            return await MultiPartParser(request.headers, stream(), max_files=0, max_fields=FIELD_LIMIT).parse()
        return await FormParser(request.headers, stream(), max_fields=FIELD_LIMIT).parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise HTTPException(400) from error


async def _read_body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit() or int(announced[:12]) > BODY_LIMIT:
        raise HTTPException(413)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise HTTPException(413)
    return bytes(body)


def sign_form(tokens: Tokens, form: str, now: datetime) -> str:
    """A token that says this form was fetched from us, and when: proof against forged posts without a cookie."""
    return tokens.sign(Purpose.VISITOR, f"form~{int(now.timestamp())}~{_short(form)}")


def is_form_token(tokens: Tokens, form: str, token: str, now: datetime) -> bool:
    payload = tokens.read(Purpose.VISITOR, token)
    parts = (payload or "").split("~")
    if len(parts) != 3 or parts[0] != "form" or parts[2] != _short(form) or not parts[1].isdigit():
        return False
    age = now.timestamp() - int(parts[1])
    return -FORM_TOKEN_AHEAD.total_seconds() <= age <= FORM_TOKEN_LIFE.total_seconds()


def _short(form: str) -> str:
    return hashlib.sha256(form.encode()).hexdigest()[:12]
