"""Which characters a person's fields may hold: those that can neither command a header, a terminal nor a reader's eye.

Unsafe are control characters (RFC 5322 headers end at one), the line and paragraph separators of Unicode, lone
surrogates, and the bidirectional controls that make text read as something else (Unicode TR 36, section 2.6).
Joiners inside a word stay: Persian, Hindi and emoji are written with them.
"""

from __future__ import annotations

import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
_UNSAFE_IN_LINES = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff"


def trimmed(text: str) -> str:
    """Without the blanks around it: white space, and the invisible marks that copying from a page brings along."""
    text = text.strip()
    if text.isascii():
        return text
    while text and (text[0] in _INVISIBLE or text[-1] in _INVISIBLE):
        text = text.strip(_INVISIBLE).strip()
    return text


def is_safe(text: str) -> bool:
    """Whether a one-line field may hold this text."""
    return (text.isascii() and text.isprintable()) or _UNSAFE.search(text) is None


def is_safe_in_lines(text: str) -> bool:
    """Whether a free text may hold this: as `is_safe`, but tabs and line breaks are part of it."""
    return (text.isascii() and text.isprintable()) or _UNSAFE_IN_LINES.search(text) is None


def has_control(text: str) -> bool:
    """Whether a control character or a line separator is in it."""
    return not text.isprintable() and _CONTROL.search(text) is not None
