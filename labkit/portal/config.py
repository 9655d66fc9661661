"""What Backstage is given: the platform folder's files, the variables that they name, and the realm's people as entities."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from ..cluster.kubectl import LABEL
from ..cluster.provider import Endpoint
from ..common.errors import PortalError
from ..common.kubernetes_yaml import dump
from ..common.platform_folder import OWN
from ..config.settings import Settings
from ..workshop.fields import faults
from ..workshop.files import Document, Place, read_as_it_is, refusal
from ..workshop.rules import group_paths
from ..workshop.workshop import Workshop

APP_CONFIG, CATALOG = OWN / "app-config.yaml", OWN / "catalog-info.yaml"

SESSION_SECRET, CLIENT_SECRET = "PORTAL_SESSION_SECRET", "PORTAL_CLIENT_SECRET"
"""The variables with the secrets, which `variables` leaves out."""

PROVIDER = "keycloak"


def variables(settings: Settings, endpoint: Endpoint, issuer: str, folder: Path, pages: Path | None = None) -> dict[str, str]:
    """The variables that ``app-config.yaml`` names, but for the secrets; ``pages`` is the folder of the built pages, if there are any.

    Raises:
        PortalError: The portal can't reach the cluster as its kubeconfig says.
    """
    if unknown := endpoint.more.keys() & {"proxy-url", "tls-server-name"}:
        raise PortalError("portal-cluster-entry", url=endpoint.url, fields=" and ".join(sorted(unknown)))
    known = {
        "PORTAL_URL": settings.portal_page,
        "PORTAL_PORT": str(settings.ports["portal"]),
        "PORTAL_FOLDER": str(folder),
        "PORTAL_COOKIES": f"labkit-{settings.folder_id}-",
        "PORTAL_USER_TOKEN": settings.portal_keeps,
        "KEYCLOAK_ISSUER": issuer,
        "CLUSTER_NAME": endpoint.name,
        "CLUSTER_URL": endpoint.url,
        "CLUSTER_CA_FILE": str(endpoint.ca),
    }
    if settings.portal_socket:
        # From the folder of its app, as the path of a socket may have 100 characters.
        known["PORTAL_SOCKET"] = os.path.relpath(settings.portal_socket, folder / "app")
    if pages is not None:
        # A package's name or path: Backstage looks it up by require.resolve.
        known["PORTAL_PAGES"] = str(pages)
    if settings.cluster == "external":
        # What labkit itself makes in a cluster that others use bears it too.
        known["PORTAL_OWNER_LABEL"] = f"{LABEL}={settings.folder_id}"
    return known


def env_file(known: Mapping[str, str]) -> str:
    """Variables as lines that a shell reads."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in known.items())


def publishers(workshop: Workshop) -> list[str]:
    """The groups that may publish templates: those that may do everything in the cluster anyway."""
    return [binding.group for binding in workshop.cluster.bindings if binding.everything]


def require_agreement(file: Path, workshop: Workshop, entities: Iterable[Path] = ()) -> None:
    """Insist that ``app-config.yaml`` names what realm and cluster declare, as Backstage compares text with text, and stays on loopback.

    Args:
        file: The file.
        workshop: What realm and cluster declare.
        entities: Files for the catalog, whose names it has to take.

    Raises:
        WorkshopError: It does not; ``why`` has a line per problem, with its place in the file.
    """
    problems = list(_disagreements(read_as_it_is(file), workshop))
    for document in map(read_as_it_is, entities):
        found = (((i, *place), what) for i, data in enumerate(document.documents) for place, what in faults("entity", data))
        problems += [document.problem(place, what) for place, what in found]
    if problems:
        raise refusal(problems)


def _disagreements(document: Document, workshop: Workshop) -> Iterator[str]:
    groups, oidc = workshop.realm.groups, workshop.cluster.oidc
    to_publish = [f"group:default/{group}" for group in publishers(workshop)]
    client = workshop.portal_client.client_id
    # By place: the names that it may hold, what they are, and whether it must hold each.
    expected: dict[Place, tuple[Sequence[str], str, bool]] = {
        ("auth", "providers", PROVIDER, "development", "clientId"): ([client], "the portal's client", True),
        ("backend", "listen", "host"): (["127.0.0.1"], "this machine's own address, which the lab's servers keep to", True),
        ("ske", "publishers"): (to_publish, "a group that is bound to cluster-admin", False),
        ("ske", "identity", "audience"): ([oidc.client_id], "the audience that the API server asks for", True),
        ("ske", "identity", "groupsClaim"): (
            [oidc.groups_claim],
            "the claim of groups that the API server reads",
            oidc.groups_claim != "groups",
        ),
        ("ske", "identity", "groups"): (groups, "a group of the realm", True),
    }
    for place, (allowed, what, each) in expected.items():
        found = reduce(lambda data, key: data.get(key) if isinstance(data, dict) else None, place, document.data)
        held = {(0, *place, i): name for i, name in enumerate(found)} if isinstance(found, list) else {(0, *place): found}
        for at, name in held.items():
            if name is not None and name not in allowed:
                yield document.problem(at, f'"{name}" is not {what} ({", ".join(allowed) or "there is none"})')
        yield from (document.problem((0, *place), f'lacks "{name}", {what}') for name in allowed if each and name not in held.values())


def people(workshop: Workshop) -> str:
    """``people.yaml``: the realm's groups and users as entities of the catalog, so that what they own is theirs."""
    entities = []
    for path in group_paths(workshop.realm.representation):
        *above, group = path.split("/")[1:]
        parent = {"parent": above[-1]} if above else {}
        entities.append(_entity("Group", group, {"type": "team", "children": [], **parent}))
    for user in workshop.realm.users:
        profile = {"displayName": f"{user.first_name} {user.last_name}", "email": user.email}
        entities.append(_entity("User", user.username, {"profile": profile, "memberOf": list(user.groups)}))
    return "---\n".join(map(dump, entities))


def _entity(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
