"""The programs that the image runs: fetched or built into the cache, or out of a bundle that another machine's cache was packed into.

programs.py BUNDLE          in the image: the bundle's, if there is one, then what it lacks
programs.py --pack BUNDLE   on the machine that builds the image
"""

import os
import shutil
import sys
from pathlib import Path

import platformdirs

from labkit.toolchain import PROGRAMS, Toolchain

# No container runs in this one, and Go is there only to build others.
NAMES = [name for name in PROGRAMS if name not in {"go", "kind"}]

*packing, bundle = sys.argv[1:]
cache, file = Path(os.environ.get("LABKIT_CACHE") or platformdirs.user_cache_dir("labkit", appauthor=False)), Path(bundle)
toolchain = Toolchain(cache)
if file.exists():
    toolchain.unpack(file)
toolchain.ensure(*NAMES)
if packing:
    toolchain.pack(file, *NAMES)
else:
    for folder in cache.glob("programs/go-*"):
        shutil.rmtree(folder)
