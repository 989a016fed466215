"""The expression language of segments, branches, goals, exits and rules (spec: conditions): text -> a checked tree.

Python's expression syntax, a whitelisted subset, never evaluated by Python. A condition is executed as SQL and nowhere
else (`store/segments.py`). Logic is two-valued: a comparison with a missing value is false, and so are `!=` and
`not in`; `not` of it is true; `is none` asks for missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from nurture.domain.conditions.errors import ConditionError
from nurture.domain.conditions.parser import Parser
from nurture.domain.conditions.source import MAX_LENGTH
from nurture.domain.conditions.tree import Not, Tree, say
from nurture.domain.conditions.vocabulary import CustomType, Vocabulary

__all__ = ["Condition", "ConditionError", "CustomType", "Vocabulary", "parse_condition"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition that was read and checked. `text` is canonical, with named segments written out."""

    text: str
    tree: Tree

    def negated(self) -> Condition:
        """True of exactly the leads that this one is not true of; SQL's NOT is not, where a value is missing."""
        tree = self.tree.part if isinstance(self.tree, Not) else Not(part=self.tree)
        return Condition(text=say(tree), tree=tree)


def parse_condition(text: str, vocabulary: Vocabulary) -> Condition:
    """Read and check; raises ConditionError with the place and what to write instead. No text makes it crash."""
    try:
        tree = Parser(text, vocabulary).read()
        written_out = say(tree)
    except RecursionError:
        raise ConditionError("nested too deep", 0) from None
    if len(written_out) > MAX_LENGTH:
        raise ConditionError(f"longer than {MAX_LENGTH} characters, segments written out: make it smaller", 0)
    return Condition(text=written_out, tree=tree)
