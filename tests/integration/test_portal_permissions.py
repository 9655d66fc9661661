"""Every permission and every route that the portal's packages have, tried by four kinds of people: docs/portal-permissions.md holds."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml

from labkit.config.settings import find_root
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from labkit.portal.client import PortalSession
from labkit.portal.server import SOURCES

RANKS = ("anybody", "guests", "signed-in", "publishers", "nobody", "bearers")
TEMPLATE = {
    "apiVersion": "scaffolder.backstage.io/v1beta3",
    "kind": "Template",
    "metadata": {"name": "walked"},
    "spec": {"owner": "group:default/kube-admin", "type": "service", "steps": [{"action": "debug:wait", "input": {"seconds": 0}}]},
}
ADDRESS = {"type": "url", "target": "https://nowhere.invalid/t.yaml"}
BODIES: dict[str, Any] = {
    "POST /api/catalog/analyze-location": {"location": ADDRESS},
    "POST /api/catalog/entities/by-refs": {"entityRefs": ["template:default/walked"]},
    "POST /api/catalog/entity-facets": {"facets": ["kind"]},
    "POST /api/catalog/locations": ADDRESS,
    "PUT /api/catalog/locations/:id": ADDRESS,
    "POST /api/catalog/refresh": {"entityRef": "template:default/walked"},
    "POST /api/catalog/validate-entity": {"entity": TEMPLATE, "location": "url:https://localhost/t.yaml"},
    "POST /api/kubernetes/services/:serviceId": {"entity": TEMPLATE},
    "POST /api/scaffolder/v2/autocomplete/:provider/:resource": {"token": "none"},
    "POST /api/scaffolder/v2/dry-run": {"template": TEMPLATE, "values": {}, "directoryContents": []},
    "POST /api/scaffolder/v2/tasks": {"templateRef": "template:default/walked", "values": {}},
}
QUERIES = {"POST /api/catalog/locations": {"dryRun": "true"}, "GET /api/catalog/entity-facets": {"facet": "kind"}}
QUERIES |= {f"{method} /api/auth/keycloak/refresh": {"env": "development"} for method in ("GET", "POST")}
NOT_HERE = "GET /api/catalog/locations/by-entity/:kind/:namespace/:name"
"""It knows what came by an address, and here came nothing."""


@dataclass(frozen=True)
class Decisions:
    """The page's two tables: who may use a permission, and whose a route is."""

    permissions: dict[str, str]
    routes: dict[str, str]

    @classmethod
    def read(cls, page: str) -> Decisions:
        permissions: dict[str, str] = {}
        routes: dict[str, str] = {}
        for line in page.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            who = next((cell for cell in cells if cell in RANKS), None)
            if line.startswith("|") and who:
                permissions |= {cells[0].strip("`"): who} if cells[0] != who else {}
                routes |= dict.fromkeys(re.findall(r"`([A-Z]+ /[^`]*)`", line), who)
        return cls(permissions, routes)

    def route(self, route: str) -> str:
        """Whose a route is, by its own name, or by the one that it has with all plugins."""
        return self.routes.get(route) or self.routes.get(of_any_plugin(route), "")


def of_any_plugin(route: str) -> str:
    return re.sub(r" /api/[^/]+/\.", " /api/{plugin}/.", route)


@pytest.fixture(scope="module")
def decisions() -> Decisions:
    return Decisions.read((find_root() / "docs" / "portal-permissions.md").read_text())


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What a portal like the lab's has when it is ready; it listens elsewhere, and keeps its database elsewhere."""
    folder = tmp_path_factory.mktemp("inventory")
    ports = open_state_folder(folder / "home", environ={}, free_ports=True).ports
    elsewhere = {"listen": {"host": "127.0.0.1", "port": ports["portal"]}, "database": {"connection": {"directory": str(folder)}}}
    (folder / "elsewhere.yaml").write_text(yaml.safe_dump({"backend": elsewhere}))
    server = lab.portal._server()
    node, *rest = server.argv
    script = SOURCES / "packages" / "backend" / "test" / "inventory.js"
    command = [node, "--require", str(script), *rest, "--config", str(folder / "elsewhere.yaml")]
    done = subprocess.run(command, cwd=server.cwd, env=dict(server.env), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Walker:
    """Somebody who tries every door, and how much they may: an index of RANKS."""

    url: str
    rank: int
    session: PortalSession | None = None

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {}
        if self.session:
            signed_in = self.session._signed_in
            proxied = {"Cluster": self.session._cluster.endpoint.name, "Authorization-oidc-keycloak": signed_in.id_token}
            headers = {"Authorization": f"Bearer {signed_in.backstage_token}"}
            headers |= {f"Backstage-Kubernetes-{name}": value for name, value in proxied.items() if signed_in.id_token}
        # The auth that does nothing keeps a person's .netrc from replacing the token.
        return requests.request(method, self.url + path, headers=headers, auth=lambda it: it, timeout=30, allow_redirects=False, **more)


@pytest.fixture(scope="module")
def walkers(lab: Lab) -> tuple[Walker, ...]:
    sessions = (None, lab.portal.guest(), lab.portal.sign_in("user-dev"), lab.portal.sign_in("user-admin"))
    return tuple(Walker(lab.portal.url, rank, session) for rank, session in enumerate(sessions))


@pytest.fixture(scope="module")
def things(walkers: tuple[Walker, ...], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What routes name in their paths, all of it the administrator's: a template, its task, a location."""
    dev, admin = (walker.session for walker in walkers[2:])
    assert admin
    assert dev
    file = tmp_path_factory.mktemp("templates") / "walked.yaml"
    file.write_text(json.dumps(TEMPLATE))
    template = admin.register_template(file)
    dev.run_template(template, {}, say=lambda _: None)
    task = admin.run_template(template, {}, say=lambda _: None).task
    location = admin.ask("POST", "catalog/locations", json={**ADDRESS, "target": "https://elsewhere.invalid/t.yaml"})["location"]
    uid = admin.ask("GET", "catalog/entities/by-name/template/default/walked")["metadata"]["uid"]
    named = {"kind": "template", "namespace": "default", "name": "walked"}
    return {"taskId": task, "id": location["id"], "uid": uid, **named}


def refused(answer: requests.Response) -> bool:
    """Whether it is a no; some routes rather show nothing."""
    if answer.status_code in (401, 403, 404):
        return True
    if "json" not in answer.headers.get("content-type", ""):
        return False
    body = answer.json()
    return body == [] or (isinstance(body, dict) and [] in (body.get("items"), body.get("actions")))


@pytest.mark.fault("Neighbours", "a permission or a route of the portal's that nobody has decided on", "`make test` names it")
def test_the_page_decides_on_every_permission_and_route_and_on_no_other(inventory: dict[str, list[Any]], decisions: Decisions) -> None:
    """What the packages have is what the page names."""
    assert sorted(permission["name"] for permission in inventory["permissions"]) == sorted(decisions.permissions)
    assert [route for route in inventory["routes"] if not decisions.route(route)] == []
    there = {name for route in inventory["routes"] for name in (route, of_any_plugin(route))}
    assert [route for route in decisions.routes if route not in there] == []


@pytest.mark.fault("Neighbours", "somebody uses a permission of the portal's that is not theirs", "it is denied, whatever it is")
def test_every_permission_is_for_whom_the_page_says(
    inventory: dict[str, list[Any]], decisions: Decisions, walkers: tuple[Walker, ...], things: Mapping[str, str]
) -> None:
    """The portal itself answers, about things of the administrator's."""
    of = {
        "catalog-entity": "template:default/walked",
        "scaffolder-task": things["taskId"],
        "scaffolder-template": "x",
        "scaffolder-action": "x",
    }
    wrong = []
    for permission in inventory["permissions"]:
        name, kind = permission["name"], permission.get("resourceType", "")
        for walker in walkers[1:]:
            item = {"id": "1", "permission": permission} | ({"resourceRef": of.get(kind, "any")} if kind else {})
            answer = walker.ask("POST", "/api/permission/authorize", json={"items": [item]})
            # Which actions may run is asked of the scaffolder alone, which knows the task: the permission's one condition.
            allowed = name == "scaffolder.action.execute" if not answer.ok else answer.json()["items"][0]["result"] == "ALLOW"
            theirs = walker.rank >= (3 if kind == "scaffolder-task" else RANKS.index(decisions.permissions[name]))
            if allowed != theirs:
                wrong.append((name, RANKS[walker.rank], answer.text))
    assert wrong == []


@pytest.mark.fault("Neighbours", "somebody asks a route of the portal's that is not theirs", "it is refused, whatever it is")
def test_every_route_answers_whom_the_page_says(
    inventory: dict[str, list[Any]], decisions: Decisions, walkers: tuple[Walker, ...], things: Mapping[str, str]
) -> None:
    """Asked with what it takes, and about things of the administrator's."""
    wrong = []
    # What is deleted is there no longer for the others.
    for route in sorted(inventory["routes"], key=lambda route: (route.startswith("DELETE"), route)):
        method, _, path = route.replace("ANY", "GET").partition(" ")
        path = re.sub(r":(\w+)", lambda found: things.get(found[1], "none"), path).replace("*", "index.html")
        path += "/version" if path.endswith("/proxy") else ""
        body = BODIES.get(route, {} if method in ("POST", "PUT") else None)
        for walker in walkers:
            theirs = walker.rank >= (3 if ":taskId" in route else RANKS.index(decisions.route(route)))
            with walker.ask(method, path, json=body, params=QUERIES.get(route), stream=True) as answer:
                # Nobody here brings a code or a cookie, and how sign-in then says no is its own matter.
                no = "eyJ" not in answer.text if decisions.route(route) == "bearers" else refused(answer)
                if no == theirs and route != NOT_HERE:
                    wrong.append((route, RANKS[walker.rank], answer.status_code))
    assert wrong == []
