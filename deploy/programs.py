"""Put the programs that the image runs into its cache: out of a bundle where one is, else fetched or built as everywhere."""

import os
import shutil
from pathlib import Path

from labkit.toolchain import PROGRAMS, Toolchain

cache, bundle = Path(os.environ["LABKIT_CACHE"]), Path("/bundle/programs.tar.gz")
toolchain = Toolchain(cache)
if bundle.exists():
    toolchain.unpack(bundle)
# No container runs in this one, and Go is there only to build others.
toolchain.ensure(*(name for name in PROGRAMS if name not in {"go", "kind"}))
for folder in cache.glob("programs/go-*"):
    shutil.rmtree(folder)
