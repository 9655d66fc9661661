"""The verb that opens the labs: lab."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from ..common.errors import ToolchainError
from ..config.hosting import SECRET_VARIABLE
from ..config.settings import own_root
from ..lab import Lab
from .output import tell_of_neighbours

_SETTINGS = Path(__file__).with_name("jupyter_settings")
"""Settings of ours for JupyterLab, in the layout of its configuration folders: no questions, and no requests to anywhere else."""

_SAYS = """\
✔ your copy of the labs is {work}
  JupyterLab opens in your browser; if none does, open the address below.
  Ctrl-C here ends it; labkit down stops the lab's servers"""


def lab(args: argparse.Namespace) -> int:
    root, lab = own_root(), Lab.open()
    lab.setup()
    try:
        lab.setup(ui=True)
    except ToolchainError as error:
        print(f"✘ {error}\n  the labs work without these pages; labkit setup --ui tries again", file=sys.stderr)
    work = root / "work"
    work.mkdir(exist_ok=True)
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        if not (work / notebook.name).exists():
            shutil.copy(notebook, work)
    tell_of_neighbours(lab)
    print(_SAYS.format(work=work), flush=True)
    programs = Path(sys.executable).parent
    jupyter = programs / "jupyter"
    # A terminal in JupyterLab finds labkit and kubectl by their names.
    kubectl = lab.toolchain.ensure("kubectl")["kubectl"].path
    os.environ["PATH"] = os.pathsep.join((str(programs), str(kubectl.parent), os.environ.get("PATH", os.defpath)))
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (str(_SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH"))))
    if lab.settings.hosted and lab.settings.hosted.secret:
        # For the notebooks' kernels, which only JupyterLab can hand it to; there labkit takes it out again.
        os.environ[SECRET_VARIABLE] = lab.settings.hosted.secret
    os.chdir(work)
    # Jupyter refuses to run as root unless told; in a container root is often all there is.
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    # Its address, to open by hand, it says at any level; the rest of what it says is of use to nobody here, unless it fails.
    settings = (
        f"--ServerApp.root_dir={work}",
        "--LabApp.default_url=/lab/tree/00-start-here.ipynb",
        "--log-level=ERROR",
        "--LabApp.log_level=ERROR",
        "-y",
    )
    # What the learner makes there is theirs to share or not.
    os.umask(args.umask)
    os.execv(jupyter, [str(jupyter), "lab", *settings, *as_root])
