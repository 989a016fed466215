"""Who caused a hit: each sign alone, and the hits of one message in company."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.event import Verdict
from nurture.domain.verdict import (
    BURST_WITHIN,
    HONEYPOT_WITHIN,
    TOO_SOON,
    HitFacts,
    HitKind,
    Neighbour,
    Sign,
    judge,
    signs_in_company,
)

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
OUTLOOK = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; Microsoft Outlook 16.0.5110; MSOffice 16)"
)
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def a_click(**changes: object) -> HitFacts:
    facts = {"kind": HitKind.CLICK, "method": "GET", "user_agent": FIREFOX, "since_accepted": timedelta(hours=2)}
    return HitFacts(**(facts | changes))  # type: ignore[arg-type]  # a test's shorthand


def an_open(**changes: object) -> HitFacts:
    return a_click(kind=HitKind.OPEN, **changes)


def test_a_click_in_a_browser_is_a_persons() -> None:
    judgement = judge(a_click())
    assert (judgement.verdict, judgement.reason) == (Verdict.HUMAN, Sign.BROWSER)


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"method": "HEAD"}, Sign.HEAD),
        ({"prefetch": True}, Sign.PREFETCH),
        ({"honeypot": True}, Sign.HONEYPOT),
        ({"user_agent": ""}, Sign.NO_USER_AGENT),
        ({"user_agent": "   "}, Sign.NO_USER_AGENT),
        ({"crawler": True}, Sign.SCANNER),
        ({"user_agent": f"{FIREFOX} BarracudaCentral"}, Sign.SCANNER),
        ({"user_agent": "Mozilla/5.0 (compatible; Proofpoint URL Defense)"}, Sign.SCANNER),
        ({"user_agent": "Mozilla/5.0 (compatible; Mimecast)"}, Sign.SCANNER),
        ({"user_agent": "Mozilla/5.0 (Windows NT 10.0) SafeLinks"}, Sign.SCANNER),
        ({"user_agent": "Microsoft Office Existence Discovery"}, Sign.SCANNER),
        ({"user_agent": "python-requests/2.32"}, Sign.SCANNER),
        ({"user_agent": "curl/8.9.1"}, Sign.SCANNER),
        ({"since_accepted": TOO_SOON - timedelta(milliseconds=1)}, Sign.TOO_SOON),
        ({"since_accepted": timedelta(seconds=-1)}, Sign.TOO_SOON),
    ],
)
def test_one_sign_is_enough_for_a_machine(changes: dict[str, object], sign: Sign) -> None:
    judgement = judge(a_click(**changes))
    assert (judgement.verdict, judgement.reason) == (Verdict.MACHINE, sign)


def test_a_click_right_after_the_grace_is_a_persons() -> None:
    assert judge(a_click(since_accepted=TOO_SOON)).verdict is Verdict.HUMAN
    assert judge(a_click(since_accepted=None)).verdict is Verdict.HUMAN


def test_a_program_that_nobody_knows_is_not_taken_for_a_person() -> None:
    judgement = judge(a_click(user_agent="Frobnicator 3"))
    assert (judgement.verdict, judgement.reason) == (Verdict.PROBABLE, Sign.UNKNOWN_AGENT)


@pytest.mark.parametrize("agent", [FIREFOX, IPHONE, OUTLOOK])
def test_a_mail_programs_open_is_a_persons(agent: str) -> None:
    # public lists of crawlers name Outlook; a picture that it loads was looked at all the same
    assert judge(an_open(user_agent=agent, crawler=agent == OUTLOOK)).verdict is Verdict.HUMAN


def test_an_image_proxy_makes_an_open_probable_and_a_click_a_machines() -> None:
    opened = judge(an_open(user_agent=GMAIL, crawler=True))
    assert (opened.verdict, opened.reason) == (Verdict.PROBABLE, Sign.IMAGE_PROXY)
    assert judge(a_click(user_agent=GMAIL, crawler=True)).verdict is Verdict.MACHINE


def test_apples_prefetch_is_no_open_by_a_person() -> None:
    judgement = judge(an_open(user_agent="Mozilla/5.0"))
    assert (judgement.verdict, judgement.reason) == (Verdict.MACHINE, Sign.APPLE_PREFETCH)


def hit(key: int, seconds: float, link: int | None, **changes: object) -> Neighbour:
    facts: dict[str, object] = {"honeypot": False, "user_agent": FIREFOX, "network_address": "192.0.2.7"}
    return Neighbour(key=key, at=NOON + timedelta(seconds=seconds), link=link, **(facts | changes))  # type: ignore[arg-type]


def test_three_links_within_ten_seconds_give_all_three_away() -> None:
    hits = [hit(1, 0, 0), hit(2, 4, 1), hit(3, BURST_WITHIN.total_seconds(), 2)]
    assert signs_in_company(hits) == {1: Sign.BURST, 2: Sign.BURST, 3: Sign.BURST}
    assert signs_in_company(list(reversed(hits))) == signs_in_company(hits)


def test_two_links_or_one_link_often_or_slow_reading_is_no_burst() -> None:
    assert signs_in_company([hit(1, 0, 0), hit(2, 1, 1)]) == {}
    assert signs_in_company([hit(key, key, 0) for key in range(8)]) == {}
    assert signs_in_company([hit(1, 0, 0), hit(2, 6, 1), hit(3, 12, 2), hit(4, 18, 3)]) == {}


def test_a_burst_takes_only_its_own_clicks() -> None:
    hits = [hit(1, -60, 0), hit(2, 0, 0), hit(3, 0, 1), hit(4, 0, 2), hit(5, 0, None), hit(6, 45, 1)]
    assert signs_in_company(hits) == {2: Sign.BURST, 3: Sign.BURST, 4: Sign.BURST}


def test_who_takes_the_bait_is_a_machine_before_and_after() -> None:
    edge = HONEYPOT_WITHIN.total_seconds()
    other = {"network_address": "198.51.100.4", "user_agent": IPHONE}
    hits = [
        hit(1, -edge, 0),
        hit(2, 0, None, honeypot=True),
        hit(3, edge, 1),
        hit(4, edge + 1, 1),
        hit(5, 3, 1, **other),
        hit(6, 3, None, network_address="203.0.113.9"),
    ]
    assert signs_in_company(hits) == {
        1: Sign.HONEYPOT_VISITOR,
        2: Sign.HONEYPOT_VISITOR,
        3: Sign.HONEYPOT_VISITOR,
        6: Sign.HONEYPOT_VISITOR,  # the same program from another address
    }


def test_without_address_and_agent_nobody_is_the_same() -> None:
    unknown = {"network_address": "", "user_agent": ""}
    assert signs_in_company([hit(1, 0, None, honeypot=True, **unknown), hit(2, 1, 0, **unknown)]) == {}
