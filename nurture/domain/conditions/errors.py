"""What is wrong with a condition, and where."""

from __future__ import annotations


class ConditionError(ValueError):
    """One line of what is wrong and what to write; `offset` counts characters of the condition's text from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
