"""The labs, headless: in order, by papermill, in a state folder of their own, with a report to look through."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partialmethod
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock
from traitlets.config import Config

from ..common.display import BAD, OK
from ..common.environment import KERNEL, jupyter_in, listed
from ..common.errors import LabRunFailed
from ..common.ownership import make_private, privately
from ..common.waiting import locked
from ..config.files import write_private
from ..config.hosting import SECRET_VARIABLE
from ..config.settings import own_root
from ..config.state_folder import StateFolder, open_state_folder
from ..lab import Lab
from .page import write_page
from .practice import PROGRAMS
from .steps import LABS, solved

CELL_SECONDS = 900
"""How long one cell may take."""

_OUTPUT_SECONDS = 60


@dataclass(frozen=True)
class CellResult:
    """One code cell: its place in the notebook (from 0), its first line, how long it took, whether it passed."""

    index: int
    first_line: str
    seconds: float
    ok: bool


@dataclass
class LabResult:
    """One lab: whether it passed, or why this machine can't run it, how long it took in all, and its code cells."""

    lab: str
    ok: bool = False
    not_run: str = ""
    seconds: float = 0.0
    cells: list[CellResult] = field(default_factory=list)

    def state(self) -> str:
        """The result in words."""
        if self.not_run:
            return f"not run, because {self.not_run}"
        return f"{OK} passed" if self.ok else f"{BAD} failed"


@dataclass
class RunResult:
    """A whole run, as ``summary.json`` holds it.

    Attributes:
        ok: Whether every lab passed that could be run on this machine.
        seconds: The labs' time in all; setting up programs is not in it.
        machine: Operating system, cores and version of Python.
        labs: Those that can't be run here among them; after a failure the later ones are missing.
    """

    ok: bool
    seconds: float
    machine: str
    labs: list[LabResult]

    def headline(self) -> str:
        """The result in one line, with what was not run and why."""
        passed = sum(lab.ok for lab in self.labs)
        not_run = "".join(f"; {lab.lab} {lab.state()}" for lab in self.labs if lab.not_run)
        mark = BAD if not self.ok else OK if passed else "·"
        return f"{mark} {passed} labs in {self.seconds:.0f} s{not_run}"


def run(names: list[str], output: Path) -> RunResult:
    """Run labs in order, all of them if none is named, and leave executed notebooks, ``index.html`` and ``summary.json`` in a folder.

    What was in the folder is removed. The run's state folder is ``run-home`` beside it, emptied first, so that every run starts from an
    empty realm. After a success or an interruption nothing of it runs; after a failure its servers stay up to be looked at.
    One at a time in a checkout.

    Raises:
        LabRunFailed: Another one is at work there. Or a cell failed: the message names it, its error, the servers' last log lines and how
            to look further.
    """
    from papermill.exceptions import PapermillExecutionError

    root = own_root()
    chosen = [info for info in LABS if info.name in names or not names]
    # The kernels' too: what they make is the person's alone.
    folder = output.with_name("run-home")
    with privately(), _alone(folder), _own_state_folder(folder) as lab:
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        lab.setup()
        if any(info.name == "07-break-and-fix" for info in chosen):
            # That lab's control plane is always local, and a cell has less time than it takes to build one.
            lab.toolchain.ensure(*PROGRAMS)
        kernels = _kernels(lab)
        machine = f"{lab.machine().system}, {lab.machine().cores} cores, Python {platform.python_version()}"
        result = RunResult(False, 0.0, machine, [])
        started = time.monotonic()
        try:
            for number, info in enumerate(chosen, 1):
                result.labs.append(LabResult(info.name, not_run=info.lacks(lab)))
                _run_lab(root, output, result.labs[-1], f"[{number}/{len(chosen)}]", kernels)
        except PapermillExecutionError as error:
            raise _failure(lab, result.labs[-1], error, output) from None
        except BaseException:
            print(f"\n{BAD} interrupted; stopping what was started", flush=True)
            lab.down()
            raise
        else:
            result.ok = True
            lab.down()
        finally:
            result.seconds = round(time.monotonic() - started, 1)
            (output / "summary.json").write_text(json.dumps(asdict(result), indent=1) + "\n")
            write_page(output, result.labs)
    return result


def _run_lab(root: Path, output: Path, result: LabResult, number: str, kernels: type) -> None:
    from papermill.execute import execute_notebook

    if result.not_run:
        print(f"· {number} {result.lab}  {result.state()}", flush=True)
        return
    source = root / "notebooks" / f"{result.lab}.ipynb"
    notebook = solved(nbformat.read(source, as_version=4))
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    began = time.monotonic()

    def cell_ends(cell: Any, cell_index: int, execute_reply: Any) -> None:
        seconds = datetime.now(UTC) - datetime.fromisoformat(cell.metadata.papermill["start_time"])
        ok = execute_reply["content"]["status"] == "ok"
        result.cells.append(CellResult(cell_index, cell.source.partition("\n")[0], round(seconds.total_seconds(), 2), ok))

    try:
        execute_notebook(
            notebook,
            output / source.name,
            kernel_name="python3",
            kernel_manager_class=kernels,
            progress_bar={"desc": f"{number} {result.lab}", "leave": False, "disable": not sys.stdout.isatty()},
            cwd=str(root),
            execution_timeout=CELL_SECONDS,
            iopub_timeout=_OUTPUT_SECONDS,
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            on_cell_executed=cell_ends,
        )
        result.ok = True
    finally:
        result.seconds = round(time.monotonic() - began, 1)
        passed = sum(cell.ok for cell in result.cells)
        print(f"{OK if result.ok else BAD} {number} {result.lab}  {passed} of {total} cells  {result.seconds:.1f} s", flush=True)


def _kernels(lab: Lab) -> type:
    """Make what starts this Python's kernels, with variables by name, and alone hands them a hosted administrator's secret."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    hosted = lab.settings.hosted
    env = {**listed(KERNEL), **({SECRET_VARIABLE: hosted.secret} if hosted and hosted.secret else {})}
    # This Python's own, whatever kernels of that name a person has.
    own = {"kernel_spec": KernelSpec(**get_kernel_dict()), "start_kernel": partialmethod(AsyncKernelManager.start_kernel, env=env)}
    return type("Kernels", (AsyncKernelManager,), own)


def _failure(lab: Lab, result: LabResult, error: Any, output: Path) -> LabRunFailed:
    logs = [f"the last lines of {lab.processes.log_file(name)}:\n{lab.processes.log_tail(name, 6)}" for name in lab.processes.names()]
    return LabRunFailed(
        "lab-run-stopped",
        notebook=result.lab,
        cell=len(result.cells),
        source="\n".join(f"    {line}" for line in error.source.splitlines()[:8]),
        error=error.evalue,
        logs="\n".join(logs),
        page=output / "index.html",
        folder=lab.settings.folder,
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs from a state folder, and say in a file beside it who this one is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder.with_suffix(".lock"), timeout=0, mode=0o600), folder.with_suffix(".holder")

    def busy() -> LabRunFailed:
        return LabRunFailed("lab-run-busy", holder=holder.read_text("utf-8") if holder.exists() else "it has just begun", folder=folder)

    with locked(lock, busy):
        write_private(holder, f"process {os.getpid()}, since {datetime.now():%H:%M}")
        yield


@contextmanager
def _own_state_folder(folder: Path) -> Iterator[Lab]:
    """Point this process, and so the kernels that it starts, at an empty state folder with free ports.

    What is kept are the secrets in a hosted realm, which no run empties: the people whom an earlier run made there still have them.
    """
    own = {"LABKIT_HOME": str(folder), **jupyter_in(StateFolder(folder).jupyter)}
    before = {name: os.environ[name] for name in own if name in os.environ}
    os.environ.update(own)
    try:
        if StateFolder(folder).facts.exists():
            Lab.open().down()
        secrets = StateFolder(folder).own_secrets
        kept = secrets.read_bytes() if secrets.exists() else b""
        shutil.rmtree(folder, ignore_errors=True)
        open_state_folder(folder, environ={}, free_ports=True)
        # IPython would warn of a folder that is not there yet.
        make_private(StateFolder(folder).jupyter)
        if kept:
            write_private(secrets, kept)
        yield Lab.open()
    finally:
        for name in own:
            del os.environ[name]
        os.environ.update(before)
