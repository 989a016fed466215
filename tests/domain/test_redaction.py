"""No address gets through, however it is dressed; what is none stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.redaction import INSTEAD, redact

ADDRESSES = [
    "anna.meier+news@acme.example",
    "o'brien_{x}!#$%&*/=?^`|~-1@sub.acme.example",
    "ännä@bücher.example",
    "anna@xn--bcher-kva.example",
    "ANNA@ACME.EXAMPLE",
    "anna@localhost",
    '"anna meier"@acme.example',
    '\\"anna meier\\"@acme.example',
    "anna@[192.0.2.1]",
    "anna%40acme.example",
    "anna%2540acme.example",
    "anna%252540acme.example",
    "anna\uff20acme.example",
    "anna&#64;acme.example",
    "anna&#x40;acme.example",
    "anna&commat;acme.example",
    "anna=40acme.example",
    "anna\\u0040acme.example",
    "anna\\x40acme.example",
    "bounces+anna=other.example@acme.example",
]
SETTINGS = [
    "{}",
    "<{}>",
    "550 5.1.1 <{}>: Recipient address rejected: User unknown",
    "rfc822;{}",
    "to={}, relay=mx",
    "{{'to': '{}', 'n': 1}}",
    "GET /f/guide?email={}&x=1",
    "mailto:{}?subject=hi",
    "(email_key)=({}) already exists",
    "first\n{}\nlast",
    "{},{}",
]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_gets_out_of_no_text(address: str, setting: str) -> None:
    told = redact(setting.replace("{{", "{").replace("}}", "}").replace("{}", address)).lower()
    assert INSTEAD in told
    for person in ("anna", "ännä", "brien", "meier"):
        assert person not in told, told


@pytest.mark.parametrize(
    "text",
    [
        "files_taken_up",
        "451 4.7.1 greylisted, try again later",
        "cadences/welcome.yaml:14:11: error: wait '3 dayz'",
        "  @property",
        "    c = a @ b",
        "done 40% of size=40, x=4012",
        "2026-11-02T09:00:00Z 127.0.0.1:25 [::1]:25",
        "",
    ],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("piece", ["a@b", '"', "@", "%25", "=40", "&#0", "x"])
def test_no_text_is_too_long(piece: str) -> None:
    """A pattern that went back over its text would not come to an end with these."""
    assert redact(piece * 200_000 + " zoe@example.com").endswith(f" {INSTEAD}")


@given(before=st.text(max_size=40), local=st.from_regex(r"[a-z0-9]{6,12}", fullmatch=True), after=st.text(max_size=40))
def test_whatever_stands_around_it(before: str, local: str, after: str) -> None:
    told = redact(f"{before}{local}@acme.example{after}")
    assert f"{local}@" not in told
