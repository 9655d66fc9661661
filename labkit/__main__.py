"""``python -m labkit``: the same as ``labkit``."""

import sys

from .cli import main

sys.exit(main())
