"""Comparing and showing a realm without a server; see the integration tests for what Keycloak makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from keycloak import KeycloakAdmin

from labkit.common.errors import IdentityError, KeycloakUnreachable
from labkit.config.ports import port_is_free
from labkit.identity.plan import Action, Change, FieldChange, Plan, compare, merge
from labkit.identity.realm import Realm
from labkit.workshop.workshop import Workshop

WORKSHOP = Workshop.load()


def test_an_object_that_is_not_there_is_to_create_with_all_it_declares() -> None:
    change = compare("group", "kube-dev", None, {"name": "kube-dev"})
    assert change == Change("group", "kube-dev", Action.CREATE, (FieldChange("name", None, "kube-dev"),))


def test_only_declared_fields_are_compared() -> None:
    now = {"id": "1", "name": "kube", "description": "by hand", "attributes": {"a": "1", "by.hand": "x"}}
    assert compare("client", "kube", now, {"name": "kube", "attributes": {"a": "1"}}) == Change("client", "kube", Action.AS_DECLARED)


def test_a_field_that_differs_or_is_missing_inside_attributes_is_named_with_both_values() -> None:
    change = compare("mapper", "m", {"config": {"full.path": "true"}}, {"config": {"full.path": "false", "claim.name": "groups"}})
    assert change.action is Action.CHANGE
    assert change.fields == (FieldChange("config.full.path", "true", "false"), FieldChange("config.claim.name", None, "groups"))


@pytest.mark.parametrize(("now", "action"), [(["b", "a"], Action.AS_DECLARED), (["a"], Action.CHANGE), (["c", "b", "a"], Action.CHANGE)])
def test_a_lists_order_has_no_meaning_but_its_members_have(now: list[str], action: Action) -> None:
    assert compare("client", "c", {"redirectUris": now}, {"redirectUris": ["a", "b"]}).action is action


def test_a_secret_is_reported_to_differ_but_never_shown() -> None:
    declared = WORKSHOP.realm.representation["clients"][0]
    changed = compare("client", "kube", {**declared, "secret": "changed-by-hand"}, declared)
    assert changed.fields == (FieldChange("secret", "(another secret)", "(declared)"),)
    plan = Plan("myrealm", (changed, compare("client", "kube", None, declared)))
    for text in (str(plan), repr(plan), plan.html()):
        assert "changed-by-hand" not in text
        assert "kube-client-secret" not in text


def test_an_update_keeps_what_is_not_declared() -> None:
    now = {"id": "1", "name": "old", "description": "by hand", "attributes": {"a": "0", "by.hand": "x"}}
    merged = merge(now, {"name": "new", "attributes": {"a": "1"}})
    assert merged == {"id": "1", "name": "new", "description": "by hand", "attributes": {"a": "1", "by.hand": "x"}}
    assert now["attributes"] == {"a": "0", "by.hand": "x"}


URIS = ["http://localhost:3000/api/auth/keycloak", "http://localhost:3003/api/auth/keycloak"]
PLAN = Plan(
    "myrealm",
    (
        Change("realm", "myrealm", Action.AS_DECLARED),
        Change("group", "<kube>", Action.CREATE, (FieldChange("name", None, "<kube>"),)),
        compare(
            "client", "portal", None, {"clientId": "portal", "attributes": {"a": "1"}, "standardFlowEnabled": True, "redirectUris": URIS}
        ),
        Change("client", "kube", Action.CHANGE, (FieldChange("enabled", False, True), FieldChange("redirectUris", ("x",), ()))),
    ),
)


def test_a_plan_reads_as_a_table_with_marks_words_and_a_summary() -> None:
    """A new object takes one line, with the fields that tell what it is for."""
    assert str(PLAN).splitlines() == [
        "realm myrealm",
        "plan           what    name     details",
        f"─────────────  ──────  ───────  {'─' * 42}",
        "= as declared  realm   myrealm",
        "+ create       group   <kube>",
        "+ create       client  portal   standardFlowEnabled: true; redirectUris: …",
        "~ change       client  kube     enabled: false → true",
        "                                redirectUris: x → none",
        "",
        "2 to create, 1 to change, 1 as declared",
    ]


def test_a_plan_in_html_says_the_same_and_is_escaped() -> None:
    html = PLAN.html()
    for text in ("realm myrealm", "+ create", "~ change", "= as declared", "&lt;kube&gt;", "enabled: false → true", PLAN.summary):
        assert text in html
    assert "<kube>" not in html


def test_what_is_not_as_declared_is_pending() -> None:
    assert PLAN.pending == PLAN.changes[1:]
    assert Plan("myrealm", PLAN.changes[:1]).pending == ()


def test_a_portal_on_another_uris_port_declares_that_uri_once() -> None:
    client = Workshop.load(portal_url="http://localhost:3003").realm.representation["clients"][1]
    uris = [f"http://localhost:{port}/api/auth/keycloak/handler/frame" for port in (3000, 3003)]
    assert compare("client", "backstage-client", {**client, "redirectUris": uris}, client).action is Action.AS_DECLARED


def test_a_plan_for_another_realm_is_refused_before_anything_is_asked() -> None:
    def nobody() -> KeycloakAdmin:
        pytest.fail("Keycloak was asked")

    with pytest.raises(IdentityError, match="this plan is for the realm other, the workshop's is myrealm"):
        Realm(nobody, WORKSHOP).apply(Plan("other", ()))


@pytest.mark.parametrize("call", [Realm.plan, Realm.apply])
def test_a_keycloak_that_does_not_run_is_unreachable_and_the_fix_is_shown(call: Callable[[Realm], Plan]) -> None:
    port = next(port for port in range(28000, 28400) if port_is_free(port))
    realm = Realm(lambda: KeycloakAdmin(server_url=f"https://localhost:{port}", username="admin", password="x"), WORKSHOP)
    with pytest.raises(KeycloakUnreachable) as caught:
        call(realm)
    assert caught.value.what == "realm myrealm: Keycloak can't be reached"
    assert caught.value.why.endswith("Connection refused")
    assert "labkit up" in caught.value.fix
