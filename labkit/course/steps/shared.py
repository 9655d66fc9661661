"""What several labs' checks look at, and what several labs' resets take away."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...cluster.access import LIST_BINDINGS
from ...common.display import Finding, shown
from ...identity.session import Claims
from ...lab import Lab
from .registry import Act

AUDITORS = "user-audit@example.com", "kube-audit"
"""Somebody of that name, who need not exist, and their group."""


def claims_of(lab: Lab, name: str, *groups: str) -> Claims:
    """What a token of somebody would say to the API server, in the claims that it reads; they need not exist."""
    oidc = lab.workshop.cluster.oidc
    return Claims(name, {oidc.username_claim: name, oidc.groups_claim: list(groups)})


def there(what: str, found: object, fix: str) -> Finding:
    """Say whether something, true if it was found, is there."""
    return Finding(bool(found), f"{what} is {'' if found else 'not '}there", fix)


def rights(lab: Lab, who: Claims, namespace: str = "", *, may: Collection[str] = (), may_not: Collection[str] = ()) -> Iterator[Finding]:
    """Ask RBAC what somebody, who need not have signed in, may do, and hold it against what they should.

    Args:
        lab: The lab.
        who: What a token of theirs would say.
        namespace: Where; everywhere if empty.
        may: What has to be allowed, such as ``get configmaps``.
        may_not: What has to be refused.
    """
    person = lab.cluster.identity(who)
    name, place, listing = person.username, f" in {namespace}" if namespace else "", f": {LIST_BINDINGS}"
    names = f"the user {name} or the groups {shown(person.groups)}"
    for asked in (*may, *may_not):
        verb, resource = asked.split()
        allowed = lab.cluster.may(who, verb, resource, namespace)
        wrong = f"no rule allows it to {names}" if asked in may else f"a rule allows it to {names}"
        text = f"{name} {'may' if allowed else 'may not'} {verb} {resource.partition('.')[0]}{place}"
        if allowed == (asked in may):
            yield Finding(ok=True, text=text)
        else:
            yield Finding(ok=False, text=f"{text}, and should{' not' if allowed else ''}", fix=wrong + listing)
            # Once is enough.
            listing = ""


def exists(lab: Lab, kind: str, name: str) -> bool:
    """Ask the cluster for an object, of the default namespace if it is in one."""
    return bool(lab.cluster.admin_kubectl("get", kind, name, "--ignore-not-found", "-o", "name").output.strip())


def gone(lab: Lab, kind: str, names: Collection[str]) -> Iterator[Finding]:
    """See whether objects of the cluster are deleted again."""
    for name in names:
        found = exists(lab, kind.lower(), name)
        fix = f'lab.cluster.admin_kubectl("delete", "{kind.lower()}", "{name}")'
        yield Finding(not found, f"{kind} {name} {'is still there' if found else 'is not there'}", fix)


def deletes(*objects: str) -> Act:
    """Delete objects of the cluster, such as ``namespace/dev-home``."""
    return lambda lab: lab.cluster.admin_kubectl("delete", "--ignore-not-found", *objects)


def deletes_in_realm(**names: str) -> Act:
    """Delete the ``user``, ``group``, ``client`` or ``client_scope`` of these names, in a realm of the lab's own alone."""

    def act(lab: Lab) -> None:
        lab.keycloak.require_own()
        keycloak = lab.realm.admin()
        for kind, name in names.items():
            key = {"user": "username", "client": "clientId"}.get(kind, "name")
            for found in getattr(keycloak, f"get_{kind}s")():
                if found[key] == name:
                    getattr(keycloak, f"delete_{kind}")(found["id"])

    return act
