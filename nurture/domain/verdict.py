"""Who caused a hit on a tracked address: a human, probably one, or a machine. Pure; knows no HTTP and no tables.

Two looks: `judge` sees one hit alone; `signs_in_company` sees the hits of one message together, and finds the bursts
and honeypot visits that no single hit shows. The second look may revise what the first one said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from nurture.domain.event import Verdict

TOO_SOON = timedelta(seconds=5)
"""After the recorded 250: nobody reads a mail and clicks that fast, a gateway that checks it does."""
BURST_WITHIN = timedelta(seconds=10)
BURST_LINKS = 3
"""So many distinct links of one message within BURST_WITHIN are a scanner walking through the mail."""
HONEYPOT_WITHIN = timedelta(seconds=90)
"""Hits of whoever took the bait count as the machine's, this long before and after."""


class HitKind(StrEnum):
    """What was asked for; the values are the routes' first letters."""

    OPEN = "o"
    CLICK = "c"
    DOWNLOAD = "m"


class Sign(StrEnum):
    """Why a verdict was given; stored with it and explained in the docs."""

    HEAD = "head"
    PREFETCH = "prefetch"
    HONEYPOT = "honeypot"
    NO_USER_AGENT = "no_user_agent"
    SCANNER = "scanner"
    APPLE_PREFETCH = "apple_prefetch"
    IMAGE_PROXY = "image_proxy"
    TOO_SOON = "too_soon"
    BURST = "burst"
    HONEYPOT_VISITOR = "honeypot_visitor"
    UNKNOWN_AGENT = "unknown_agent"
    BROWSER = "browser"


@dataclass(frozen=True, kw_only=True)
class HitFacts:
    """One hit. `crawler` is what a library of crawlers says of the user agent; `since_accepted` is the time since the
    next hop accepted the message: None when that is not known, negative when it has not answered yet.
    """

    kind: HitKind
    method: str
    user_agent: str
    prefetch: bool = False
    crawler: bool = False
    honeypot: bool = False
    since_accepted: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    verdict: Verdict
    reason: Sign


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A hit among the hits of its message. `link` is None for an open; a honeypot visit is no link of the letter."""

    key: int
    at: datetime
    link: int | None
    honeypot: bool
    user_agent: str
    network_address: str


# Gateways and mail services that fetch links and pictures by themselves, by what stands in their user agents. Most of
# them are missing from public lists of crawlers, which are made for web sites.
_SCANNERS = re.compile(
    r"barracuda|proofpoint|urldefense|safelinks|mimecast|forcepoint|websense|trend ?micro|symantec|messagelabs"
    r"|fireeye|trellix|sophos|ironport|cisco-?(?:esa|amp|talos)|zscaler|checkpoint|check point|avanan|cloudmark|vade"
    r"|hornetsecurity|spamtitan|mailguard|cyren|bitdefender|kaspersky|area1|area 1 security|abnormal ?security|egress"
    r"|microsoft office (?:protocol|existence) discovery|skypeuripreview|bingpreview|owa-?urlcheck"
    r"|linkcheck|link[ -]?(?:preview|expand|scan)|url[ -]?(?:scan|check|preview)|virustotal|phish|antivirus|mailscanner"
    r"|slackbot|slack-imgproxy|whatsapp|telegrambot|twitterbot|facebookexternalhit|discordbot|linkedinbot"
    r"|python|curl|wget|go-http-client|java/|libwww|okhttp|axios|node-fetch|undici|headlesschrome|phantomjs|puppeteer"
    r"|playwright|httpclient|http_request|winhttp|bot\b|crawler|spider",
    re.IGNORECASE,
)
# Gmail and Yahoo fetch the picture through a proxy, usually because a person opened the mail, sometimes ahead of it.
_IMAGE_PROXIES = re.compile(r"googleimageproxy|ggpht\.com|yahoomailproxy|outlook-?imageproxy", re.IGNORECASE)
# Mail programs that lists of crawlers name, because they fetch pictures without being browsers.
_MAIL_PROGRAMS = re.compile(r"outlook|thunderbird|airmail|lotus-notes|postbox|emclient|foxmail|spark", re.IGNORECASE)
# Mail Privacy Protection loads every picture on arrival under this bare name, read or not.
_APPLE_PREFETCH = "mozilla/5.0"
# A browser or a mail program names its platform in brackets (RFC 9110, section 10.1.5, and the habit of 30 years).
_ORDINARY = re.compile(r"^(?:Mozilla/\d|Opera/\d|Microsoft Outlook|Outlook-|Thunderbird|AppleMail).*\(", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Agent:
    """What a user agent tells of itself."""

    named: bool
    scanner: bool
    image_proxy: bool
    mail_program: bool
    apple_prefetch: bool
    ordinary: bool


@lru_cache(maxsize=4096)
def _agent(user_agent: str) -> _Agent:
    """Most readers share a few hundred user agents, and searching one was a sixth of what storing a hit costs."""
    agent = user_agent.strip()
    return _Agent(
        named=bool(agent),
        scanner=_SCANNERS.search(agent) is not None,
        image_proxy=_IMAGE_PROXIES.search(agent) is not None,
        mail_program=_MAIL_PROGRAMS.search(agent) is not None,
        apple_prefetch=agent.lower() == _APPLE_PREFETCH,
        ordinary=_ORDINARY.match(user_agent) is not None,
    )


def judge(hit: HitFacts) -> Judgement:
    """The verdict on one hit by its own signs; the strongest sign is named. Opens alone decide nothing elsewhere,
    so an ordinary mail program's open counts as human, an image proxy's as probable.
    """
    agent = _agent(hit.user_agent)
    sign = _machine_sign(hit, agent)
    if sign is not None:
        return Judgement(verdict=Verdict.MACHINE, reason=sign)
    if agent.image_proxy:
        return Judgement(verdict=Verdict.PROBABLE, reason=Sign.IMAGE_PROXY)
    if not agent.ordinary:
        return Judgement(verdict=Verdict.PROBABLE, reason=Sign.UNKNOWN_AGENT)
    return Judgement(verdict=Verdict.HUMAN, reason=Sign.BROWSER)


def _machine_sign(hit: HitFacts, agent: _Agent) -> Sign | None:
    reader = hit.kind is HitKind.OPEN and (agent.image_proxy or agent.mail_program)
    found = (
        (hit.honeypot, Sign.HONEYPOT),
        (hit.method == "HEAD", Sign.HEAD),
        (hit.prefetch, Sign.PREFETCH),
        (not agent.named, Sign.NO_USER_AGENT),
        (not reader and (hit.crawler or agent.scanner), Sign.SCANNER),
        (hit.kind is HitKind.OPEN and agent.apple_prefetch, Sign.APPLE_PREFETCH),
        (hit.since_accepted is not None and hit.since_accepted < TOO_SOON, Sign.TOO_SOON),
    )
    return next((sign for present, sign in found if present), None)


def signs_in_company(hits: Sequence[Neighbour]) -> dict[int, Sign]:
    """Which hits of one message the company they keep gives away: key -> sign. Hits may come in any order."""
    in_order = sorted(hits, key=lambda hit: (hit.at, hit.key))
    signs = dict.fromkeys(_bursts(in_order), Sign.BURST)
    baits = [hit for hit in in_order if hit.honeypot]
    for hit in in_order:
        if any(_same_visitor(hit, bait) and abs(hit.at - bait.at) <= HONEYPOT_WITHIN for bait in baits):
            signs.setdefault(hit.key, Sign.HONEYPOT_VISITOR)
    return signs


def _bursts(in_order: Sequence[Neighbour]) -> set[int]:
    """Keys of the clicks that lie in some stretch of BURST_WITHIN with BURST_LINKS distinct links."""
    clicks = [hit for hit in in_order if hit.link is not None]
    links: Counter[int | None] = Counter()
    flagged: set[int] = set()
    first = 0
    for place, click in enumerate(clicks):
        links[click.link] += 1
        while click.at - clicks[first].at > BURST_WITHIN:
            links[clicks[first].link] -= 1
            links += Counter()  # drops what fell to zero
            first += 1
        if len(links) >= BURST_LINKS:
            flagged.update(each.key for each in clicks[first : place + 1])
    return flagged


def _same_visitor(one: Neighbour, other: Neighbour) -> bool:
    if one.network_address and one.network_address == other.network_address:
        return True
    return bool(one.user_agent) and one.user_agent == other.user_agent
