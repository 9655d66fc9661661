"""Lab 05: Who can do what, and the proof of it."""

from __future__ import annotations

from collections.abc import Iterator

from ...cluster.rbac import LIST_BINDINGS
from ...common.display import Finding, shown
from ...common.errors import IdentityError
from ...identity.session import Claims
from ...lab import Lab
from ..questions import Question
from .registry import add_lab

NAMESPACES = ("test-ns", "test-ns-2")

LAB = add_lab("05-access", "Access: the proof", needs="rbac")
LAB.question = Question(
    'A 403 says: User "user-dev@…" cannot list resource "pods". What is certain?',
    {
        "the token was refused": "then nobody's name would be in the answer, and it would be a 401",
        "the token was taken": "the API server knows who is asking; only RBAC said no",
        "the token has no groups": "perhaps, perhaps not: the groups may be there and be bound to too little",
    },
    right="the token was taken",
)


@LAB.step("namespaces", "the namespaces of the five commands are gone again", minutes=6)
def namespaces(lab: Lab) -> Iterator[Finding]:
    for name in NAMESPACES:
        found = lab.cluster.admin_kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name").output.strip()
        yield Finding(
            not found,
            f"namespace {name} {'is still there' if found else 'is not there'}",
            f'admin.kubectl("delete", "namespace", "{name}")',
        )


@namespaces.solution
def _(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found")


@LAB.step("access", "the API server allows what the workshop expects, and nothing else", minutes=9)
def access(lab: Lab) -> Iterator[Finding]:
    matrix = lab.access_matrix()
    for user, identity in matrix.identities.items():
        wrong = [answer for answer in matrix.differences if answer.user == user]
        total = sum(answer.user == user for answer in matrix.answers)
        yield Finding(not wrong, f"{identity}: {total - len(wrong)} of {total} answers as expected", "; ".join(map(str, wrong[:3])))


@access.solution
def _(lab: Lab) -> None:
    lab.cluster.rbac.apply()


@namespaces.reset
def _(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found")


NEWCOMER, NEARLY, EMAIL = "user-new", "kube-devs", "user-new@example.com"
JANITOR = "namespace-janitor"


def newcomer(lab: Lab) -> Claims:
    """Somebody new in the realm, as a colleague made them: in the group kube-devs. Gives what a token of theirs would say.

    Somebody who is there already stays as they are.

    Raises:
        IdentityError: In a realm that others use as well, that is somebody else.
    """
    keycloak = lab.realm.admin()
    names = {"username": NEWCOMER, "firstName": NEWCOMER, "lastName": NEWCOMER}
    there = keycloak.get_user_id(NEWCOMER)
    if there is None:
        keycloak.create_group({"name": NEARLY}, skip_exists=True)
        person = {**names, "email": EMAIL, "emailVerified": True, "enabled": True, "groups": [NEARLY]}
        keycloak.create_user(person)
    elif keycloak.get_user(there).get("email") != EMAIL:
        msg = f"the realm has a user {NEWCOMER} already, who is somebody else; they are left as they are"
        raise IdentityError(msg, why=f"their address is not {EMAIL}", fix="leave this exercise out, or use another realm")
    return lab.realm.preview(NEWCOMER)


@LAB.exercise("newcomer", "user-new may read as everybody in kube-dev may, and may change nothing", minutes=6)
def newcomers_groups(lab: Lab) -> Iterator[Finding]:
    """A 403 has a name in it, so the token was taken; what RBAC went by then? Compare newcomer(lab) with lab.realm.preview('user-dev'),
    claim by claim, with the bindings beside them. Mend it where the wrong claim comes from, not by a new binding.
    """
    claims = lab.realm.preview(NEWCOMER)
    groups = claims.get(lab.workshop.cluster.oidc.groups_claim)
    yield Finding(groups == ["kube-dev"], f"a token of {NEWCOMER} would say groups: {shown(groups)}", "the bound group, and no other")
    for verb, allowed in (("list", True), ("create", False)):
        may = lab.cluster.may(claims, verb, "namespaces")
        yield Finding(may == allowed, f"{NEWCOMER} {'may' if may else 'may not'} {verb} namespaces", "compare the groups with the bindings")


@newcomers_groups.solution
def _(lab: Lab) -> None:
    from labkit import newcomer

    newcomer(lab)
    keycloak = lab.realm.admin()
    user = str(keycloak.get_user_id("user-new"))
    for group in keycloak.get_user_groups(user):
        keycloak.group_user_remove(user, group["id"])
    keycloak.group_user_add(user, keycloak.get_group_by_path("/kube-dev")["id"])


@newcomers_groups.reset
def _(lab: Lab) -> None:
    lab.keycloak.require_own()
    keycloak = lab.realm.admin()
    user = keycloak.get_user_id(NEWCOMER)
    if user is not None:
        keycloak.delete_user(user)
    for group in keycloak.get_groups():
        if group["name"] == NEARLY:
            keycloak.delete_group(group["id"])


def one_right_too_many(lab: Lab) -> None:
    """What an old script left behind: a role that may delete namespaces, and a binding of an unlikely name that gives it to user-new."""
    kubectl = lab.cluster.admin_kubectl
    kubectl("delete", "--ignore-not-found", "clusterrolebinding/migration-0412", f"clusterrole/{JANITOR}")
    kubectl("create", "clusterrole", JANITOR, "--verb=get,list,delete", "--resource=namespaces")
    kubectl("create", "clusterrolebinding", "migration-0412", f"--clusterrole={JANITOR}", f"--user={EMAIL}")


@LAB.exercise(
    "right-too-many", "user-new may delete no namespace any more, and the role that allowed it is still there for others", minutes=5
)
def right_too_many(lab: Lab) -> Iterator[Finding]:
    """Rights only add up, so something allows it. A binding names its subjects: list the bindings with -o wide and look for a person among
    the groups.
    """
    role = lab.cluster.admin_kubectl("get", "clusterrole", JANITOR, "--ignore-not-found", "-o", "name").output.strip()
    yield Finding(bool(role), f"the role {JANITOR} is {'' if role else 'not '}there", "one_right_too_many(lab) puts role and binding back")
    who = Claims(NEWCOMER, {"email": EMAIL, "groups": ["kube-dev"]})
    may = lab.cluster.may(who, "delete", "namespaces")
    yield Finding(not may, f"{NEWCOMER} {'may' if may else 'may not'} delete namespaces", LIST_BINDINGS)
    may = lab.cluster.may(who, "list", "namespaces")
    yield Finding(may, f"{NEWCOMER}, in kube-dev, {'may' if may else 'may not'} list them", "lab.cluster.rbac.apply()")


@right_too_many.solution
def _(lab: Lab) -> None:
    from labkit import one_right_too_many

    one_right_too_many(lab)
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", "migration-0412")


@right_too_many.reset
def _(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "--ignore-not-found", "clusterrolebinding/migration-0412", f"clusterrole/{JANITOR}")
