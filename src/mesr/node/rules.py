"""Which rule a series falls under: by modality, description and the two AE titles; the first that matches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from .config import Rule
from .facts import Facts


def match(rules: Sequence[Rule], facts: Facts, calling: str, called: str) -> Rule | None:
    """The first rule for a series, or None where none is.

    Args:
        rules: in their order.
        facts: of any of its objects.
        calling, called: AE titles of the association it came by, which are compared as they are.
    """
    return next((rule for rule in rules if _fits(rule, facts, calling, called)), None)


def _fits(rule: Rule, facts: Facts, calling: str, called: str) -> bool:
    return (
        rule.modality in (None, facts.modality)
        and (rule.description is None or _like(facts.description, rule.description))
        and (rule.calling is None or calling in rule.calling)
        and (rule.called is None or called in rule.called)
    )


def _like(text: str, pattern: str) -> bool:
    """Whether the whole text is like a pattern of `*`, `?` and `[…]`, in whatever case."""
    return re.match(translate(pattern), text, re.IGNORECASE) is not None
