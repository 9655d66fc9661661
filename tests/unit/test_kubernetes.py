"""What deploy/ says, as far as it is to be judged without the chart; tests/cluster has the chart itself judge it, and runs it."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.common.platform_folder import find
from labkit.room.view import ROLE

DEPLOY = Path(__file__).parents[2] / "deploy"
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "z2jh.yaml").read_text())
KEYCLOAK: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "keycloak.yaml").read_text()))
DEPLOYMENT = next(each for each in KEYCLOAK if each["kind"] == "Deployment")["spec"]["template"]["spec"]


def inside(found: object, *path: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Everything below, with the keys that lead there."""
    yield path, found
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from inside(value, *path, str(key))
    elif isinstance(found, list):
        for value in found:
            yield from inside(value, *path)


def test_people_sign_in_as_in_a_room_on_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = find("room/jupyterhub_config.py")
    facts = dict.fromkeys(re.findall(r"room\[.(\w+)", config.read_text()), "https://room.example")
    told = {"ca": str(tmp_path / "tls" / "ca.crt"), "idle_seconds": 3600}
    (tmp_path / "hub.json").write_text(json.dumps({**facts, **told}))
    monkeypatch.chdir(tmp_path)
    here = runpy.run_path(str(config))["c"]["GenericOAuthenticator"]
    there = dict(VALUES["hub"]["config"]["GenericOAuthenticator"])
    assert there.pop("http_request_kwargs")["validate_cert"] is True
    # Addresses and secrets differ from room to room: the chart's Hub has them as variables.
    ours = {name: value for name, value in here.items() if not re.search("_url$|^client_|^http_request", name)}
    assert {name: sorted(value) if isinstance(value, set) else value for name, value in ours.items()} == there


def test_no_secret_is_in_the_files_and_all_that_are_named_are_two() -> None:
    everything = [*inside(VALUES), *inside(KEYCLOAK)]
    by_key = {value for path, value in everything if path[-2:] == ("secretKeyRef", "name")}
    assert by_key | {value for path, value in everything if path[-1:] == ("secretName",)} == {"labkit", "labkit-tls"}
    given = [path[-1] for path, value in everything if path and isinstance(value, str) and re.search("(?i)secret|token|password", path[-1])]
    assert set(given) <= {"secretName", "LABKIT_KEYCLOAK_ADMIN_SECRET_FILE", "OAUTH2_TOKEN_URL"}


def test_a_variable_of_the_hub_is_made_of_those_before_it() -> None:
    """The chart sorts them, and Kubernetes looks back alone."""
    variables = VALUES["hub"]["extraEnv"]
    for name, value in variables.items():
        for used in re.findall(r"\$\((\w+)\)", str(value)):
            assert used in variables
            assert used < name


def test_the_view_may_ask_the_hub_what_it_needs() -> None:
    assert set(ROLE["scopes"]) <= set(VALUES["hub"]["loadRoles"]["view"]["scopes"])


def test_there_is_one_image() -> None:
    images = {f"{value['name']}:{value['tag']}" for path, value in inside(VALUES) if path[-1:] == ("image",) and isinstance(value, dict)}
    assert images == {each["image"] for each in (*DEPLOYMENT["containers"], *VALUES["hub"]["initContainers"])}


@pytest.mark.parametrize("component", [("singleuser",), ("proxy", "chp")])
def test_who_may_reach_what_is_listed(component: tuple[str, ...]) -> None:
    policy: Any = VALUES
    for part in (*component, "networkPolicy"):
        policy = policy[part]
    assert not any(policy["egressAllowRules"].values())
    # Pods with a label, on a port: no address, and no namespace.
    assert all({"podSelector"} == set(place) and rule["ports"] for rule in policy["egress"] for place in rule["to"])
    assert VALUES["singleuser"]["cloudMetadata"] == {"blockWithIptables": False}
