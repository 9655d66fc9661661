"""Pictures of a lab that runs: what they show is what the servers say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.course.pictures.chain import trust_chain
from labkit.course.pictures.timeline import Timeline, timeline
from labkit.course.pictures.token import taken_apart
from labkit.lab import Lab
from labkit.portal.client import PortalSession
from labkit.workshop.files import read


def test_in_a_lab_that_is_up_every_link_of_the_chain_holds(lab: Lab) -> None:
    chain = trust_chain(lab, "user-dev")
    assert [(link.name, link.ok) for link in chain.links if not link.ok] == []
    facts = {(link.name, name): value for link in chain.links for name, value in link.facts}
    assert facts["Keycloak", "issuer"] == facts["API server", "wants issuer"] == lab.keycloak.issuer
    assert chain.links[2].state == "knows user-dev@kratix.io"
    assert facts["RBAC", "kube-dev"] == "has the role cr-reader"


def test_a_link_that_no_longer_holds_is_shown_while_the_others_hold(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", "kube-dev")
    try:
        chain = trust_chain(lab, "user-dev")
    finally:
        lab.cluster.rbac.apply()
    assert [link.name for link in chain.links if not link.ok] == ["RBAC"]
    assert "ClusterRoleBinding kube-dev is missing" in str(chain)


def test_a_token_taken_apart_is_judged_as_the_api_server_judges_it(lab: Lab) -> None:
    for client in ("kube", "backstage-client"):
        session = lab.session("user-dev", client)
        for claims, token in ((session.claims, session.tokens.id_token), (session.access_claims(), session.tokens.access_token)):
            parts = taken_apart(lab, claims)
            assert parts.passes == (lab.cluster.who(token) is not None), parts
            assert token[-40:] not in parts.html()


@pytest.fixture(scope="module")
def refused(lab: Lab) -> Timeline:
    """A developer's request for a new ConfigMap, by way of the portal's proxy."""
    new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "never-made"}}

    def ask(portal: PortalSession) -> None:
        portal.proxy("POST", "api/v1/namespaces/default/configmaps", new)

    return timeline(lab, "user-dev", ask)


def test_a_timeline_shows_each_servers_part_within_the_request_that_it_belongs_to(refused: Timeline) -> None:
    assert refused.outcome.startswith('refused: configmaps is forbidden: User "user-dev@kratix.io" cannot create')
    assert refused.rows[0].what == "GET /api/auth/keycloak/start"
    hops = {(row.caller, row.server) for row in refused.rows}
    assert {("browser", "portal"), ("browser", "Keycloak"), ("portal", "Keycloak"), ("portal", "API server")} <= hops
    (asked,) = (row for row in refused.rows if row.what.startswith("POST /api/kubernetes/proxy"))
    (judged,) = (row for row in refused.rows if row.what == "create /api/v1/namespaces/default/configmaps")
    assert judged.answer == "403 for user-dev@kratix.io"
    assert asked.began <= judged.began
    assert judged.ended <= asked.ended
    exchange = next(row for row in refused.rows if row.caller == "portal" and row.what.endswith("/openid-connect/token"))
    frame = next(row for row in refused.rows if row.what.endswith("/handler/frame"))
    assert 0 < exchange.seconds <= frame.seconds + 0.02
    assert refused.unseen == ()


def test_an_answer_says_by_which_binding_it_was_allowed(lab: Lab) -> None:
    seen = timeline(lab, "user-dev", lambda portal: portal.proxy("GET", "api/v1/namespaces"))
    answers = [row.answer for row in seen.rows if row.what == "list /api/v1/namespaces"]
    by = 'allowed by ClusterRoleBinding "kube-dev" of ClusterRole "cr-reader" to Group "kube-dev"'
    assert (seen.outcome, answers) == ("granted", [f"200 for user-dev@kratix.io, {by}"])


def test_the_timeline_has_people_and_nobody_of_the_control_plane(lab: Lab, refused: Timeline) -> None:
    lab.cluster.admin_kubectl("get", "namespaces")
    assert refused.rows
    names = {row.answer.split(" for ")[1].partition(",")[0] for row in lab.cluster.provider.exchanges()}
    assert names <= {user.email for user in lab.workshop.realm.users} | {"nobody"}


@pytest.mark.fault("Exposure", "codes, tokens and passwords in Keycloak's access log or the API server's audit log", "none gets there")
def test_what_the_two_logs_keep_holds_no_query_no_token_and_no_content(lab: Lab, refused: Timeline) -> None:
    assert refused.rows
    access = (lab.settings.folder / "keycloak" / "data" / "log" / "keycloak-http-access.log").read_text()
    audit = (lab.settings.folder / "logs" / "kube-apiserver-audit.log").read_text()
    assert "openid-connect/token" in access
    for text in ("?", "code=", "eyJ", "user-dev"):
        assert text not in access
    assert "eyJ" not in audit
    events = [json.loads(line) for line in audit.splitlines()]
    assert {event["level"] for event in events} == {"Metadata"}
    assert not any("requestObject" in event or "responseObject" in event for event in events)
    busy = {user for rule in read("audit-policy.yaml", {}).data["rules"] for user in rule.get("users", ())}
    assert busy.isdisjoint(event["user"].get("username", "") for event in events)
    assert private(lab.settings.folder / "logs" / "kube-apiserver-audit.log")


def private(file: Path) -> bool:
    return file.stat().st_mode & 0o077 == 0
