"""``labkit``: the labs' verbs for a terminal and for scripts; each is the call that a notebook makes."""

from ..common.environment import prefer_own_libraries

prefer_own_libraries()

from .verbs import main  # noqa: E402 - with these libraries

__all__ = ["main"]
