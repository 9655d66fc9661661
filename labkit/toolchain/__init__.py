"""Where programs come from: found on this machine, else in labkit's cache, else downloaded, else made through a package registry."""

from .recipe import Program
from .toolchain import PROGRAMS, Toolchain

__all__ = ["PROGRAMS", "Program", "Toolchain"]
