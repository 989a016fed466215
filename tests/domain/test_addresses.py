"""One person, one key: what is an address, what is not, and that the quick way is never laxer than the careful one."""

from __future__ import annotations

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from nurture.domain import addresses
from nurture.domain.addresses import Address, AddressProblem, erased_key, read_address


@pytest.mark.parametrize(
    ("written", "text", "key"),
    [
        ("Ann@Example.COM", "Ann@example.com", "ann@example.com"),
        ("  ann@example.com\t", "ann@example.com", "ann@example.com"),
        ("\ufeff\u200bann@example.com\u200f ", "ann@example.com", "ann@example.com"),
        ("o'neil+x@mail.example.co.uk", "o'neil+x@mail.example.co.uk", "o'neil+x@mail.example.co.uk"),
        ("zoe@Bücher.example", "zoe@xn--bcher-kva.example", "zoe@xn--bcher-kva.example"),
        ("zoe@xn--bcher-kva.example", "zoe@xn--bcher-kva.example", "zoe@xn--bcher-kva.example"),
        ("Ünï@example.com", "Ünï@example.com", "ünï@example.com"),
        ("ann@lists.test", "ann@lists.test", "ann@lists.test"),
    ],
)
def test_case_padding_and_spelling_of_the_domain_make_no_other_person(written: str, text: str, key: str) -> None:
    read = read_address(written)
    assert (read.text, read.key, read.domain) == (text, key, key.rpartition("@")[2])


@pytest.mark.parametrize("written", ["", "   ", "\u200b", "\ufeff\n"])
def test_a_blank_is_no_address(written: str) -> None:
    with pytest.raises(AddressProblem) as caught:
        read_address(written)
    assert caught.value.reason == "no_address"


@pytest.mark.parametrize(
    "written",
    [
        "not-an-address",
        "@example.com",
        "missing-domain@",
        "a@b@example.com",
        "dots..dots@example.com",
        ".ann@example.com",
        "x@-bad-.example",
        "x@localhost",
        "x@test",
        "x@printer.local",
        "x@[127.0.0.1]",
        "ana@exa mple.com",
        "two@example.com,three@example.com",
        "Ann <ann@example.com>",
        '"quoted"@example.com',
        "tab\there@example.com",
        "ann@example.com\r\nBcc: eve@example.com",
        "nul\0@example.com",
        "ann\u2028@example.com",
        "ann\u202e@example.com",
        "x" * 65 + "@example.com",
        "x@" + "a" * 64 + ".example",
        "x@" + ".".join(["abcdefgh"] * 40) + ".com",
        "x" * 100_000 + "@example.com",
        "\ud800@example.com",
    ],
)
def test_what_no_server_takes_or_could_become_another_line_is_a_bad_address(written: str) -> None:
    with pytest.raises(AddressProblem) as caught:
        read_address(written)
    assert caught.value.reason == "bad_address"
    assert "\n" not in str(caught.value)


_ATOM = st.text(alphabet="aZ09!#$%&'*+-/=?^_`{|}~.", min_size=1, max_size=66)
_LABELS = st.lists(st.text(alphabet="aZz09-", min_size=1, max_size=64), min_size=1, max_size=5)
_ENDS = st.sampled_from(["com", "de", "museum", "c", "c1", "1c", "test", "local", "xn--p1ai", "ab--cd", "COM"])


@given(local=_ATOM, labels=_LABELS, end=_ENDS)
@example(local="a", labels=["ab--c"], end="com")
@example(local="a" * 64, labels=["b" * 63, "b" * 63, "b" * 60], end="com")
def test_the_quick_way_takes_nothing_that_email_validator_would_not(local: str, labels: list[str], end: str) -> None:
    written = f"{local}@{'.'.join([*labels, end])}"
    if not _went_the_quick_way(written):
        return
    found = validate_email(written, check_deliverability=False)
    assert read_address(written).text == found.normalized == found.ascii_email
    assert read_address(written).domain == found.ascii_domain


@given(st.text(max_size=40) | st.emails())
def test_both_ways_agree_on_any_text(written: str) -> None:
    try:
        read: Address | None = read_address(written)
    except AddressProblem:
        read = None
    try:
        bare = written.strip()
        found = validate_email(bare, check_deliverability=False, test_environment=True, strict=True) if bare else None
    except EmailNotValidError:
        found = None
    if read is not None and found is not None:
        assert read.key == f"{found.local_part}@{found.ascii_domain}".lower()
    if read is None and found is not None:
        assert "." not in found.ascii_domain


def _went_the_quick_way(written: str) -> bool:
    """The careful way is taken away; what is still read was read without it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(addresses, "_read_any", _refuse)
        try:
            read_address(written)
        except AddressProblem:
            return False
    return True


def _refuse(bare: str) -> Address:
    raise AddressProblem("bad_address", bare)


def test_an_erased_address_leaves_a_hash_that_only_the_secret_can_make() -> None:
    left = erased_key("one secret", "ann@example.com")
    assert left == erased_key("one secret", "ann@example.com")
    assert left.startswith("h:") and "ann" not in left
    assert left != erased_key("another secret", "ann@example.com")
    assert left != erased_key("one secret", "bob@example.com")
