"""The labs' terms: `glossary.yaml` has two sentences on each."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ..common.tables import table


def glossary() -> dict[str, str]:
    """Read the terms, in the order of the alphabet."""
    return dict(table(Path(__file__).with_suffix(".yaml")))


def meant(word: str) -> list[str]:
    """Find the terms that a word may mean: that one, else all that begin with it, else those in it, else what is spelt much like it."""
    terms = {term.casefold(): term for term in glossary()}
    word = word.casefold()
    beginning, within = [term for term in terms if term.startswith(word)], [term for term in terms if term in word]
    found = [word] if word in terms else beginning or within or get_close_matches(word, terms)
    return [terms[term] for term in found]
