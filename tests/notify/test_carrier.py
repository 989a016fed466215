"""Over real sockets: certificates are checked, the environment is not asked, and a reply is read in bounds."""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nurture.notify.carrier import Fate, HttpCarrier, PostReply
from nurture.notify.channels import PostRequest
from tests.receiver import Say, receiving


def carried(url: str) -> PostReply:
    async def once() -> PostReply:
        carrier = HttpCarrier(patience_s=10)
        try:
            return await carrier.carry(PostRequest(url=url, headers={"x": "1"}, body=b"{}"))
        finally:
            await carrier.close()

    # in a thread of its own: a browser test of the same process may have a loop running in this one
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(once())).result()


def a_certificate_of_its_own(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)  # noqa: TID251  a certificate holds by the real clock
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(a_certificate_of_its_own(tmp_path))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the refused handshake is what is wanted
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        reply = carried(f"https://127.0.0.1:{server.server_address[1]}/")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert reply.fate is Fate.AWAY
    assert "certificate" in reply.text.lower()


def test_the_environment_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving() as receiver:
        assert carried(receiver.url).fate is Fate.TAKEN


@pytest.mark.parametrize(
    ("said", "fate", "text"),
    [
        (Say(status=200, body="größer ✓".encode()), Fate.TAKEN, "200 größer ✓"),
        (Say(status=299), Fate.TAKEN, "299"),
        (Say(status=500, body=b"\xff\xfe\x00\x1b[2J\r\nline"), Fate.AGAIN, "500 \ufffd\ufffd [2J line"),
        (Say(status=404, body=b"no_service"), Fate.AGAIN, "404 no_service"),
        (Say(status=308, headers={"location": "http://169.254.169.254/"}), Fate.AGAIN, "308"),
        (Say(status=200, body=b"\x1f\x8b" + b"\x00" * 50, headers={"content-encoding": "gzip"}), Fate.TAKEN, None),
        (Say(status=410), Fate.GONE, "410"),
    ],
)
def test_what_became_of_it(said: Say, fate: Fate, text: str | None) -> None:
    with receiving() as receiver:
        receiver.says(said)
        reply = carried(receiver.url)
    assert reply.fate is fate
    assert len(reply.text) <= 300
    if text is not None:
        assert reply.text == text


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1", "https://", "http://a b/"])
def test_nobody_there_is_no_traceback(url: str) -> None:
    reply = carried(url)
    assert reply.fate is Fate.AWAY
    assert reply.text
