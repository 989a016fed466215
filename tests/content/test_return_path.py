"""A return path names exactly one message, to whoever holds the key, whatever happened to its case on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.content.return_path import message_of, return_path
from nurture.content.tokens import Purpose, Tokens

TOKENS = Tokens(["a secret for tests alone"])
DOMAIN = "bounces.acme.example"


@given(st.integers(1, 2**63 - 1))
def test_it_is_a_short_local_part_in_small_letters_that_names_its_message(message: int) -> None:
    address = return_path(TOKENS, message, DOMAIN)
    local, _, domain = address.rpartition("@")
    assert len(local) <= 64
    assert local == local.lower()
    assert domain == DOMAIN
    for told in (address, address.upper(), f"<{address.title()}>"):
        assert message_of(TOKENS, told) == message


@given(st.data())
def test_a_changed_character_makes_it_nobodys(data: st.DataObject) -> None:
    local = return_path(TOKENS, 4711, DOMAIN).partition("@")[0]
    place = data.draw(st.integers(0, len(local) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789.+=-").filter(lambda c: c != local[place]))
    forged = f"{local[:place]}{other}{local[place + 1 :]}@{DOMAIN}"
    # the last letter of 26 in base 32 holds two bits beyond the 128, and they too must be as we wrote them
    assert message_of(TOKENS, forged) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "<>",
        "bounce+@x",
        "bounce+..@x",
        "bounce@x",
        "anna@acme.example",
        "bounce+" + "9" * 500 + "@x",
        "bounce+ß.1.é@x",
    ],
)
def test_what_we_never_made_ties_to_nothing(address: str) -> None:
    assert message_of(TOKENS, address) is None


def test_a_token_of_another_purpose_or_key_is_none_and_a_key_that_was_replaced_still_reads() -> None:
    other = Tokens(["another secret"])
    assert message_of(other, return_path(TOKENS, 7, DOMAIN)) is None
    unsubscribe = TOKENS.sign_folded(Purpose.UNSUBSCRIBE, "7")
    assert message_of(TOKENS, f"bounce+{unsubscribe}@{DOMAIN}") is None
    replaced = Tokens(["another secret", "a secret for tests alone"])
    assert message_of(replaced, return_path(TOKENS, 7, DOMAIN)) == 7
    assert message_of(replaced, return_path(replaced, 8, DOMAIN)) == 8
