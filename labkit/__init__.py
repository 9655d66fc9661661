"""labkit: the helper package behind the workshop's labs."""

from .lab import Lab, Person, expect_forbidden
from .practice import Practice, expect
from .questions import Question
from .steps import attempt, begin, check, overview

__all__ = ["Lab", "Person", "Practice", "Question", "attempt", "begin", "check", "expect", "expect_forbidden", "overview"]
