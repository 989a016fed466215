"""A signed webhook as Standard Webhooks 1.0 says it: the body, the three headers, the secret's two spellings."""

from __future__ import annotations

import binascii
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nurture.domain.problem import Problem

PREFIX = "whsec_"


def read_secret(text: str) -> bytes:
    """The signing key behind `whsec_…` (base64), or any other text as it is. Raises Problem, without the secret."""
    text = text.strip()
    if not text.startswith(PREFIX):
        return text.encode()
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("a webhook's secret that begins with 'whsec_' goes on in base64: copy all of it") from None
    if not key:
        raise Problem("a webhook's secret holds nothing after 'whsec_': copy all of it")
    return key


def post_id(post_key: str, key: bytes) -> str:
    """What the receiver tells repeats apart by: the same for every try of one post, and no other's."""
    return f"msg_{hmac.digest(key, post_key.encode(), 'sha256')[:16].hex()}"


def webhook_body(kind: str, data: Mapping[str, Any], *, at: datetime) -> bytes:
    """`{"type", "timestamp", "data"}`; `at` is when it happened, and the same at every try."""
    moment = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    whole = {"type": kind, "timestamp": moment, "data": data}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def signed_headers(body: bytes, *, message_id: str, secret: bytes, now: datetime) -> dict[str, str]:
    """`webhook-id`, `-timestamp` and `-signature` (v1: HMAC-SHA256 over `id.timestamp.body`); `now` is this try's."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(secret, signed, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
