"""labkit: the helper package behind the workshop's labs."""

from .lab import Lab, Person, expect_forbidden
from .steps import begin, check

__all__ = ["Lab", "Person", "begin", "check", "expect_forbidden"]
