"""Pictures of a lab as it is at the moment, each with a text that says the same."""

from .chain import trust_chain
from .timeline import timeline
from .token import lifetime, taken_apart

__all__ = ["lifetime", "taken_apart", "timeline", "trust_chain"]
