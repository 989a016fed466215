"""Signatures as Standard Webhooks has them, checked by its published vector and, where it is there, its library."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from nurture.domain.problem import Problem
from nurture.notify.webhook import post_id, read_secret, signed_headers, webhook_body

VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_published_vector() -> None:
    headers = signed_headers(
        b'{"test": 2432232314}',
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        secret=read_secret(VECTOR_SECRET),
        now=datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_reference_library_takes_what_we_sign() -> None:
    reference = pytest.importorskip("standardwebhooks")
    now = datetime.now(UTC)  # noqa: TID251  the library compares with the real clock
    body = webhook_body("cadence.step", {"lead": {"first_name": "Zoë \U0001f600"}}, at=now)
    headers = signed_headers(body, message_id="msg_1", secret=read_secret(VECTOR_SECRET), now=now)
    assert reference.Webhook(VECTOR_SECRET).verify(body, headers) == json.loads(body)
    with pytest.raises(reference.WebhookVerificationError):
        reference.Webhook(VECTOR_SECRET).verify(body + b" ", headers)


def test_a_secret_is_base64_after_its_prefix_and_plain_text_else() -> None:
    assert read_secret("whsec_" + base64.b64encode(b"\x00\xffkey").decode()) == b"\x00\xffkey"
    assert read_secret(" a plain secret\n") == b"a plain secret"
    for broken in ("whsec_", "whsec_not base64!", "whsec_abc"):
        with pytest.raises(Problem, match="whsec_") as raised:
            read_secret(broken)
        assert "not base64!" not in str(raised.value)


def test_an_id_is_the_posts_own_and_the_installations() -> None:
    assert post_id("step:1:hook:1", b"key") == post_id("step:1:hook:1", b"key")
    assert (
        len({post_id("step:1:hook:1", b"key"), post_id("step:2:hook:1", b"key"), post_id("step:1:hook:1", b"x")}) == 3
    )


def test_the_body_is_type_timestamp_data() -> None:
    at = datetime(2026, 11, 2, 9, 30, 15, 999, tzinfo=UTC)
    body = webhook_body("cadence.step", {"lead": {"name": "Zoë \ud800"}}, at=at)
    assert (
        body == '{"type":"cadence.step","timestamp":"2026-11-02T09:30:15Z","data":{"lead":{"name":"Zoë ?"}}}'.encode()
    )
