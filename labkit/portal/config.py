"""What Backstage is told: app-config.yaml and the people of its catalog, rendered from workshop and settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..cluster.belongings import LABEL
from ..cluster.provider import Endpoint
from ..settings import Settings
from ..workshop import Workshop

CLIENT_ID = "backstage-client"
"""The client that people sign in to the portal through."""

SESSION_SECRET, CLIENT_SECRET = "PORTAL_SESSION_SECRET", "PORTAL_CLIENT_SECRET"
"""The variables with the secrets, which the configuration names and does not hold."""

READABLE: tuple[dict[str, Any], ...] = ()
"""Addresses besides GitHub's that templates may be registered from (``backend.reading.allow``)."""

PROVIDER = "keycloak"

MADE_HERE = "kratix.io/managed-by=backstage"
"""The label that our templates give to what they make."""


def app_config(settings: Settings, workshop: Workshop, endpoint: Endpoint, issuer: str, folder: Path, pages: Path | None = None) -> str:
    """``app-config.yaml``.

    Args:
        settings: For the port, and where a person's token is kept.
        workshop: For the audience that the API server asks for.
        endpoint: The API server.
        issuer: The realm's issuer.
        folder: The portal's own, with its database, ``people.yaml``, ``templates/`` and ``tasks/``.
        pages: The folder of the portal's built pages, if there are any.
    """
    url = settings.url("portal", "http")
    keycloak = {
        "metadataUrl": f"{issuer}/.well-known/openid-configuration",
        "clientId": CLIENT_ID,
        "clientSecret": f"${{{CLIENT_SECRET}}}",
        # Without it Keycloak is asked not to show its form, and answers "login_required".
        "prompt": "auto",
    }
    cluster = {
        "name": endpoint.name,
        "url": endpoint.url,
        "authProvider": "oidc",
        "oidcTokenProvider": PROVIDER,
        "caFile": str(endpoint.ca),
    }
    app: dict[str, Any] = {"title": "Portal", "baseUrl": url}
    if pages is not None:
        # A package's name or path: it is looked up by require.resolve. Pages of earlier builds need not be kept in the database.
        app |= {"packageName": str(pages), "disableStaticFallbackCache": True}
    # What labkit itself makes in a cluster that others use bears it too.
    label = {"label": f"{LABEL}={settings.home_id}"} if settings.cluster == "external" else {}
    whole = {
        "app": app,
        "backend": {
            "baseUrl": url,
            "listen": {"host": "127.0.0.1", "port": settings.ports["portal"]},
            # Safari would ask for the page's scripts by HTTPS, which is not spoken here.
            "csp": {"upgrade-insecure-requests": False},
            # What tasks work on is nobody else's to see.
            "workingDirectory": str(folder / "tasks"),
            "database": {"client": "better-sqlite3", "connection": {"directory": str(folder / "database")}},
            "reading": {"allow": list(READABLE)},
        },
        "auth": {
            "environment": "development",
            "session": {"secret": f"${{{SESSION_SECRET}}}"},
            "providers": {"guest": {"dangerouslyAllowOutsideDevelopment": True}, PROVIDER: {"development": keycloak}},
        },
        "permission": {"enabled": True},
        "catalog": {
            "rules": [{"allow": ["Template", "Location"]}],
            "locations": [
                {"type": "file", "target": str(folder / "people.yaml"), "rules": [{"allow": ["User", "Group", "Component"]}]},
                {"type": "file", "target": str(folder / "templates" / "*.yaml"), "rules": [{"allow": ["Template"]}]},
            ],
        },
        "kubernetes": {
            "serviceLocatorMethod": {"type": "multiTenant"},
            "clusterLocatorMethods": [{"type": "config", "clusters": [cluster]}],
        },
        "ske": {
            "cookies": f"labkit-{settings.home_id}-",
            "kubernetes": {"platformName": endpoint.name, **label},
            "identity": {"issuer": issuer, "audience": workshop.cluster.oidc.client_id, "userToken": settings.portal_keeps},
        },
    }
    return yaml.safe_dump(whole, sort_keys=False, width=140)


def people(workshop: Workshop) -> str:
    """``people.yaml``: the realm's groups and users as entities of the catalog, so that what they own is theirs.

    Beside them is the platform, whose page shows what the portal's templates have made that Backstage can draw.
    """
    return yaml.safe_dump_all(_people(workshop), sort_keys=False, width=140)


def _people(workshop: Workshop) -> Iterator[dict[str, Any]]:
    for group in workshop.realm.groups:
        yield _entity("Group", group, {"type": "team", "children": []})
    for user in workshop.realm.users:
        profile = {"displayName": f"{user.first_name} {user.last_name}", "email": user.email}
        yield _entity("User", user.username, {"profile": profile, "memberOf": list(user.groups)})
    owner = next((f"group:default/{binding.group}" for binding in workshop.cluster.bindings), "unknown")
    platform = _entity("Component", "platform", {"type": "kubernetes", "lifecycle": "experimental", "owner": owner})
    platform["metadata"]["description"] = "The cluster that the portal's templates make things in"
    platform["metadata"]["annotations"] = {"backstage.io/kubernetes-label-selector": MADE_HERE}
    yield platform


def _entity(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
