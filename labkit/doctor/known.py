"""The causes that the doctor knows: what one sees, what is wrong, what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..cluster.rbac import LIST_BINDINGS


@dataclass(frozen=True)
class Known:
    """A cause.

    Attributes:
        name: What it is called, such as ``full-group-path``.
        symptom: What one sees before asking.
        cause: What is wrong.
        fix: What mends it, as far as possible a call of the labs.
    """

    name: str
    symptom: str
    cause: str
    fix: str


_ABOUT = """\
# Troubleshooting

`labkit doctor` (in a notebook: `from labkit.doctor import diagnose; diagnose(lab)`) looks for all of these, from the ground up,
and shows what it saw. It only reads.
This page is written by `make docs` from the doctor's own table; each cause is provoked in `tests/faults/test_doctor.py`.
"""

_APPLY = "lab.realm.apply(); then sign in again"
_RESTART = "lab.cluster.start() tells the API server what the platform files and the settings declare"
_RBAC = "lab.cluster.rbac.apply()"
_UP = "labkit up starts what is missing, in the right order"

AREAS: Mapping[str, tuple[Known, ...]] = {
    "This machine": (
        Known("disk-full", "servers end, or refuse to write", "the disk that holds the home is full", "make room on it"),
        Known("memory-short", "servers are killed, everything is slow", "this machine has hardly any memory left", "close other programs"),
        Known(
            "clocks-differ",
            "tokens are refused the moment they are made",
            "the clocks of this machine and of Keycloak differ",
            "set the clock",
        ),
    ),
    "Keycloak": (
        Known("keycloak-down", "nothing answers at the issuer's address", "Keycloak does not run", "lab.keycloak.start()"),
        Known(
            "keycloak-silent",
            "signing in hangs",
            "Keycloak runs and gives no answer",
            "lab.keycloak.stop(), then lab.keycloak.start(); its log says what it was busy with",
        ),
        Known(
            "keycloak-port-taken",
            "a certificate that can't be verified, or an answer that makes no sense",
            "another program listens where Keycloak should",
            "stop that program, or give Keycloak another port: LABKIT_KEYCLOAK_PORT",
        ),
        Known(
            "keycloak-certificate",
            "a certificate that can't be verified",
            "Keycloak shows a certificate that the lab's CA has not signed",
            "lab.keycloak.stop(), then lab.keycloak.start()",
        ),
        Known(
            "administrator-changed",
            "the realm can't be planned",
            "Keycloak does not accept the lab's administrator",
            "set the password back to what the home's secrets/keycloak-admin holds",
        ),
    ),
    "The realm": (
        Known("realm-missing", "the issuer's address answers 404", "there is no such realm", _APPLY),
        Known("realm-disabled", "signing in is refused: Realm not enabled", "the realm is disabled", _APPLY),
        Known(
            "realm-renamed-issuer",
            "tokens are refused by everybody",
            "a Frontend URL makes the realm name another issuer",
            "clear the Frontend URL in Keycloak's console: Realm settings, General",
        ),
        Known("group-missing", "people lose their rights", "a group is gone from Keycloak", _APPLY),
        Known("user-missing", "signing in is refused: Invalid user credentials", "a user is gone from Keycloak", _APPLY),
        Known("user-disabled", "signing in is refused: Account disabled", "a user is disabled", _APPLY),
        Known(
            "user-unfinished",
            "signing in is refused: Account is not fully set up",
            "a user lacks first name, last name or email",
            _APPLY,
        ),
        Known("user-changed", "the API server knows somebody by another name", "a user's email or name was changed", _APPLY),
        Known(
            "email-unverified", "401, though the token looks right", "a user's email is not verified, so it is not taken for a name", _APPLY
        ),
        Known("other-groups", "403 where it should be allowed, or the other way round", "a user is in other groups than declared", _APPLY),
        Known(
            "group-lookalike",
            "somebody may do what they should not",
            "a second group has a declared group's name, and tokens tell the two apart by nothing",
            "rename or remove it in Keycloak's console: Groups",
        ),
        Known(
            "undeclared-members",
            "somebody may do what they should not",
            "a declared group has members whom realm.yaml does not declare",
            "declare them in realm.yaml, or take them out of the group in Keycloak's console: Groups, Members",
        ),
        Known(
            "group-with-colon",
            "401 for somebody; with LABKIT_OIDC=flags, somebody may do what they should not",
            "a group has a name of Kubernetes' own, such as system:masters",
            "rename or remove it in Keycloak's console: Groups",
        ),
        Known("scope-missing", "403 on everything", "the client scope that brings the groups is gone or changed", _APPLY),
        Known("groups-mapper-missing", "403 on everything", "the mapper that writes the groups into tokens is gone", _APPLY),
        Known("full-group-path", "403 on everything", "tokens name groups with their path, /kube-dev, which no binding knows", _APPLY),
        Known("claim-renamed", "403 on everything", "the groups are in another claim than the API server reads", _APPLY),
        Known("portal-audience", "401 for what the portal asks", "the portal's tokens do not name the cluster as audience", _APPLY),
        Known("client-missing", "signing in is refused: Invalid client", "a client is gone from Keycloak", _APPLY),
        Known("client-disabled", "signing in is refused: Invalid client", "a client is disabled", _APPLY),
        Known("client-secret", "signing in is refused: Invalid client credentials", "a client has another secret than declared", _APPLY),
        Known("direct-grants-off", "signing in is refused: Client not allowed", "direct access grants are off for a client", _APPLY),
        Known("redirect-uris", "the portal's sign-in ends in: Invalid parameter: redirect_uri", "a client has other redirect URIs", _APPLY),
        Known("client-scopes", "401, or 403 on everything", "a client has other default scopes, so its tokens lack claims", _APPLY),
        Known("realm-drift", "something is not as the labs say", "the realm is not as realm.yaml declares it", _APPLY),
    ),
    "People": (
        Known(
            "password-changed",
            "signing in is refused: Invalid user credentials",
            "a user has another password than realm.yaml says, which counts for new users only",
            "reset it in Keycloak's console: Users, Credentials",
        ),
        Known(
            "required-action",
            "signing in is refused: Account is not fully set up",
            "Keycloak asks a user for something first, such as a new password",
            "remove the required action in Keycloak's console: Users",
        ),
        Known("sign-in-refused", "signing in is refused", "Keycloak refuses a user, for a reason of its own", "see its words below"),
    ),
    "The cluster": (
        Known("etcd-down", "the API server hangs or ends", "etcd does not run", _UP),
        Known("api-server-down", "nothing answers at the API server's address", "the API server does not run", _UP),
        Known("api-server-silent", "kubectl hangs", "the API server runs and is not ready", "lab.cluster.stop(), then lab.cluster.start()"),
        Known("controller-manager-down", "namespaces stay in Terminating", "the controller manager does not run", _UP),
        Known("wrong-issuer", "401 for everybody, and nothing in the log", "the API server trusts another issuer", _RESTART),
        Known("wrong-audience", "401 for everybody", "the API server asks for another audience", _RESTART),
        Known(
            "wrong-ca", "401 for everybody, x509 in the log", "the API server has a CA that has not signed Keycloak's certificate", _RESTART
        ),
        Known("other-claims", "401, or 403 on everything", "the API server reads user or groups from another claim", _RESTART),
        Known("swapped-prefix", "403 on everything", "the API server puts a prefix before names, which no binding knows", _RESTART),
        Known("undeclared-groups", "403 on everything for a group", "the API server takes other groups than are declared", _RESTART),
        Known(
            "no-discovery",
            "401 for everybody, soon after a start",
            "the API server has not read the realm's discovery document",
            "wait ten seconds; if it stays, look at the reason below",
        ),
        Known("not-taken", "401", "the API server does not take somebody's token", "see its reason below"),
        Known("other-name", "the wrong person", "the API server takes somebody for another", _RESTART),
    ),
    "RBAC": (
        Known("binding-missing", "403 on everything for a group", "a cluster role binding is missing", _RBAC),
        Known("binding-changed", "403 where it should be allowed, or the other way round", "a binding names another group or role", _RBAC),
        Known("role-missing", "403 on everything for a group", "a cluster role is missing", _RBAC),
        Known("role-changed", "403 where it should be allowed, or the other way round", "a cluster role has other rules", _RBAC),
        Known(
            "more-than-expected",
            "somebody may do what they should not",
            "a binding that rbac.yaml does not declare",
            f"find it: {LIST_BINDINGS}",
        ),
        Known("less-than-expected", "403 where it should be allowed", "somebody may do less than access.yaml expects", _RBAC),
    ),
    "kubectl": (
        Known(
            "context-expired",
            "kubectl says: Unable to connect to the server: failed to refresh token",
            "a kubectl context's session has ended",
            "lab.sign_in(USER) writes it anew",
        ),
        Known(
            "context-stale",
            "kubectl says: You must be logged in",
            "a kubectl context has a token of another issuer",
            "lab.sign_in(USER) writes it anew",
        ),
        Known(
            "keys-rotated",
            "kubectl says: You must be logged in",
            "a context's token is signed by a key that the realm no longer has",
            "lab.sign_in(USER) writes it anew",
        ),
    ),
    "The portal": (
        Known(
            "portal-down",
            "nothing answers at the portal's address",
            "the portal, which was started before, does not run",
            "lab.portal.start()",
        ),
        Known("portal-silent", "the portal hangs", "the portal runs and is not ready", "lab.portal.stop(), then lab.portal.start()"),
        Known(
            "portal-stale",
            "signing in to the portal fails, or it acts on another cluster",
            "the portal was started with another configuration than is declared now",
            "lab.portal.start() starts it anew",
        ),
    ),
    "Kratix": (
        Known(
            "kratix-down",
            "a Promise is refused: failed calling webhook; requests stay as they are",
            "Kratix's controller, which was started before, does not run",
            "lab.kratix.start()",
        ),
        Known(
            "kratix-crd-missing", "the server doesn't have a resource type", "the cluster lacks a kind of Kratix's", "lab.kratix.start()"
        ),
        Known(
            "kratix-webhook",
            "a Promise is refused: failed calling webhook, or taken without being looked at",
            "the API server can't ask Kratix about Promises, or does not verify it with the lab's authority",
            "lab.kratix.start()",
        ),
        Known(
            "kratix-promise-waits",
            "requests are pending",
            "a Promise that is published can't be asked",
            "see its reason below: what it requires may be missing",
        ),
        Known("kratix-request-pending", "a request is pending", "Kratix has not taken a request", "see its reason below"),
    ),
}
"""The causes, by what they are in."""

KNOWN: Mapping[str, Known] = {known.name: known for causes in AREAS.values() for known in causes}
"""The causes, by name."""


def page() -> str:
    """The causes as a page of Markdown, ``docs/troubleshooting.md``."""
    parts = [_ABOUT]
    for area, causes in AREAS.items():
        rows = (f"| {known.symptom} | {known.cause} | {known.fix} | `{known.name}` |" for known in causes)
        parts.append(
            "\n".join((f"## {area}\n", "| what you see | what is wrong | what mends it | name |", "| --- | --- | --- | --- |", *rows))
            + "\n"
        )
    return "\n".join(parts)
