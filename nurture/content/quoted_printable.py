"""Quoted-printable (RFC 2045, 6.7) in whole lines, so that pieces encoded apart can simply be put one after another.

Every encoded piece begins at the start of a line and ends with a line break, soft (`=`) unless the text itself breaks
there. No line is longer than 76 characters, starts with a dot (so SMTP has nothing to stuff), or ends in white space
(so DKIM's "simple" body is already canonical).
"""

from __future__ import annotations

import re

LINE = 73  # with a first dot written as =2E and the soft break's own "=": 76
SOFT_BREAK = "=\r\n"

_UNSAFE = re.compile(rb"[^ -<>-~\t]")
_PLAIN = re.compile(r"[ -\-/-<>-~][ -<>-~]{0,71}\Z").match
_BREAKS_OR_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_NEWLINES = re.compile(r"\r\n?|[\u2028\u2029\x85]")
# what HTML and mail have no use for; a lone surrogate becomes a question mark when encoded
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), None)


def encode(text: str) -> str:
    """Whole lines of quoted-printable; "" for "". Control characters are left out, any newline becomes CRLF."""
    if _PLAIN(text):
        return text + SOFT_BREAK
    if not _BREAKS_OR_CONTROLS.search(text):
        return _line(text, hard=False) + SOFT_BREAK if text else ""
    *whole, rest = _NEWLINES.sub("\n", text).translate(_CONTROLS).split("\n")
    encoded = [_line(line, hard=True) + "\r\n" for line in whole]
    if rest:
        encoded.append(_line(rest, hard=False) + SOFT_BREAK)
    return "".join(encoded)


def encode_inline(text: str, room: int) -> str:
    """Like `encode`, but leaves at least `room` characters on the last line, for what is to be appended."""
    encoded = encode(text).removesuffix(SOFT_BREAK)
    last = len(encoded) - (encoded.rfind("\n") + 1)
    return encoded if last + room <= LINE else encoded + SOFT_BREAK


def _line(line: str, *, hard: bool) -> str:
    escaped = _UNSAFE.sub(_hex, line.encode("utf-8", "replace")).decode("ascii")
    if hard and escaped.endswith((" ", "\t")):
        escaped = escaped[:-1] + ("=20" if escaped[-1] == " " else "=09")
    if len(escaped) <= LINE and not escaped.startswith("."):
        return escaped
    pieces = []
    start = 0
    while start < len(escaped):
        end = start + LINE
        if end < len(escaped):
            end -= 1 if escaped[end - 1] == "=" else 2 if escaped[end - 2] == "=" else 0
        piece = escaped[start:end]
        pieces.append("=2E" + piece[1:] if piece[0] == "." else piece)
        start = end
    return SOFT_BREAK.join(pieces)


def _hex(match: re.Match[bytes]) -> bytes:
    return b"=%02X" % match[0][0]
