"""The labs, their steps, and what each step must leave behind.

A step is registered by its check: a function that reads the real servers and yields findings. It changes nothing.
`begin` and `check` are what the notebooks call; ``labkit check`` asks the same registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import machine
from .cluster.kubeconfig import exec_context
from .display import OK, Finding, Findings, shown
from .errors import CheckFailed, EarlierLabMissing, LabkitError
from .identity.plan import Action
from .lab import Lab


@dataclass(frozen=True)
class LabInfo:
    """A lab of the workshop.

    Attributes:
        name: Its notebook's name without ``.ipynb``.
        title: What it is called.
        minutes: About how long a reader takes.
        needs: The step of an earlier lab without which it can't begin; empty when it needs none.
    """

    name: str
    title: str
    minutes: int
    needs: str = ""


LABS = (
    LabInfo("00-start-here", "Start here", 5),
    LabInfo("01-keycloak", "Keycloak: who somebody is", 15, needs="programs"),
    LabInfo("02-cluster", "Kubernetes: whom the API server believes", 15, needs="realm"),
    LabInfo("03-rbac", "RBAC: what a group may do", 10, needs="cluster"),
    LabInfo("04-tokens", "Tokens: what kubectl carries", 15, needs="rbac"),
    LabInfo("05-access", "Access: the proof", 15, needs="rbac"),
    LabInfo("06-portal", "The portal: acting as whoever signed in", 15, needs="rbac"),
    LabInfo("09-clean-up", "Clean up", 5),
)
"""The labs in their order."""


Check = Callable[[Lab], Iterator[Finding]]


@dataclass(frozen=True)
class Step:
    """A step of a lab: its name, what it is called, and the check of what it leaves behind."""

    lab: str
    name: str
    title: str
    check: Check


@dataclass(frozen=True)
class CheckReport(Findings):
    """What a step's check found; ``ok`` when all is as it should be."""

    step: str

    def headline(self) -> str:
        """The result in one line, which names the step."""
        mark, rest = super().headline().split(" ", 1)
        return f"{mark} {self.step}: {rest}"


STEPS: dict[str, Step] = {}
"""Every step by its name, in the order of the labs."""


def step(lab: str, name: str, title: str) -> Callable[[Check], Check]:
    """Register a step; decorates its check.

    Args:
        lab: The lab's name, one of `LABS`.
        name: What the notebook and ``labkit check`` call it; no two steps share one.
        title: What holds once it is done.
    """

    def register(check: Check) -> Check:
        if name in STEPS or lab not in {info.name for info in LABS}:
            msg = f"step {name!r} of lab {lab!r}: a step's name is used once, and its lab must be listed"
            raise ValueError(msg)
        STEPS[name] = Step(lab, name, title, check)
        return check

    return register


def begin(name: str) -> Lab:
    """Open the lab and see whether what this notebook builds on is there; the first cell of each notebook.

    Args:
        name: The notebook's name, such as ``"03-rbac"``.

    Raises:
        EarlierLabMissing: It is not; the error names the lab to run first.
    """
    info = next(info for info in LABS if info.name == name)
    print(f"Lab {info.name[:2]} · {info.title} · about {info.minutes} minutes")
    lab = Lab.open()
    if info.needs:
        report = examine(lab, info.needs)
        if not report.ok:
            earlier = STEPS[info.needs].lab
            msg = f"this lab builds on {earlier}, and what that leaves behind is not there"
            why = "\n".join(finding.text for finding in report.findings if not finding.ok)
            raise EarlierLabMissing(
                msg, why=why, fix=f"run {earlier}.ipynb, then this cell again; or, in a terminal, labkit up does all of 01 to 03"
            )
        print(f"{OK} what it builds on is there: {STEPS[info.needs].title}")
    return lab


def examine(lab: Lab, name: str) -> CheckReport:
    """Run a step's check; a check that can't go on is a finding, too."""
    found: list[Finding] = []
    checked = STEPS[name]
    try:
        found.extend(checked.check(lab))
    except LabkitError as error:
        found.append(Finding(ok=False, text=error.what + (f": {error.why}" if error.why else ""), fix=error.fix))
    return CheckReport(checked.title, tuple(found), name)


def check(lab: Lab, name: str) -> CheckReport:
    """Run a step's check and insist on it.

    Args:
        lab: The lab.
        name: The step's name.

    Raises:
        CheckFailed: Something is missing or wrong; each such thing is named with what to do.
    """
    report = examine(lab, name)
    if not report.ok:
        raise CheckFailed(report.headline(), why=report.why(), fix=report.fix())
    return report


@step("00-start-here", "machine", "this machine can carry the lab")
def _machine(lab: Lab) -> Iterator[Finding]:
    found = lab.machine()
    enough = found.memory_gb >= machine.MEMORY_GB or bool(lab.processes.names())
    yield Finding(enough, f"{found.memory_gb:.1f} GB of memory available, {machine.MEMORY_GB:.0f} wanted", "close other programs")
    yield Finding(
        found.disk_gb >= machine.DISK_GB, f"{found.disk_gb:.0f} GB of disk free, {machine.DISK_GB:.0f} wanted", "make room on the disk"
    )


@step("00-start-here", "programs", "every program is here, in a version that fits")
def _programs(lab: Lab) -> Iterator[Finding]:
    for name in lab.programs:
        program = lab.toolchain.find(name)
        text = f"{name} {program.version} ({program.source})" if program else f"{name} is missing"
        yield Finding(program is not None, text, "run 00-start-here.ipynb, or labkit setup in a terminal")


@step("01-keycloak", "keycloak", "Keycloak answers over verified TLS")
def _keycloak(lab: Lab) -> Iterator[Finding]:
    yield from lab.keycloak.findings()


@step("01-keycloak", "realm", "the realm is as workshop.yaml declares it")
def _realm(lab: Lab) -> Iterator[Finding]:
    for change in lab.realm.plan().changes:
        differs = f": {change.action.value}" if change.action is not Action.AS_DECLARED else ""
        yield Finding(change.action is Action.AS_DECLARED, f"{change.kind} {change.name}{differs}", "lab.realm.apply()")
    issuer = lab.keycloak.discovery()["issuer"]
    yield Finding(issuer == lab.keycloak.issuer, f"discovery names the issuer {issuer}")


@step("01-keycloak", "sign-in", "both people can sign in, and their tokens name their groups")
def _sign_in(lab: Lab) -> Iterator[Finding]:
    claim = lab.workshop.cluster.oidc.groups_claim
    for username in lab.workshop.access.expected:
        groups = lab.session(username).claims.get(claim)
        declared = list(lab.workshop.user(username).groups)
        yield Finding(
            groups == declared,
            f"{username}'s token says {claim}: {shown(groups)}",
            f"the workshop declares {shown(declared)}: lab.realm.apply()",
        )


@step("02-cluster", "cluster", "the API server knows people by their tokens")
def _cluster(lab: Lab) -> Iterator[Finding]:
    yield Finding(lab.cluster.is_running(), f"the cluster runs at {lab.cluster.endpoint.url}", "lab.cluster.start()")
    for username in lab.workshop.access.expected:
        seen, declared = lab.cluster.api(lab.session(username)).wait_until_known(), lab.workshop.user(username)
        as_declared = seen.username == declared.email and set(seen.groups) == {*declared.groups, "system:authenticated"}
        yield Finding(as_declared, f"it takes {username} for {seen}", "compare the token's claims with lab.cluster.trust")


@step("03-rbac", "rbac", "the RBAC objects are as workshop.yaml declares them")
def _rbac(lab: Lab) -> Iterator[Finding]:
    differences = lab.cluster.rbac.differences()
    for wanted in lab.cluster.rbac.objects():
        name = f"{wanted['kind']} {wanted['metadata']['name']}"
        wrong = [difference for difference in differences if difference.startswith(name)]
        yield Finding(not wrong, wrong[0] if wrong else name, "lab.cluster.rbac.apply()")


@step("04-tokens", "contexts", "kubectl has a context for each person, and each is who it says")
def _contexts(lab: Lab) -> Iterator[Finding]:
    for username in lab.workshop.access.expected:
        for context in (username, exec_context(username)):
            there = context in lab.cluster.kubeconfig.contexts()
            name = (
                lab.cluster.kubectl(context, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").output if there else "nobody"
            )
            email = lab.workshop.user(username).email
            yield Finding(
                name == email, f"context {context} is {name}", f'lab.sign_in("{username}") and lab.cluster.enter_exec("{username}")'
            )


@step("05-access", "access", "the API server allows what the workshop expects, and nothing else")
def _access(lab: Lab) -> Iterator[Finding]:
    matrix = lab.access_matrix()
    for user, identity in matrix.identities.items():
        wrong = [answer for answer in matrix.differences if answer.user == user]
        total = sum(answer.user == user for answer in matrix.answers)
        yield Finding(not wrong, f"{identity}: {total - len(wrong)} of {total} answers as expected", "; ".join(map(str, wrong[:3])))


@step("05-access", "namespaces", "the namespaces of the five commands are gone again")
def _namespaces(lab: Lab) -> Iterator[Finding]:
    for name in ("test-ns", "test-ns-2"):
        found = lab.cluster.admin_kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name").output.strip()
        yield Finding(
            not found,
            f"namespace {name} {'is still there' if found else 'is not there'}",
            f'admin.kubectl("delete", "namespace", "{name}")',
        )


@step("06-portal", "portal", "the portal is ready, and the cluster knows people who come through it")
def _portal(lab: Lab) -> Iterator[Finding]:
    yield Finding(lab.portal.is_running(), f"the portal runs at {lab.portal.url}", "lab.portal.start()")
    for username in lab.workshop.access.expected:
        session, declared = lab.portal.sign_in(username), lab.workshop.user(username)
        seen, known = session.whoami(), session.known()
        as_declared = seen.username == declared.email and known.groups == declared.groups
        yield Finding(as_declared, f"{known.user_ref} with {shown(known.groups)} is {seen.username} to the API server", "lab.realm.apply()")
        session.sign_out()


@step("06-portal", "template", "the template for a ConfigMap is registered")
def _template(lab: Lab) -> Iterator[Finding]:
    known, ref = lab.portal.guest().catalog("template").refs, "template:default/configmap"
    yield Finding(
        ref in known, f"{ref} is {'' if ref in known else 'not '}in the catalog", "admin.register_template(…), as in 06-portal.ipynb"
    )


@step("06-portal", "portal-objects", "the ConfigMaps that were made through the portal are gone again")
def _portal_objects(lab: Lab) -> Iterator[Finding]:
    for name in ("test-configmap", "dev-configmap"):
        found = lab.cluster.admin_kubectl("get", "configmap", name, "--ignore-not-found", "-o", "name").output.strip()
        yield Finding(
            not found,
            f"ConfigMap {name} {'is still there' if found else 'is not there'}",
            f'admin.delete_resource("ConfigMap", "{name}")',
        )


@step("09-clean-up", "stopped", "nothing of this lab runs any more")
def _stopped(lab: Lab) -> Iterator[Finding]:
    for row in lab.status().rows:
        yield Finding(row[1] != "runs", f"{row[0]}: {row[1]}", "lab.down()")
    objects = lab.cluster.left()
    if lab.cluster.provider.shared:
        yield Finding(not objects, f"this lab's objects in {lab.cluster.provider.name}: {shown(objects)}", "lab.down()")
    left = lab.people_on_disk()
    yield Finding(not left, f"people's contexts and kept tokens: {shown(left)}", "lab.forget_people()")
