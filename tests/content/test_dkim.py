"""Signatures are verified by another implementation (dkimpy), and break when a signed thing is changed."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from nurture.content.dkim import DkimSigner
from nurture.content.letters import Composer
from nurture.domain.problem import Problem
from tests.content.writing import library, mjml, request

Key = RSAPrivateKey | Ed25519PrivateKey


class VerifyKey:
    """What dkimpy asks of PyNaCl, from the library that is here; the rest of the verifying is dkimpy's own."""

    def __init__(self, key: bytes, encoder: object) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(b64decode(key))

    def verify(self, data: bytes, signature: bytes) -> bytes:
        self._key.verify(signature, data)
        return data


@pytest.fixture(autouse=True)
def _nacl(monkeypatch: pytest.MonkeyPatch) -> None:
    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(ValueError=ValueError, BadSignatureError=InvalidSignature),
    )
    if not hasattr(dkim, "nacl"):
        monkeypatch.setattr(dkim, "nacl", nacl, raising=False)


@pytest.fixture(scope="module", params=["rsa", "ed25519"])
def key(request: pytest.FixtureRequest) -> Key:
    return generate_private_key(65537, 2048) if request.param == "rsa" else Ed25519PrivateKey.generate()


def pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]


def record(key: Key) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return b"v=DKIM1; k=ed25519; p=" + b64encode(raw)
    return b"v=DKIM1; k=rsa; p=" + b64encode(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


def verifies(wire: bytes, key: Key) -> bool:
    asked = []

    def dns(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return record(key)

    found = dkim.verify(wire, dnsfunc=dns)
    assert asked in ([], [b"s1._domainkey.acme.example."])
    return bool(found)


def test_a_signed_letter_verifies_and_a_changed_one_does_not(tmp_path: Path, key: Key) -> None:
    signer = DkimSigner(domain="acme.example", selector="s1", private_key_pem=pem(key))
    composer = Composer(
        library(tmp_path, letter=mjml("Hello  {{ lead.first_name }} \n\n <a href='https://a.example'>x</a>"))
    )
    for name in ("Zoë", "A" * 300, "two  spaces ", "=?utf-8?q?x?="):
        asked = request(lead={"first_name": name}, subject="{{ lead.first_name }}, hello", to_name=name)
        wire = composer.compose(replace(asked, dkim=(signer,))).wire
        assert wire.startswith(b"DKIM-Signature: v=1; a=")
        assert max(map(len, wire.split(b"\r\n"))) <= 150
        assert verifies(wire, key)
        assert not verifies(wire.replace(b"Hello", b"Hallo"), key)
        assert not verifies(wire.replace(b"One-Click", b"Two-Click"), key), "the RFC 8058 pair is signed"
        assert not verifies(wire.replace(b"\r\nDate:", b"\r\nSubject: another\r\nDate:"), key), "nothing can be added"


def test_each_key_of_a_domain_makes_a_signature_of_its_own(tmp_path: Path) -> None:
    keys: dict[str, Key] = {"r1": generate_private_key(65537, 2048), "e1": Ed25519PrivateKey.generate()}
    signers = [DkimSigner(domain="acme.example", selector=name, private_key_pem=pem(key)) for name, key in keys.items()]
    composer = Composer(library(tmp_path, letter=mjml("Hello")))
    wire = composer.compose(replace(request(), dkim=signers)).wire
    verifiers = [dkim.DKIM(wire), dkim.DKIM(wire)]
    for at, verifier in enumerate(verifiers):
        assert verifier.verify(idx=at, dnsfunc=lambda name, timeout=5: record(keys[name[:2].decode()]))
    assert [verifier.selector for verifier in verifiers] == [b"r1", b"e1"]


@pytest.mark.parametrize("bad", ["", "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n", "secret"])
def test_a_key_that_is_none_is_one_line_without_the_key(bad: str) -> None:
    with pytest.raises(Problem) as caught:
        DkimSigner(domain="acme.example", selector="s1", private_key_pem=bad)
    assert "\n" not in str(caught.value)
    assert bad not in str(caught.value) or not bad


def test_other_kinds_of_keys_and_names_are_refused() -> None:
    with pytest.raises(Problem, match="RSA of 2048 bits, or Ed25519"):
        DkimSigner(domain="acme.example", selector="s1", private_key_pem=pem(generate_ec(SECP256R1())))
    with pytest.raises(Problem, match="selector"):
        DkimSigner(domain="acme.example", selector="s1;", private_key_pem=pem(Ed25519PrivateKey.generate()))
