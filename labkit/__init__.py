"""labkit: the helper package behind the workshop's labs."""

from .lab import Lab, Person, expect_forbidden
from .practice import Practice, expect
from .steps import attempt, begin, check, overview, question

__all__ = ["Lab", "Person", "Practice", "attempt", "begin", "check", "expect", "expect_forbidden", "overview", "question"]
