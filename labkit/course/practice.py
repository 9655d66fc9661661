"""A lab to be broken: a second one within the learner's state folder, so that nothing of theirs is at risk.

It is local whatever the learner's own lab is, has no portal, and starts from labkit's own workshop. Which fault is on is kept in its
folder, so that notebook and terminal know of the same one.
"""

from __future__ import annotations

from functools import cached_property

from ..cluster.local import SERVERS
from ..common.display import OK, Displayed, Table
from ..common.errors import CheckFailed, PracticeError
from ..common.problems import problem
from ..common.waiting import settled
from ..config.files import write_private
from ..config.state_folder import StateFolder
from ..doctor import Diagnosis, diagnose
from ..identity.local import LocalKeycloak
from ..lab import Lab
from .faults import FAULTS, Fault

PROGRAMS = (*LocalKeycloak.programs, *SERVERS, "kubectl")
"""What it runs."""

_READ_SECONDS = 5


class Practice(Displayed):
    """The practice lab of a learner's lab."""

    def __init__(self, lab: Lab) -> None:
        self._learners = lab
        self._folder = lab.settings.state.practice
        self._note = self._folder / "fault"

    @cached_property
    def lab(self) -> Lab:
        """The practice lab itself; its folder is made when it is asked for first."""
        return Lab(self._learners.practice_settings)

    @property
    def fault(self) -> Fault | None:
        """The fault that was switched on and of which nobody has yet seen that it is gone."""
        try:
            return FAULTS.get(self._note.read_text())
        except FileNotFoundError:
            return None

    def insist_on_up(self) -> None:
        """Raise `PracticeError` unless it runs."""
        if not self.is_up():
            raise PracticeError("practice-down")

    def is_up(self) -> bool:
        """Whether it was started, and not stopped since; a server that a fault took down doesn't count."""
        return any(StateFolder(self._folder).run.glob("*.json"))

    def start(self) -> Lab:
        """Bring it up whole: the realm, the cluster that trusts it, RBAC, everybody signed in. A fault that was left on is mended."""
        # Before the lock, as for `Lab.up`.
        self.lab.toolchain.ensure(*PROGRAMS)
        with self.lab.processes.lock():
            left = self.fault
            self.lab.start_chain()
            for username in self.lab.workshop.access.expected:
                self.lab.sign_in(username).whoami()
            self._note.unlink(missing_ok=True)
        if left:
            print(f"{OK} {left.name}, which was still on, is mended")
        return self.lab

    def stop(self) -> list[str]:
        """Stop it, and name the servers that ran; its data stays."""
        return self.lab.down() if self.is_up() else []

    def switch_on(self, which: str | int) -> None:
        """Break it, and say what people see of that, which is all one knows at first; broken in this way already, it is left so.

        Args:
            which: One of `labkit.course.faults.FAULTS`, by name, or by number from 1, which gives nothing away.

        Raises:
            PracticeError: There is no such fault, another is on, or the practice lab doesn't run.
        """
        name = dict(enumerate(FAULTS, 1)).get(which, "") if isinstance(which, int) else which
        if name not in FAULTS:
            raise PracticeError("fault-unknown", fault=repr(which), faults=", ".join(FAULTS))
        self.insist_on_up()
        fault = FAULTS[name]
        with self.lab.processes.lock():
            # One of which nobody has seen that it is gone may have been mended all the same.
            left = self.fault if self.fault and self.doctor().found else None
            if left not in (None, fault):
                # Which one it is may be just what somebody is trying to find out.
                raise PracticeError("fault-still-on")
            if left is None:
                # Before anything is done, so that a fault that is half on is known as well.
                write_private(self._note, name)
                fault.switch_on(self.lab)
        print(f"{OK} broken. What people see: {problem(fault.cause).what}")

    def doctor(self) -> Diagnosis:
        """Diagnose it; raises `PracticeError` unless it runs. Where nothing is found, note that the fault is gone.

        What mends it is said of ``sandbox``, as lab 07 calls `lab`, since there ``lab`` is the learner's own.
        """
        self.insist_on_up()
        diagnosis = diagnose(self.lab, called="sandbox")
        if not diagnosis.found:
            self._note.unlink(missing_ok=True)
        return diagnosis

    def mended(self) -> None:
        """Raise `CheckFailed`, in the doctor's words, unless nothing is wrong any more."""
        print("… looking at everything once more, some seconds", flush=True)
        diagnosis = settled(self.doctor, lambda seen: not seen.found, _READ_SECONDS)
        if diagnosis.found:
            first = diagnosis.found[0]
            raise CheckFailed("practice-not-whole", cause=first.problem.why, seen=first.evidence, mend=first.problem.fix)
        print(f"{OK} whole again: {len(diagnosis.well)} things looked at, and nothing is wrong")

    def mend(self) -> Fault | None:
        """Mend the fault that is on, as the doctor says, and return it; None when none is on."""
        fault = self.fault
        if fault:
            self.insist_on_up()
            with self.lab.processes.lock():
                fault.mend(self.lab)
                self.mended()
        return fault

    def faults(self) -> Table:
        """Tabulate the faults, how each comes about in real life, and which is on."""
        rows = tuple((fault.name, "on" if fault == self.fault else "", fault.story) for fault in FAULTS.values())
        return Table(("fault", "now", "how it comes about"), rows)

    def __str__(self) -> str:
        state = f"up, {self.fault.name} is on" if self.fault else "up, no fault is on"
        return f"practice lab {self._folder}: {state if self.is_up() else 'not up'}"
