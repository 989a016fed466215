"""A problem that a person can mend: one line of what, where and what to do. Never a traceback."""

from __future__ import annotations


class Problem(Exception):
    """Raised anywhere below the command line; the command line prints its text and exits with 1."""
