"""The child process that runs the MJML compiler and the CSS inliner: bounded memory and time, nothing of nurture.

It reads one JSON array of MJML texts a line, and answers with one line: an array of `[html, null]` or `[null, error]`.
A text that crashes the compiler ends this process and no other.
"""

import json
import sys

import css_inline
import mjml

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 600  # over its life; the parent bounds each request

try:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass  # a system without these limits; the parent's time-out remains

_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True)


def compile_one(text: str) -> list[str | None]:
    try:
        # no fonts: mrml would otherwise load Google's for its default family, and tell Google who reads
        return [_inliner.inline(mjml.mjml2html(text, fonts={})), None]
    except Exception as error:  # noqa: BLE001  whatever two foreign libraries raise is an answer here
        return [None, str(error) or type(error).__name__]


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps([compile_one(text) for text in json.loads(line)]) + "\n")
        sys.stdout.flush()
