"""What is wrong with a lab: looked for from the ground up, named with its evidence and the fix."""

from .diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
