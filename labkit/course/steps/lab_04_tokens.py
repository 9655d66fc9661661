"""Lab 04: What kubectl carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...cluster.kubeconfig import exec_context
from ...common.display import Finding
from ...identity.session import sign_in
from ...lab import Lab
from ...workshop.workshop import Client, Secret
from .registry import add_lab
from .shared import deletes_in_realm, there

LAB = add_lab("04-tokens", "Tokens: what kubectl carries", needs="rbac")


@LAB.step("contexts", "kubectl has a context for each person, and each is who it says", minutes=15)
def contexts(lab: Lab) -> Iterator[Finding]:
    for username in lab.workshop.access.expected:
        wanted = lab.cluster.declared_identity(lab.session(username)).username
        for context in (username, exec_context(username)):
            name = "nobody"
            if context in lab.cluster.kubeconfig.contexts():
                name = lab.cluster.kubectl(context, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").output
            fix = f'lab.sign_in("{username}") and lab.cluster.enter_exec("{username}")'
            yield Finding(name == wanted, f"context {context} is {name}", fix)


@contexts.solution
def _(lab: Lab) -> None:
    for username in lab.workshop.access.expected:
        lab.sign_in(username)
        lab.cluster.enter_exec(username)


contexts.reset(lambda lab: lab.forget_people())


@LAB.exercise(
    "refused-client", "people can sign in through the client kube-outsider, and the cluster takes none of its ID tokens", minutes=6
)
def refused_client(lab: Lab) -> Iterator[Finding]:
    """What does the API server ask of aud, and who is an ID token made for? A new client that people may sign in through (direct access
    grants, as this needs no browser) is enough: create_client of lab.realm.admin().
    """
    keycloak = lab.realm.admin()
    found: dict[str, Any] = next((each for each in keycloak.get_clients() if each["clientId"] == "kube-outsider"), {})
    yield there("client kube-outsider", found, "create_client({…})")
    direct = bool(found.get("directAccessGrantsEnabled"))
    if found:
        yield Finding(direct, f"its direct access grants are {'on' if direct else 'off'}", '"directAccessGrantsEnabled": True')
    if not direct:
        return
    secret = "" if found.get("publicClient") else keycloak.get_client_secrets(found["id"]).get("value", "")
    client = Client("kube-outsider", Secret(secret or "none"))
    session = sign_in(lab.keycloak, client, lab.workshop.reader)
    try:
        seen, aud = lab.cluster.who(session.tokens.id_token), session.claims["aud"]
    finally:
        session.sign_out()
    yield Finding(seen is None, f"an ID token with aud: {aud} is {seen or 'nobody (401)'} to the API server", "no audience mapper")


@refused_client.solution
def _(lab: Lab) -> None:
    import secrets

    flows = {"standardFlowEnabled": False, "directAccessGrantsEnabled": True}
    client = {"clientId": "kube-outsider", "secret": secrets.token_urlsafe(24), "redirectUris": [], "webOrigins": []}
    lab.realm.admin().create_client({**client, **flows}, skip_exists=True)


refused_client.reset(deletes_in_realm(client="kube-outsider"))
