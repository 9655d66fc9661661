"""The realm by Terraform: the same ``realm.yaml``, read by the static ``keycloak.tf`` of the platform folder."""

from __future__ import annotations

import re
from pathlib import Path

from ..common.display import Displayed, Table
from ..config.hosting import PUBLIC_CA
from ..workshop.workshop import RealmSpec
from .keycloak import Keycloak

CA = "issuer-ca.crt"
"""The file beside ``keycloak.tf`` with the authority of Keycloak's certificate."""

_WAYS = {
    "groups": ("name", "groups", "keycloak_group.groups"),
    "users": ("username", "users", "keycloak_user.users"),
    "clientScopes": ("name", "client-scopes", "keycloak_openid_client_scope.scopes"),
    "clients": ("clientId", "clients", "keycloak_openid_client.clients"),
}
_PARTS = {
    "groups": ("PUT users/…/groups/…", "keycloak_user_groups.users"),
    "defaultClientScopes": ("PUT clients/…/default-client-scopes/…", "keycloak_openid_client_default_scopes.clients"),
}


class Terraform(Displayed):
    """``keycloak.tf``; as text, the file. It holds no secret: Terraform reads them from the ``realm.yaml`` beside it.

    The realm itself has to be there.
    """

    def __init__(self, file: Path, realm: RealmSpec, keycloak: Keycloak) -> None:
        self._file, self._realm, self._keycloak = file, realm, keycloak

    def __str__(self) -> str:
        return self._file.read_text(encoding="utf-8").rstrip()

    def values(self) -> str:
        """A file of values for the variables, but for the administrator's secret."""
        who = self._keycloak.administrator
        values = {"keycloak_url": self._keycloak.url, "admin_realm": who.realm, "admin_client": who.client, "admin_user": who.user}
        if self._keycloak.ca != PUBLIC_CA:
            values["ca_file"] = CA
        return "\n".join(f"{name} = {quoted(value)}" for name, value in values.items() if value)

    def two_ways(self) -> Table:
        """Both ways to the same realm, a row for each of its objects."""
        rows = []
        for kind, (key, path, resource) in _WAYS.items():
            for item in self._realm.representation.get(kind, []):
                name = f"/{item[key]}" if kind == "groups" else item[key]
                rows.append((kind, item[key], f"POST {path}", f"{resource}[{quoted(name)}]"))
                for part, (asked, of) in _PARTS.items():
                    if part in item:
                        rows.append((f"{kind}: {part}", item[key], asked, f"{of}[{quoted(name)}]"))
                for mapper in item.get("protocolMappers", []):
                    own = quoted(f"{name}/{mapper['name']}")
                    address = f"keycloak_generic_protocol_mapper.{resource.rpartition('.')[2]}[{own}]"
                    rows.append((f"{kind}: protocolMappers", mapper["name"], f"POST {path}/…/protocol-mappers/models", address))
        note = "What the admin API is asked stands below its address /admin/realms/" + self._realm.name
        return Table(("what", "name", "by the admin API", "in keycloak.tf"), tuple(rows), note=note)


def quoted(text: str) -> str:
    """Text in quotes that Terraform reads as that text and no more (HCL Native Syntax Specification, *Quoted Template Expression*)."""
    plain = re.sub(r"[^A-Za-z0-9 ._:/@-]", lambda sign: f"\\U{ord(sign[0]):08x}", text)
    return f'"{plain}"'
