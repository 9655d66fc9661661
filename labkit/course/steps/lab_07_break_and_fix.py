"""Lab 07: From the symptom to the cause, in a lab that is there to be broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ...cluster.local import SERVERS
from ...common.display import Finding
from ...common.errors import Unauthorized
from ...lab import Lab
from ..faults import FAULTS
from ..practice import Practice
from .registry import add_lab

LAB = add_lab("07-break-and-fix", "Break and fix: from the symptom to the cause", needs="programs", practice=True)


@LAB.step("practice", "no fault is left on in the practice lab", minutes=25, holds_before="none was switched on yet")
def practice(lab: Lab) -> Iterator[Finding]:
    sandbox = Practice(lab)
    if not sandbox.is_up():
        yield Finding(ok=True, text="the practice lab does not run; when it starts, it starts whole")
        return
    names = ", ".join(found.problem.id for found in sandbox.doctor().found)
    yield Finding(not names, f"in the practice lab the doctor finds: {names or 'nothing'}", "labkit doctor --practice, then labkit mend")


practice.solution(lambda lab: Practice(lab).mend())
practice.reset(lambda lab: Practice(lab).stop())


def take_by(lab: Lab, rule: str) -> None:
    """Start the practice lab's API server anew, to take a token when a rule says so and to name people by account (sub) instead of email.

    From then on the reader's email is unverified. Both people are shown as the API server sees them.

    Args:
        lab: The learner's lab.
        rule: A CEL expression over ``claims`` that gives true or false (kubernetes.io, *Authenticating*, claimValidationRules).

    Raises:
        PracticeError: The practice lab doesn't run.
        ServerError: The API server can't start with that rule; it says why.
    """
    practice = Practice(lab)
    practice.insist_on_up()
    sandbox = practice.lab
    FAULTS["unverified-email"].switch_on(sandbox)
    # With the email as user name, Kubernetes itself would insist that it is not unverified.
    values = {
        ("jwt", 0, "claimValidationRules"): [{"expression": rule, "message": "your rule says no"}],
        ("jwt", 0, "claimMappings", "username", "claim"): "sub",
    }
    trust = sandbox.cluster.trust
    declared = replace(trust.declared, authentication=trust.file.with_values(values))
    with sandbox.processes.lock():
        # One that runs would read the changed file in its own time, and pass over a wrong one without a word.
        # It waits for its clients before it ends, so they are stopped first.
        for server in reversed(SERVERS[1:]):
            sandbox.processes.stop(server)
        sandbox.cluster.provider.start(replace(trust, declared=declared, style="structured"))
    with suppress(Unauthorized):
        sandbox.cluster.api(sandbox.session(sandbox.workshop.administrator.username)).wait_until_known()
    print(*(finding.text for finding in _seen_by_rule(sandbox)), sep="\n")


def _seen_by_rule(sandbox: Lab) -> Iterator[Finding]:
    for user, taken in ((sandbox.workshop.administrator, True), (sandbox.workshop.reader, False)):
        username = user.username
        session = sandbox.session(username)
        seen = sandbox.cluster.who(session.tokens.id_token)
        account, says = session.claims["sub"], f"email_verified: {str(session.claims.get('email_verified')).lower()}"
        session.sign_out()
        expected = (seen.username if seen else None) == (account if taken else None)
        yield Finding(expected, f"{username} ({says}) is {seen or 'nobody (401)'} to the API server", 'take_by(lab, "…")')


@LAB.exercise("verified-email", "the practice lab takes a token only if it says that the email is verified, by a rule of yours", minutes=5)
def verified_email(lab: Lab) -> Iterator[Finding]:
    """A rule is a comparison, such as claims.aud == "kube". Look at the claims of sandbox.session(reader) and of
    sandbox.session(administrator): which claim differs, and what is to be if a token doesn't have it? claims.?NAME.orValue(…) is for that.
    """
    practice = Practice(lab)
    up = practice.is_up()
    yield Finding(up, f"the practice lab {'runs' if up else 'does not run'}", "practice.start()")
    if up:
        yield from _seen_by_rule(practice.lab)


@verified_email.solution
def _(lab: Lab) -> None:
    from labkit import take_by

    take_by(lab, "claims.?email_verified.orValue(false) == true")


@verified_email.reset
def _(lab: Lab) -> None:
    practice = Practice(lab)
    if practice.is_up():
        practice.start()
