"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell that starts a command in the background has it ignore interrupts, and its children inherit that. Some tests interrupt theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
