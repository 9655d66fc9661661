"""``labkit``: the labs' verbs for a terminal and for scripts; each is the call that a notebook makes."""

from .verbs import main

__all__ = ["main"]
