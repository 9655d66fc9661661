"""labkit: the helper package behind the workshop's labs."""

from .lab import Lab, Person, expect_forbidden
from .questions import Question
from .steps import attempt, begin, check, overview

__all__ = ["Lab", "Person", "Question", "attempt", "begin", "check", "expect_forbidden", "overview"]
