"""Text without e-mail addresses, for logs: whoever reads them learns nothing of who is written to.

What looks like an address is taken for one, also in the disguises that replies, URLs and program texts give it. A
word too many is lost rather than an address kept.
"""

from __future__ import annotations

import re

INSTEAD = "[address]"
_AT = (
    r"(?:[@\uff20\ufe6b]"  # the sign itself, and its wide and small forms
    r"|%(?:25)*40"  # in a URL, encoded once or more often
    r"|&\#0*64|&\#[xX]0*40|&commat"  # in HTML
    r"|\\u0040|\\x40|\\100"  # in a program text
    r"|=40(?=[^\s=]{1,255}\.[^\W\d]))"  # in quoted-printable, where a domain follows
)
_QUOTED = rf'"[^"\n]{{0,200}}"(?={_AT})'  # the local part of "anna meier"@example.com
_WORD = re.compile(rf'(?:{_QUOTED})?[^\s"(),:;<>\[\]]+')
_AT_WITHIN = re.compile(rf"(?<=.){_AT}", re.DOTALL)
_ANY_AT = re.compile(_AT)


def redact(text: str) -> str:
    """Each word with an address in it becomes `[address]`. Takes time in proportion to the length, whatever comes."""
    return _WORD.sub(_without, text) if _ANY_AT.search(text) else text


def _without(word: re.Match[str]) -> str:
    return INSTEAD if _AT_WITHIN.search(word[0]) else word[0]
