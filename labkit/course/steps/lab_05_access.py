"""Lab 05: Who can do what, and the proof of it."""

from __future__ import annotations

from collections.abc import Iterator

from ...common.display import Finding, shown
from ...common.errors import IdentityError
from ...identity.session import Claims
from ...lab import Lab
from .registry import add_lab
from .shared import claims_of, deletes, deletes_in_realm, exists, gone, rights, there

LAB = add_lab("05-access", "Access: the proof", needs="rbac")


@LAB.step("namespaces", "the namespaces of the five commands are gone again", minutes=6, holds_before="nobody has made them yet")
def namespaces(lab: Lab) -> Iterator[Finding]:
    return gone(lab, "namespace", ("test-ns", "test-ns-2"))


namespaces.reset(namespaces.solution(deletes("namespace/test-ns", "namespace/test-ns-2")))


@LAB.step(
    "access",
    "the API server allows what the workshop expects, and nothing else",
    minutes=9,
    holds_before="lab 03 has brought that about",
)
def access(lab: Lab) -> Iterator[Finding]:
    matrix = lab.access_matrix()
    for user, identity in matrix.identities.items():
        wrong = [answer for answer in matrix.differences if answer.user == user]
        total = sum(answer.user == user for answer in matrix.answers)
        text = f"{identity}: {total - len(wrong)} of {total} answers as expected"
        yield Finding(not wrong, "; ".join((text, *map(str, wrong[:3]))), matrix.fix())


access.solution(lambda lab: lab.cluster.rbac.apply())


NEWCOMER, EMAIL = "user-new", "user-new@example.com"


def newcomer(lab: Lab) -> Claims:
    """Make somebody new in the realm, as a colleague did, in the group kube-devs, and tell what a token of theirs would say.

    Who is there already stays as they are; raises `IdentityError` if, in a realm that others use as well, that is somebody else.
    """
    keycloak = lab.realm.admin()
    names = {"username": NEWCOMER, "firstName": NEWCOMER, "lastName": NEWCOMER}
    found = keycloak.get_user_id(NEWCOMER)
    if found is None:
        keycloak.create_group({"name": "kube-devs"}, skip_exists=True)
        keycloak.create_user({**names, "email": EMAIL, "emailVerified": True, "enabled": True, "groups": ["kube-devs"]})
    elif keycloak.get_user(found).get("email") != EMAIL:
        raise IdentityError("newcomer-is-another", user=NEWCOMER, email=EMAIL)
    return lab.realm.preview(NEWCOMER)


@LAB.exercise("newcomer", "user-new may read as everybody in the reader's group may, and may change nothing", minutes=6)
def newcomers_groups(lab: Lab) -> Iterator[Finding]:
    """A 403 has a name in it, so the token was accepted. What did RBAC go by then? Compare lab.realm.preview("user-new") with
    lab.realm.preview(lab.workshop.reader.username), claim by claim, with the bindings beside them. Mend it where the wrong claim comes
    from, not by a new binding.
    """
    claims = lab.realm.preview(NEWCOMER)
    groups = claims.get(lab.workshop.cluster.oidc.groups_claim)
    yield Finding(
        groups == [lab.workshop.reading.group], f"a token of {NEWCOMER} would say groups: {shown(groups)}", "the bound group, and no other"
    )
    yield from rights(lab, claims, may=("list namespaces",), may_not=("create namespaces",))


@newcomers_groups.solution
def _(lab: Lab) -> None:
    from labkit import newcomer

    newcomer(lab)
    keycloak = lab.realm.admin()
    user = str(keycloak.get_user_id("user-new"))
    for group in keycloak.get_user_groups(user):
        keycloak.group_user_remove(user, group["id"])
    keycloak.group_user_add(user, keycloak.get_group_by_path(lab.workshop.realm.path(lab.workshop.reading.group))["id"])


newcomers_groups.reset(deletes_in_realm(user=NEWCOMER, group="kube-devs"))


_without_the_right_too_many = deletes("clusterrolebinding/migration-0412", "clusterrole/namespace-janitor")


def _newcomers(lab: Lab) -> Claims:
    return claims_of(lab, EMAIL if lab.workshop.cluster.oidc.username_claim == "email" else NEWCOMER, lab.workshop.reading.group)


def one_right_too_many(lab: Lab) -> None:
    """Leave behind what an old script did: a role that may delete namespaces, and a binding of an unlikely name to user-new."""
    kubectl = lab.cluster.admin_kubectl
    _without_the_right_too_many(lab)
    kubectl("create", "clusterrole", "namespace-janitor", "--verb=get,list,delete", "--resource=namespaces")
    kubectl(
        "create",
        "clusterrolebinding",
        "migration-0412",
        "--clusterrole=namespace-janitor",
        f"--user={lab.cluster.identity(_newcomers(lab)).username}",
    )


@LAB.exercise(
    "right-too-many", "user-new may delete no namespace any more, and the role that allowed it is still there for others", minutes=5
)
def right_too_many(lab: Lab) -> Iterator[Finding]:
    """Rights only add up, so something allows it. A binding names its subjects: list the bindings with -o wide and look for a person among
    the groups.
    """
    janitor = exists(lab, "clusterrole", "namespace-janitor")
    yield there("the role namespace-janitor", janitor, "one_right_too_many(lab) puts role and binding back")
    yield from rights(lab, _newcomers(lab), may=("list namespaces",), may_not=("delete namespaces",))


@right_too_many.solution
def _(lab: Lab) -> None:
    from labkit import one_right_too_many

    one_right_too_many(lab)
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", "migration-0412")


right_too_many.reset(_without_the_right_too_many)
