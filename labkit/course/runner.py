"""The labs, headless: each as soon as it can begin, by papermill, in a state folder of their own, with a report to look through."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import psutil
from filelock import FileLock
from traitlets.config import Config

from ..common.display import BAD, OK
from ..common.environment import KERNEL, jupyter_in, listed
from ..common.errors import LabRunFailed
from ..common.ownership import make_private, privately
from ..common.waiting import Work, locked, together
from ..config.files import write_private
from ..config.hosting import SECRET_VARIABLE
from ..config.settings import checkout
from ..config.state_folder import StateFolder, open_state_folder
from ..lab import Lab
from .page import write_page
from .practice import PROGRAMS, Practice
from .steps import LABS, LabInfo, solved, the_lab

CELL_SECONDS = 900
"""How long one cell may take."""

_OUTPUT_SECONDS = 60
_CHECKS = re.compile(r'^(?:check|attempt)\(lab, "([\w-]+)"\)', re.MULTILINE)


@dataclass(frozen=True)
class CellResult:
    """One code cell: its place in the notebook (from 0), its first line, how long it took, whether it passed, which step it checks."""

    index: int
    first_line: str
    seconds: float
    ok: bool
    step: str = ""


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
        labs: In the workshop's order, those that can't be run here among them; after a failure those that had not ended are missing.
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
    """Run labs, all of them if none is named, and leave executed notebooks, ``index.html`` and ``summary.json`` in a folder.

    They run in order, those in the practice lab beside the others. What was in the folder is removed. The run's state folder is
    ``run-home`` beside it, emptied first, so that every run starts from an empty realm. After a success or an interruption nothing of it
    runs; after a failure its servers stay up to be looked at. One at a time in a checkout.

    Raises:
        LabRunFailed: Another one is at work there. Or a cell failed, the first one that did: the message names it, its error, the servers'
            last log lines and how to look further.
    """
    root = checkout()
    chosen = [info for info in LABS if info.name in names or not names]
    # The kernels' too: what they make is the person's alone.
    folder = output.with_name("run-home")
    with privately(), alone(folder), _own_state_folder(folder) as lab:
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        lab.setup()
        if any(info.practice for info in chosen):
            # Its control plane is always local, and a cell has less time than it takes to build one.
            lab.toolchain.ensure(*PROGRAMS)
        machine = f"{lab.machine().system}, {lab.machine().cores} cores, Python {platform.python_version()}"
        result = RunResult(False, 0.0, machine, [])
        labs = _Labs(lab, chosen, root, output)
        started = time.monotonic()
        try:
            together({info.name: (tuple(before), partial(labs.run, info)) for info, before in order(chosen)})
        except LabRunFailed:
            raise
        except BaseException:
            print(f"\n{BAD} interrupted; stopping what was started", flush=True)
            lab.down()
            raise
        else:
            result.ok = True
            lab.down()
        finally:
            result.seconds = round(time.monotonic() - started, 1)
            result.labs = [labs.ended[info.name] for info in chosen if info.name in labs.ended]
            (output / "summary.json").write_text(json.dumps(asdict(result), indent=1) + "\n")
            write_page(output, result.labs)
    return result


def order(chosen: Sequence[LabInfo]) -> Iterator[tuple[LabInfo, set[str]]]:
    """Tell of each lab which other ones have to be over before it begins.

    Labs that are done in the same lab follow each other; each follows what it needs, and the clean-up all.
    """
    for number, info in enumerate(chosen):
        earlier = chosen[:number]
        before = [each for each in earlier if each.practice == info.practice][-1:]
        before += [each for each in earlier if info is LABS[-1] or info.needs in (step.name for step in each.steps)]
        yield info, {each.name for each in before}


def checked_in(source: str) -> list[str]:
    """The steps that a cell checks."""
    return _CHECKS.findall(source)


class _Labs:
    """The labs of a run: those that have ended, and the kernels of those that go on."""

    def __init__(self, lab: Lab, chosen: Sequence[LabInfo], root: Path, output: Path) -> None:
        self._lab, self._root, self._output = lab, root, output
        self._number = {info.name: f"[{number}/{len(chosen)}]" for number, info in enumerate(chosen, 1)}
        self._kernels: list[psutil.Process] = []
        self._stopped = False
        self.ended: dict[str, LabResult] = {}

    def run(self, info: LabInfo) -> Work[None]:
        """Run a lab in a thread, as papermill waits for each cell; closed before it has ended, this stops all kernels."""
        from papermill.exceptions import PapermillExecutionError

        result = LabResult(info.name, not_run=info.lacks(self._lab))
        if result.not_run:
            self._ends(result, "·", result.state())
            return
        with ThreadPoolExecutor(1) as pool:
            try:
                ran = pool.submit(self._execute, result)
                while not ran.done():
                    yield
            except BaseException:
                self._stop()
                raise
        try:
            ran.result()
        except PapermillExecutionError as error:
            raise self._failure(result, error) from None

    def _execute(self, result: LabResult) -> None:
        from papermill.execute import execute_notebook

        source = self._root / "notebooks" / f"{result.lab}.ipynb"
        notebook = solved(nbformat.read(source, as_version=4))
        total = sum(cell.cell_type == "code" for cell in notebook.cells)
        began = time.monotonic()

        def cell_ends(cell: Any, cell_index: int, execute_reply: Any) -> None:
            seconds = datetime.now(UTC) - datetime.fromisoformat(cell.metadata.papermill["start_time"])
            ok = execute_reply["content"]["status"] == "ok"
            step = next(iter(checked_in(cell.source)), "")
            result.cells.append(CellResult(cell_index, cell.source.partition("\n")[0], round(seconds.total_seconds(), 2), ok, step))

        try:
            execute_notebook(
                notebook,
                self._output / source.name,
                # For each cell it takes longer than most cells.
                request_save_on_cell_execute=False,
                kernel_name="python3",
                kernel_manager_class=self._manager(),
                progress_bar={"desc": f"{self._number[result.lab]} {result.lab}", "leave": False, "disable": not sys.stdout.isatty()},
                execution_timeout=CELL_SECONDS,
                iopub_timeout=_OUTPUT_SECONDS,
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
                on_cell_executed=cell_ends,
            )
            result.ok = True
        finally:
            result.seconds = round(time.monotonic() - began, 1)
            passed = f"{sum(cell.ok for cell in result.cells)} of {total} cells  {result.seconds:.1f} s"
            if self._stopped and not result.ok:
                self._says("·", result, f"stopped after {passed}")
            else:
                self._ends(result, OK if result.ok else BAD, passed)

    def _ends(self, result: LabResult, mark: str, how: str) -> None:
        self.ended[result.lab] = result
        self._says(mark, result, how)

    def _says(self, mark: str, result: LabResult, how: str) -> None:
        # In place of a bar of papermill's, which it draws anew below.
        clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(f"{clear}{mark} {self._number[result.lab]} {result.lab}  {how}", flush=True)

    def _stop(self) -> None:
        self._stopped = True
        for kernel in self._kernels:
            with suppress(psutil.NoSuchProcess):
                kernel.kill()

    def _manager(self) -> type:
        """Make what starts this Python's kernels, with variables by name, and alone hands them a hosted administrator's secret."""
        from ipykernel.kernelspec import get_kernel_dict
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager

        hosted = self._lab.settings.hosted
        env = {**listed(KERNEL), **({SECRET_VARIABLE: hosted.secret} if hosted and hosted.secret else {})}

        async def start_kernel(manager: AsyncKernelManager, **options: Any) -> None:
            await AsyncKernelManager.start_kernel(manager, **options, env=env, cwd=str(self._root))
            self._kernels.append(psutil.Process(manager.provisioner.pid))  # type: ignore[union-attr] # one of this machine's
            if self._stopped:
                self._stop()

        # This Python's own, whatever kernels of that name a person has.
        return type("Kernels", (AsyncKernelManager,), {"kernel_spec": KernelSpec(**get_kernel_dict()), "start_kernel": start_kernel})

    def _failure(self, result: LabResult, error: Any) -> LabRunFailed:
        processes = (Practice(self._lab).lab if the_lab(result.lab).practice else self._lab).processes
        logs = [f"the last lines of {processes.log_file(name)}:\n{processes.log_tail(name, 6)}" for name in processes.names()]
        return LabRunFailed(
            "lab-run-stopped",
            notebook=result.lab,
            cell=len(result.cells),
            source="\n".join(f"    {line}" for line in error.source.splitlines()[:8]),
            error=error.evalue,
            logs="\n".join(logs),
            page=self._output / "index.html",
            folder=self._lab.settings.folder,
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs from a state folder, and say in a file beside it who this one is; raises LabRunFailed if there is one."""
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
    # The address at which a proxy leads to the lab's own portal does not lead to this one.
    own = {"LABKIT_HOME": str(folder), "LABKIT_PORTAL_URL": "", **jupyter_in(StateFolder(folder).jupyter)}
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
