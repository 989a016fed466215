"""The channels of config.toml ([alerts.…]), ready to be posted to: what a post looks like on each of them.

An address or a secret that is missing stops nothing else: the channel says so, and what is posted to it waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from nurture.domain.problem import Problem
from nurture.notify.webhook import post_id, read_secret, signed_headers, webhook_body
from nurture.settings import AlertChannel, Settings, check_channel_url


@dataclass(frozen=True, kw_only=True)
class Channel:
    """`problem` says why nothing can be posted to it now. Neither its address nor its secret is shown by `repr`."""

    name: str
    kind: Literal["slack", "webhook"]
    url: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class PostRequest:
    """What goes over the wire for one try."""

    url: str = field(repr=False)
    headers: Mapping[str, str]
    body: bytes


def read_channels(
    settings: Settings, *, secret_of: Callable[[str], str | None], own_secret: Callable[[str], bytes]
) -> dict[str, Channel]:
    """Every channel by its name. `secret_of` looks up `env:` and `file:`; `own_secret` signs where none is named."""
    return {name: _read(name, each, secret_of, own_secret) for name, each in settings.alerts.items()}


def _read(
    name: str, said: AlertChannel, secret_of: Callable[[str], str | None], own_secret: Callable[[str], bytes]
) -> Channel:
    try:
        url = said.url
        if url.startswith(("env:", "file:")):
            url = (secret_of(url) or "").strip()
        _check_address(name, url)
        secret = b""
        if said.kind == "webhook":
            secret = read_secret(secret_of(said.secret) or "") if said.secret is not None else own_secret(name)
    except Problem as problem:
        return Channel(name=name, kind=said.kind, problem=str(problem))
    return Channel(name=name, kind=said.kind, url=url, secret=secret)


def _check_address(name: str, url: str) -> None:
    try:
        check_channel_url(url)
    except ValueError as error:
        raise Problem(f"[alerts.{name}] {error}") from None


def post_request(channel: Channel, row: Any, *, id_key: bytes, now: datetime) -> PostRequest:
    """One try of a post (a row of the table): signed for a webhook, plain for a chat room."""
    headers = {"content-type": "application/json", "user-agent": "nurture", "accept-encoding": "identity"}
    if channel.kind == "slack":
        body = json.dumps(row.body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        return PostRequest(url=channel.url, headers=headers, body=body)
    body = webhook_body(row.kind, row.body, at=row.created_at)
    signed = signed_headers(body, message_id=post_id(row.post_key, id_key), secret=channel.secret, now=now)
    return PostRequest(url=channel.url, headers=headers | signed, body=body)
