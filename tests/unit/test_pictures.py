"""Pictures and their text twins."""

from __future__ import annotations

import html
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from labkit.cluster.access import AccessMatrix, Answer
from labkit.cluster.api import Identity
from labkit.cluster.local import exchanges as audit_exchanges
from labkit.cluster.trust import Trust
from labkit.common.drawing import Drawn, svg, words
from labkit.common.exchanges import Exchange
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.course.pictures.chain import trust_chain
from labkit.course.pictures.timeline import Timeline, within
from labkit.course.pictures.token import token_parts
from labkit.identity.local import exchanges
from labkit.identity.session import Claims
from labkit.lab import Lab
from labkit.portal.token_way import TokenWay
from labkit.workshop.workshop import Binding, Workshop

ISSUER = "https://localhost:8443/realms/r"
TRUST = Trust(ISSUER, Path("ca.crt"), Workshop.load().cluster, ("kube-dev",))
BINDINGS = (Binding(name="b", group="kube-dev", role="cr-reader"),)
GOOD = {"iss": ISSUER, "aud": ["kube"], "exp": time.time() + 86_400, "email": "a@b.example", "email_verified": True, "groups": ["kube-dev"]}
START = 1_800_000_000.0


def exchange(caller: str, server: str, began: float, seconds: float, what: str = "GET /") -> Exchange:
    return Exchange(caller, server, what, "200", START + began, seconds, f"{server}'s log")


@pytest.fixture
def pictures() -> list[Drawn]:
    answers = (Answer("dev", "secrets", "get", True, False), Answer("dev", "secrets", "create", False, False))
    return [
        TokenWay("memory", "portal"),
        AccessMatrix({"dev": Identity("dev@b.example", ("kube-dev",))}, answers),
    ]


def test_a_picture_has_a_title_a_description_and_its_text_below(pictures: list[Drawn]) -> None:
    for picture in pictures:
        root = ET.fromstring(picture.picture())  # noqa: S314 # of our own making
        assert root.get("role") == "img"
        title, description = list(root)[:2]
        assert title.text
        assert description.text
        assert ">as text</summary><pre>" in picture.html()
        ET.fromstring(f"<div>{picture.html()}</div>")  # noqa: S314


def test_a_picture_is_drawn_in_the_pages_own_colour_with_marks_beside_the_others(pictures: list[Drawn]) -> None:
    for picture in pictures:
        drawn = picture.picture()
        assert 'fill="currentColor"' in drawn
        assert 'fill="#000' not in drawn
        assert " id=" not in drawn, "two of a kind on a page would have the same ids"


def test_a_picture_is_wide_enough_for_its_legend_and_for_who_is_in_it(pictures: list[Drawn]) -> None:
    """One person and two verbs take less; how wide the letters are here was measured in a browser."""
    for picture in pictures:
        root = ET.fromstring(picture.picture())  # noqa: S314 # of our own making
        for text in root.iter("{*}text"):
            if text.get("text-anchor") == "start":
                assert float(text.get("x") or 0) + 7 * len(text.text or "") <= float(root.get("width") or 0), text.text


def test_text_in_a_picture_is_escaped() -> None:
    assert "&lt;b&gt;" in svg("t", "d", 1, 1, words(0, 0, "<b>"))


@pytest.mark.parametrize(
    ("claim", "value", "style"),
    [
        ("iss", f"{ISSUER}/", "flags"),
        ("aud", "account", "flags"),
        ("aud", None, "structured"),
        ("exp", 1, "flags"),
        ("email", None, "flags"),
        ("email_verified", False, "flags"),
        ("email_verified", None, "structured"),
        ("groups", ["kube-dev", "kubeadm:cluster-admins"], "structured"),
    ],
)
def test_a_token_taken_apart_names_the_claim_for_which_it_is_refused(claim: str, value: Any, style: Any) -> None:
    parts = token_parts(replace(TRUST, style=style), BINDINGS, Claims("t", {**GOOD, claim: value}))
    assert [part.claim for part in parts.parts if not part.ok] == [claim]
    assert parts.verdict() == f"✘ 401, because of {claim}"
    assert parts.verdict() in str(parts)
    assert parts.verdict() in parts.html()


@pytest.mark.parametrize(("style", "rule"), [("flags", "--oidc-client-id=kube"), ("structured", "issuer.audiences: [kube]")])
def test_a_token_taken_apart_shows_each_claim_beside_the_rule_in_the_style_in_force(style: Any, rule: str) -> None:
    parts = token_parts(replace(TRUST, style=style), BINDINGS, Claims("t", {**GOOD, "jti": "1"}))
    assert parts.passes
    assert {part.claim: part.rule for part in parts.parts}["aud"] == rule
    assert parts.unread == ("jti",)
    assert "kube-dev is bound to cr-reader" in str(parts)
    assert "&lt;dev&gt;" in replace(parts, title="ID token of <dev>").html()


def test_an_email_that_nobody_says_is_verified_passes_with_flags_and_not_with_the_file() -> None:
    claims = Claims("t", {name: value for name, value in GOOD.items() if name != "email_verified"})
    assert [token_parts(replace(TRUST, style=style), BINDINGS, claims).passes for style in ("flags", "structured")] == [True, False]


@pytest.mark.parametrize(("style", "bound"), [("flags", True), ("structured", False)])
def test_of_groups_that_are_not_declared_the_file_takes_none(style: Any, bound: bool) -> None:
    parts = token_parts(replace(TRUST, style=style, groups=("kube-admin",)), BINDINGS, Claims("t", GOOD))
    assert parts.passes
    assert ("kube-dev is bound to cr-reader" in str(parts)) is bound


def test_groups_that_no_role_is_bound_to_are_said_to_be_refused_everything() -> None:
    parts = token_parts(TRUST, BINDINGS, Claims("t", {**GOOD, "groups": ["/kube-dev"]}))
    assert parts.passes
    assert "all is refused (403)" in str(parts)


def test_differences_of_the_matrix_are_marked_by_a_sign_and_counted_beside_their_frame(pictures: list[Drawn]) -> None:
    drawn = pictures[-1].picture()
    assert "✔ !" in drawn
    assert "1 of 2 answers as expected" in drawn
    assert "dev may get secrets, expected no" in drawn


def test_a_timeline_has_what_happened_while_the_portal_had_something_to_answer_and_nothing_else() -> None:
    own = (exchange("browser", "portal", 1, 1), exchange("browser", "Keycloak", 3, 1))
    inside, before, alone = (exchange("portal", "Keycloak", began, 0.2) for began in (1.5, 0.5, 3.2))
    by_kubectl = exchange("kubectl", "API server", 1.5, 0.2)
    assert within(own, [inside, before, alone, by_kubectl]) == [inside]


def test_a_timeline_tells_when_each_began_with_a_bar_and_whose_times_are_missing() -> None:
    rows = (exchange("browser", "portal", 0, 0.48), exchange("portal", "Keycloak", 0.1, 0.2, "POST /<token>"))
    told = Timeline("dev", rows, "refused: <why>", ("the API server",))
    assert [row[2] for row in told.table().rows] == ["▰" * 24, "▱" * 5 + "▰" * 10 + "▱" * 9]
    assert "POST /&lt;token&gt;" in told.html()
    assert "refused: &lt;why&gt;" in told.html()
    text = str(told)
    assert "100    200      " in text
    assert "portal → Keycloak" in text
    assert "Not to be had here: the times of the API server" in text
    assert "Keycloak's log" in text


def test_keycloaks_access_log_tells_who_asked_by_what_their_programs_call_themselves(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    lines = (
        "2026-11-24T12:29:42.248+0000 146 POST /realms/r/protocol/openid-connect/token 200 openid-client/5.7.1 (https://…)",
        "2026-11-24T12:29:43.247+0000 9 GET /realms/r/protocol/openid-connect/certs 200 Go-http-client/2.0",
        "2026-11-24T12:29:44.000+0000 9 GET /realms/r/protocol/openid-connect/auth 200 python-requests/2.34.2",
        "2026-11-24T12:29:44.000+0000 - GET /realms/r 200 openid-client/5.7.1",
        "2026-11-24T12:29:4",
    )
    (tmp_path / "log" / "keycloak-http-access.log").write_text("\n".join(lines))
    portal, api_server = exchanges(tmp_path)
    assert (portal.caller, portal.what, portal.answer) == ("portal", "POST /realms/r/protocol/openid-connect/token", "200")
    assert (round(portal.ended - portal.began, 3), round(portal.ended % 60, 3)) == (0.146, 42.248)
    assert api_server.caller == "API server"


def test_without_logs_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert exchanges(tmp_path) == []
    assert audit_exchanges(tmp_path / "logs" / "kube-apiserver-audit.log") == []


def test_the_audit_log_tells_who_asked_and_which_binding_allowed_it(tmp_path: Path) -> None:
    event = {
        "stage": "ResponseComplete",
        "verb": "create",
        "requestURI": "/api/v1/namespaces/default/configmaps?fieldManager=x",
        "user": {"username": "a@b.example"},
        "responseStatus": {"code": 201},
        "requestReceivedTimestamp": "2026-11-24T12:36:09.925868Z",
        "stageTimestamp": "2026-11-24T12:36:09.927868Z",
        "annotations": {"authorization.k8s.io/reason": 'RBAC: allowed by ClusterRoleBinding "kube-admin"'},
    }
    (tmp_path / "logs").mkdir()
    lines = (json.dumps({**event, "stage": "ResponseStarted"}), json.dumps(event), '{"stage": "Resp')
    (tmp_path / "logs" / "kube-apiserver-audit.log").write_text("\n".join(lines))
    (seen,) = audit_exchanges(tmp_path / "logs" / "kube-apiserver-audit.log")
    assert (seen.what, seen.answer) == (
        "create /api/v1/namespaces/default/configmaps",
        '201 for a@b.example, allowed by ClusterRoleBinding "kube-admin"',
    )
    assert (seen.caller, round(seen.seconds, 4)) == ("portal", 0.002)


def test_the_chain_of_a_lab_in_which_nothing_runs_shows_every_link_as_broken_and_why_but_a_portal_that_is_to_come(tmp_path: Path) -> None:
    open_state_folder(tmp_path / "home", environ={}, free_ports=True)
    settings = Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"})
    chain = trust_chain(Lab(settings), "user-dev")
    assert [link.ok for link in chain.links] == [False, False, False, False, None]
    assert [link.name for link in chain.links] == ["user-dev", "Keycloak", "API server", "RBAC", "Portal"]
    assert all(link.state for link in chain.links)
    assert str(chain).count("✘") == 4
    assert "· Portal: to come: lab 06" in str(chain)
    shown = chain.html()
    ET.fromstring(shown)  # noqa: S314 # of our own making
    assert "not in order: user-dev, Keycloak, API server, RBAC'" in shown
    assert all(f"</b><div>{html.escape(link.state)}</div>" in shown for link in chain.links)
