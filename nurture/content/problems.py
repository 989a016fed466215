"""What can be wrong with content: a template as written, or a letter for one lead."""

from __future__ import annotations


class TemplateError(Exception):
    """A mistake in a template file. `line` and `column` count from 1; `file` is relative to the templates' folder."""

    def __init__(self, *, file: str, line: int, column: int, message: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")
        self.file = file
        self.line = line
        self.column = column
        self.message = message


class RenderProblem(Exception):
    """This letter can't be made for this lead. The text says why, and names the field."""
