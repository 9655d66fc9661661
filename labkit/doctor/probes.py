"""The probes: each looks at one thing of a lab and yields the problems that it finds, with what it saw."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from requests.exceptions import SSLError

from ..cluster.access import matrix
from ..cluster.trust import Trust
from ..common.control_groups import killed, own_groups
from ..common.display import shown
from ..common.errors import (
    ForeignIssuer,
    IdentityError,
    KeycloakUnreachable,
    LabkitError,
    SignInRefused,
    TokenInvalid,
    Unauthorized,
    why_failed,
)
from ..common.http_session import HttpSession
from ..common.kubernetes_yaml import YamlError, load
from ..common.problems import Problem, problem
from ..common.tables import table
from ..config.ports import STRANGERS
from ..identity.plan import Action
from ..identity.session import Session, key_id, read_claims
from ..lab import Lab
from ..servers.machine import FULL_GB

Causes = Iterator[tuple[str | Problem, str]]
"""Problems, or their ids where the catalogue asks for no value, each with what was seen."""

SignIn = Callable[[str], Session]
"""Signs a person in, once for all probes: a password takes Keycloak longer than anything else here."""


class NotThere(Exception):
    """What the probe looks at was never part of this lab."""


_SIGNS: dict[str, dict[str, str]] = table(Path(__file__).with_name("signs.yaml"))


def in_its_own_words(error: LabkitError | Problem) -> tuple[Problem, str]:
    """Give what no probe foresaw in the error's own words."""
    found = error.problem if isinstance(error, LabkitError) else error
    return Problem(found.id, "", found.what, found.fix), found.why or "—"


def machine(lab: Lab, _: SignIn) -> Causes:
    """Disk and memory."""
    found = lab.machine()
    if found.disk_gb < FULL_GB:
        yield problem("disk-full", folder=lab.settings.folder), f"{found.disk_gb * 1000:.0f} MB free at {lab.settings.folder}"
    if found.memory_gb < FULL_GB:
        yield "memory-short", f"{found.memory_gb * 1000:.0f} MB available"


def keycloak(lab: Lab, _: SignIn) -> Causes:
    """Whether it runs, answers, shows the right certificate, and knows the lab's administrator."""
    try:
        lab.keycloak.get(lab.keycloak.url)
    except KeycloakUnreachable as error:
        if error.problem.id in STRANGERS:
            yield in_its_own_words(error)
        elif not lab.keycloak.is_running():
            yield "keycloak-down", f"{error.what}: {error.why}\n{lab.processes.log_tail('keycloak', 1)}".strip()
        elif isinstance(error.__context__, SSLError):
            yield "keycloak-certificate", f"verified with {lab.keycloak.ca}: {error.why}"
        else:
            yield "keycloak-silent", f"{error.what}: {error.why}"
        return
    try:
        lab.keycloak.admin()
    except IdentityError as error:
        yield "administrator-changed", f"{error.what}: {error.why}"


def realm(lab: Lab, _: SignIn) -> Causes:
    """The realm beside its declaration, the issuer that it names, and who else has a declared group's rights."""
    plan = lab.realm.plan()
    for change in plan.pending:
        if change.action is Action.CREATE:
            yield _SIGNS["plan"].get(change.kind, "realm-drift"), f"{change.kind} {change.name} is not there"
            if change.kind == "realm":
                return
            continue
        for field in change.fields:
            name = _SIGNS["plan"].get(f"{change.kind}.{field.field}", "realm-drift")
            if name == "user-changed" and not field.now:
                name = "user-unfinished"
            yield name, f"{change.kind} {change.name}, {field.field}: {field.now!r}, declared {field.declared!r}"
    try:
        lab.keycloak.discovery()
    except ForeignIssuer as error:
        yield "realm-renamed-issuer", error.what
    for notice in plan.notices:
        if cause := _SIGNS["notice"].get(notice.kind):
            yield cause, notice.text


def people(lab: Lab, sign_in: SignIn) -> Causes:
    """Whether everybody whom the access matrix asks about can sign in."""
    for username in lab.workshop.access.expected:
        try:
            sign_in(username)
        except SignInRefused as error:
            yield _SIGNS["refusal"].get(error.problem.id, "sign-in-refused"), f"{error.what}: {error.why}"
        except TokenInvalid as error:
            known = _SIGNS["token"].get(error.problem.id)
            yield (known, f"{error.what}: {error.why}") if known else in_its_own_words(error)


def servers(lab: Lab, _: SignIn) -> Causes:
    """Whether the cluster's servers run and answer; of a cluster that is not local processes, whether it is up."""
    provider = lab.cluster.provider
    if not provider.servers and not provider.is_running():
        yield "api-server-down", f"the cluster {provider.name} is not up: {provider.statuses()[-1].text}"
    for name in provider.servers:
        if lab.processes.running(name) is None:
            stranger = provider.stranger() if name == "kube-apiserver" else None
            yield in_its_own_words(stranger) if stranger else (_SIGNS["server"][name], _does_not_run(lab, name))
    if lab.processes.running("kube-apiserver"):
        endpoint = lab.cluster.endpoint
        try:
            HttpSession(endpoint.ca).get(f"{endpoint.url}/readyz", timeout=30).raise_for_status()
        except requests.RequestException as error:
            yield "api-server-silent", f"{endpoint.url}/readyz: {why_failed(error)}"


def _does_not_run(lab: Lab, name: str) -> str:
    ended = killed(own_groups()[:1])
    limit = f"\nprograms here that the kernel has killed for want of memory so far: {ended}" if ended else ""
    return f"no process of {name} runs in {lab.settings.folder}{limit}\n{lab.processes.log_tail(name, 1)}".strip()


def trust(lab: Lab, _: SignIn) -> Causes:
    """How the API server is in fact configured, beside how it should be; only where it is a process of the lab's."""
    if not lab.cluster.provider.servers:
        return
    wanted, line = lab.cluster.trust, lab.cluster.provider.flags()
    files = [Path(argument.partition("=")[2]) for argument in line if argument.startswith("--authentication-config=")]
    declared = _in_file(wanted.configuration(), wanted, {}) if files else _in_flags(wanted.flags())
    try:
        now = _in_file(files[0].read_text(), wanted, declared) if files else _in_flags(line)
    except (OSError, YamlError, AttributeError, LookupError, TypeError) as error:
        # An API server that runs goes on by what the file said before.
        yield "authentication-unreadable", f"{files[0] if files else wanted.ca}: {type(error).__name__}"
        return
    for what in {**declared, **now}:
        there, right = now.get(what, ""), declared.get(what, "")
        if there != right:
            seen = "another certificate, declared is the lab CA" if what == "ca" else f"{there!r}, declared is {right!r}"
            yield _SIGNS["oidc"].get(what) or _of_groups(there, wanted), f"the API server's {what} is {seen}"


def _in_file(text: str, wanted: Trust, declared: dict[str, str]) -> dict[str, str]:
    """What an AuthenticationConfiguration says of the lab's issuer, by the names of the flags where there is one.

    Another may say the same in other words. Whom an expression of its own names only the API server can say, so that it counts as
    ``declared`` here, and `identities` asks who people are.
    """
    jwts = _at(load(text), "jwt") or []
    if not jwts:
        return {**declared, "issuer-url": ""}
    jwt = next((each for each in jwts if _at(each, "issuer", "url") == wanted.issuer), jwts[0])
    audiences, client = _at(jwt, "issuer", "audiences") or [""], wanted.declared.oidc.client_id
    username, groups = _at(jwt, "claimMappings", "username"), _at(jwt, "claimMappings", "groups")
    said = {
        "issuer-url": _at(jwt, "issuer", "url") or "",
        "client-id": client if client in audiences else audiences[0],
        "ca": (_at(jwt, "issuer", "certificateAuthority") or "").strip(),
        "groups": _at(groups, "expression") or json.dumps(groups),
    }
    by_claim = {"username-claim": _at(username, "claim") or "", "username-prefix": _at(username, "prefix") or ""}
    return {**declared, **said, **({} if _at(username, "expression") else by_claim)}


def _at(value: Any, *keys: str) -> Any:
    """What lies at a place; None where nothing does."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _in_flags(line: tuple[str, ...]) -> dict[str, str]:
    found = dict(argument.removeprefix("--oidc-").split("=", 1) for argument in line if argument.startswith("--oidc-"))
    ca = found.pop("ca-file", "")
    return {**found, "ca": Path(ca).read_text()} if ca else found


def _of_groups(said: str, wanted: Trust) -> str:
    """Which cause it is that a file says otherwise of groups than the declared one: by an expression, or by a claim and a prefix."""
    if json.dumps(wanted.declared.oidc.groups_claim) not in said:
        return "other-claims"
    prefixed = said.startswith(wanted.groups_expression) or ('"prefix": "' in said and '"prefix": ""' not in said)
    return "swapped-prefix" if prefixed else "undeclared-groups"


def identities(lab: Lab, sign_in: SignIn) -> Causes:
    """Who the API server takes people for."""
    for username in lab.workshop.access.expected:
        session = sign_in(username)
        try:
            seen = lab.cluster.api(session).whoami()
        except Unauthorized as error:
            yield _SIGNS["unauthorized"].get(error.problem.id, "not-taken"), f"{username}: {error.why}"
        else:
            if not seen.is_same(lab.cluster.declared_identity(session)):
                yield "other-name", f"{username} is {seen}"


def rbac(lab: Lab, _: SignIn) -> Causes:
    """The RBAC objects beside their declaration."""
    for difference in lab.cluster.rbac.differences():
        yield _SIGNS["rbac"][f"{difference.kind}{difference.part and '.changed'}"], str(difference)


def access(lab: Lab, sign_in: SignIn) -> Causes:
    """What people may do beside what is expected."""
    differences = matrix(lambda username: lab.cluster.api(sign_in(username)), lab.workshop.access).differences
    for allowed, name in ((True, "more-than-expected"), (False, "less-than-expected")):
        if those := [str(answer) for answer in differences if answer.allowed is allowed]:
            yield name, "\n".join(those[:5])


def contexts(lab: Lab, _: SignIn) -> Causes:
    """The tokens in kubectl's contexts, and those that ``labkit credential`` keeps: whether they still hold or can be renewed."""
    keys = lab.keycloak.key_ids()
    for username in lab.workshop.access.expected:
        kept = lab.credentials.kept(username)
        if kept and kept["expires"] > time.time() and key_id(kept["id_token"]) not in keys:
            yield "keys-rotated", f"labkit credential {username}: the token that it keeps is signed by key {key_id(kept['id_token'])}"
        token = lab.cluster.kubeconfig.id_token(username)
        if (claims := read_claims(token)) is None:
            continue
        expires = claims.get("exp")
        if claims.get("iss") != lab.keycloak.issuer:
            yield "context-stale", f"context {username}: its token's issuer is {claims.get('iss')}"
        elif key_id(token) not in keys:
            yield "keys-rotated", f"context {username}: its token is signed by key {key_id(token)}, the realm has {shown(keys)}"
        elif isinstance(expires, int | float) and expires < time.time():
            try:
                lab.cluster.kubectl(username, "auth", "whoami")
            except Unauthorized as error:
                yield "context-expired", f"context {username}: {error.what.splitlines()[-1]}"


def portal(lab: Lab, _: SignIn) -> Causes:
    """Whether the portal runs, if it was ever started, answers, and is configured as declared."""
    running = lab.processes.running("portal")
    if running is None:
        if not lab.processes.log_file("portal").exists():
            raise NotThere
        absent = lab.portal.absent()
        yield in_its_own_words(absent) if absent and absent.problem.id in STRANGERS else ("portal-down", _does_not_run(lab, "portal"))
        return
    try:
        silent = "" if lab.portal.is_ready() else " is not ready"
    except requests.RequestException as error:
        silent = f": {why_failed(error)}"
    if silent:
        yield "portal-silent", f"{lab.portal.url}{silent}"
    elif not lab.portal.is_as_declared():
        yield "portal-stale", "its configuration, people or sources have changed since it was started"


def kratix(lab: Lab, _: SignIn) -> Causes:
    """Whether Kratix, if it was started and not stopped since, runs, can be asked, and has taken what was asked of it."""
    if not lab.kratix.statuses():
        raise NotThere
    if not lab.kratix.is_running():
        yield "kratix-down", _does_not_run(lab, "kratix")
        return
    if missing := lab.kratix.missing_kinds():
        yield "kratix-crd-missing", ", ".join(missing)
        return
    if wrong := lab.kratix.webhook_differences():
        yield "kratix-webhook", "\n".join(wrong)
    for promise, why in lab.kratix.promises():
        if why:
            yield "kratix-promise-waits", f"Promise {promise.name}: {why}"
        for request in () if why else lab.kratix.requests(promise):
            if request.pending:
                yield "kratix-request-pending", f"{request.name}: {request.pending}"
