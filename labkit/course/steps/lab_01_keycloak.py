"""Lab 01: Who somebody is: Keycloak and its realm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...common.display import Finding, shown
from ...identity.plan import Action
from ...lab import Lab
from .registry import add_lab
from .shared import deletes_in_realm, there

LAB = add_lab("01-keycloak", "Keycloak: who somebody is", needs="programs")


@LAB.step("keycloak", "Keycloak answers over verified TLS", minutes=4)
def keycloak(lab: Lab) -> Iterator[Finding]:
    yield from lab.keycloak.findings()


keycloak.solution(lambda lab: lab.keycloak.start())


@keycloak.reset
def _(lab: Lab) -> None:
    lab.keycloak.erase()
    # The next realm has other keys, and nobody takes tokens of this one any more.
    lab.credentials.forget()


@LAB.step("realm", "the realm is as realm.yaml declares it", minutes=12)
def realm(lab: Lab) -> Iterator[Finding]:
    for change in lab.realm.plan().changes:
        differs = f": {change.action.value}" if change.action is not Action.AS_DECLARED else ""
        if change.action is Action.CHANGE:
            differs += ", " + "; ".join(f"{field.field} is {shown(field.now)}, not {shown(field.declared)}" for field in change.fields)
        yield Finding(change.action is Action.AS_DECLARED, f"{change.kind} {change.name}{differs}", "lab.realm.apply()")
    issuer = lab.keycloak.discovery()["issuer"]
    yield Finding(issuer == lab.keycloak.issuer, f"discovery names the issuer {issuer}")


realm.solution(lambda lab: lab.realm.apply())


@LAB.step("sign-in", "people can sign in, and their tokens name their groups", minutes=9)
def sign_in(lab: Lab) -> Iterator[Finding]:
    claim = lab.workshop.cluster.oidc.groups_claim
    for username in lab.workshop.access.expected:
        groups = lab.session(username).claims.get(claim) or []
        declared = list(lab.workshop.user(username).groups)
        fix = f"the workshop declares {shown(declared)}: lab.realm.apply()"
        yield Finding(set(groups) == set(declared), f"{username}'s token says {claim}: {shown(groups)}", fix)


sign_in.solution(lambda lab: lab.realm.apply())


@LAB.exercise("auditor", "a group kube-audit has one member, user-audit, who could sign in today", minutes=6)
def auditor(lab: Lab) -> Iterator[Finding]:
    """create_group, create_user and group_user_add, each of lab.realm.admin(). What does Keycloak ask of an account before it lets anybody
    in? The table in this lab says it. A password is temporary unless you say temporary=False: then Keycloak asks for another one first.
    lab.realm.preview shows what a token of theirs would say.
    """
    keycloak = lab.realm.admin()
    groups = [group["name"] for group in keycloak.get_groups()]
    yield Finding("kube-audit" in groups, f"the realm's groups are {shown(sorted(groups))}", 'create_group({"name": "kube-audit"})')
    found = keycloak.get_users({"username": "user-audit", "exact": "true"})
    yield there("user user-audit", found, "create_user({…})")
    for user in found:
        lacking = _unfinished(user, keycloak.get_credentials(user["id"]))
        text = f"missing in user-audit's account: {shown(lacking or 'nothing')}"
        yield Finding(not lacking, text, "update_user(…), or set_user_password(…)")
        asked = user.get("requiredActions", ())
        fix = 'update_user(user\'s id, {"requiredActions": []}); a password with temporary=False asks for nothing'
        yield Finding(not asked, f"asked of user-audit at the next sign-in: {shown(asked or 'nothing')}", fix)
        said = lab.realm.preview("user-audit").get(lab.workshop.cluster.oidc.groups_claim)
        yield Finding(
            said == ["kube-audit"], f"a token of user-audit would say groups: {shown(said)}", "group_user_add(user's id, group's id)"
        )


@auditor.solution
def _(lab: Lab) -> None:
    import secrets

    keycloak = lab.realm.admin()
    keycloak.create_group({"name": "kube-audit"}, skip_exists=True)
    names = {"username": "user-audit", "firstName": "user-audit", "lastName": "user-audit"}
    email = {"email": "user-audit@example.com", "emailVerified": True}
    password = {"type": "password", "value": secrets.token_urlsafe(16), "temporary": False}
    user = keycloak.create_user({**names, **email, "enabled": True, "credentials": [password]}, exist_ok=True)
    keycloak.group_user_add(user, keycloak.get_group_by_path("/kube-audit")["id"])


auditor.reset(deletes_in_realm(user="user-audit", group="kube-audit"))


def _unfinished(user: dict[str, Any], credentials: list[dict[str, Any]]) -> list[str]:
    """What Keycloak, or the API server, would miss in an account."""
    lacking = [field for field in ("firstName", "lastName", "email", "emailVerified", "enabled") if not user.get(field)]
    return lacking if any(each["type"] == "password" for each in credentials) else [*lacking, "password"]


@LAB.exercise("team-claim", "a token says the team, but only when the client asks for it", minutes=8)
def team_claim(lab: Lab) -> Iterator[Finding]:
    """A client scope is a bundle of claims; its mappers write them. create_client_scope makes one, with its protocolMappers; the mapper's
    protocolMapper is oidc-hardcoded-claim-mapper, its config has claim.name, claim.value, jsonType.label and id.token.claim. Optional
    for kubectl's client (add_client_optional_client_scope) it counts when it is asked for by name.
    """
    keycloak, client_id = lab.realm.admin(), lab.workshop.api_client.client_id
    yield there("client scope team", "team" in _names(keycloak.get_client_scopes()), 'create_client_scope({"name": "team", …})')
    client = str(keycloak.get_client_id(client_id))
    scopes = _names([*keycloak.get_client_default_client_scopes(client), *keycloak.get_client_optional_client_scopes(client)])
    fix = f'add_client_optional_client_scope(get_client_id("{client_id}"), the scope\'s id, {{}})'
    yield Finding("team" in scopes, f"the scopes of the client {client_id} are {shown(scopes)}", fix)
    person = next(iter(lab.workshop.access.expected))
    asked, unasked = (lab.realm.preview(person, scope).get("team") for scope in ("openid team", "openid"))
    says = f'with the scope "openid team" the token says team: {shown(asked)}'
    yield Finding(asked == "platform", says, "it should say platform: a mapper in a client scope that the client may ask for")
    if asked is not None:
        yield Finding(unasked is None, f'with "openid" alone it says team: {shown(unasked)}', "an optional scope, not a default one")
    pending = [change.name for change in lab.realm.plan().pending]
    yield Finding(not pending, f"what differs from realm.yaml: {shown(pending)}", "lab.realm.apply() mends it")


def _names(objects: list[dict[str, Any]]) -> list[str]:
    return sorted(each["name"] for each in objects)


@team_claim.solution
def _(lab: Lab) -> None:
    config = {"claim.name": "team", "claim.value": "platform", "jsonType.label": "String", "id.token.claim": "true"}
    mapper = {"name": "team", "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper", "config": config}
    keycloak = lab.realm.admin()
    scope = {"name": "team", "protocol": "openid-connect", "protocolMappers": [mapper]}
    scope_id = keycloak.create_client_scope(scope, skip_exists=True)
    keycloak.add_client_optional_client_scope(str(keycloak.get_client_id(lab.workshop.api_client.client_id)), scope_id, {})


team_claim.reset(deletes_in_realm(client_scope="team"))
