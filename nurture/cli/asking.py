"""What commands ask the database about leads: a condition as it was typed, and the moment and rules it is asked by."""

from __future__ import annotations

from nurture.authoring.workspace import Workspace
from nurture.bootstrap import Installation
from nurture.domain.conditions import Condition, ConditionError, parse_condition
from nurture.domain.problem import Problem
from nurture.store.segments import Asking


def asking(installation: Installation, files: Workspace) -> Asking:
    """Now, with scores as the lifecycle reckons them."""
    return Asking.by(files.lifecycle.engagement, now=installation.clock())


def read_where(text: str, files: Workspace) -> Condition:
    """`--where`: a condition, or a segment's name. Raises Problem with the place."""
    try:
        return parse_condition(files.segments.get(text.strip(), text), files.vocabulary)
    except ConditionError as error:
        raise Problem(f"--where:{error.offset + 1}: {error.message}") from None
