"""Which characters a person's fields may hold: those that can neither command a header, a terminal nor a reader's eye.

Unsafe are control characters (RFC 5322 headers end at one), the line and paragraph separators of Unicode, lone
surrogates, and the bidirectional controls that make text read as something else (Unicode TR 36, section 2.6), also
where an encoded-word (RFC 2047) hides them.
Joiners inside a word stay: Persian, Hindi and emoji are written with them.
"""

from __future__ import annotations

import binascii
import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
_UNSAFE_IN_LINES = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODED_WORD = re.compile(r"=\?([^?\s]*)\?([qQbB])\?(.*?)\?=", re.DOTALL)
_HEX = re.compile(r"=([0-9A-Fa-f]{2})")
_INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff"


def trimmed(text: str) -> str:
    """Without the blanks around it: white space, and the invisible marks that copying from a page brings along."""
    text = text.strip()
    if text.isascii():
        return text
    while text and (text[0] in _INVISIBLE or text[-1] in _INVISIBLE):
        text = text.strip(_INVISIBLE).strip()
    return text


def is_plain(text: str) -> bool:
    """A quick yes for nearly all text: printable, and no encoded-word in it. No says nothing yet."""
    return text.isprintable() and "=?" not in text


def is_safe(text: str) -> bool:
    """Whether a one-line field may hold this text."""
    return is_plain(text) or (_UNSAFE.search(text) is None and not _hides_unsafe(text))


def is_safe_in_lines(text: str) -> bool:
    """Whether a free text may hold this: as `is_safe`, but tabs and line breaks are part of it."""
    return is_plain(text) or (_UNSAFE_IN_LINES.search(text) is None and not _hides_unsafe(text))


def _hides_unsafe(text: str) -> bool:
    """Whether an encoded-word (RFC 2047) decodes to an unsafe character: a mail reader, or a library, would do so."""
    return any(_UNSAFE.search(_decoded(*match)) for match in _ENCODED_WORD.findall(text))


def _decoded(charset: str, encoding: str, content: str) -> str:
    content = content.encode("utf-8", "surrogatepass").decode("latin-1")
    if encoding in "qQ":
        raw = _HEX.sub(lambda match: chr(int(match[1], 16)), content).encode("latin-1")
    else:
        raw = _base64(content)
    try:
        return raw.decode(charset.partition("*")[0])
    except (LookupError, ValueError):
        return raw.decode("latin-1")


def _base64(content: str) -> bytes:
    """As forgiving as mail readers are: signs that don't belong and missing padding are passed over."""
    kept = re.sub(r"[^A-Za-z0-9+/]", "", content)
    kept = kept[: len(kept) - (len(kept) % 4 == 1)]
    return binascii.a2b_base64(kept + "=" * (-len(kept) % 4))


def visible(text: str) -> str:
    """The text with each unsafe character as its escape, so that it stays on its line and says what is in it."""
    return text if text.isprintable() else _UNSAFE.sub(_escaped, text)


def _escaped(unsafe: re.Match[str]) -> str:
    return unsafe[0].encode("unicode_escape").decode("ascii")


def has_control(text: str) -> bool:
    """Whether a control character or a line separator is in it."""
    return not text.isprintable() and _CONTROL.search(text) is not None
