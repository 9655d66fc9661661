"""How an API server is configured to trust a realm: by flags, or by a file that it reads again whenever it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.display import Displayed
from ..config.hosting import PUBLIC_CA
from ..config.settings import OidcStyle
from ..workshop.files import Document
from ..workshop.rules import ALGORITHMS, signing_algorithms
from ..workshop.workshop import ClusterSpec


@dataclass(frozen=True)
class Trust(Displayed):
    """How an API server is configured to trust a realm; as text, the configuration in its style.

    Both styles give the same person for the same token of the realm as declared. The file refuses more, see `file`.

    Attributes:
        issuer: The realm's issuer, byte for byte as tokens name it.
        ca: The certificate authority behind the issuer's own certificate. An API server knows the public ones without configuration.
        declared: The files.
        groups: The realm's declared groups, by the names that tokens give them; ``authentication.yaml`` takes no others.
        style: Which of the two is in force.
    """

    issuer: str
    ca: Path
    declared: ClusterSpec
    groups: tuple[str, ...]
    style: OidcStyle = "structured"

    def __str__(self) -> str:
        return self.configuration().rstrip() if self.style == "structured" else "\n".join(self.flags())

    @property
    def flags_file(self) -> Document:
        """``oidc-flags.yaml``, filled in."""
        return self.declared.flags.filled_in({"ISSUER": self.issuer, "ISSUER_CA_FILE": "" if self.ca == PUBLIC_CA else str(self.ca)})

    def flags(self) -> tuple[str, ...]:
        """The API server's flags (kubernetes.io, *Authenticating*, OpenID Connect tokens): those that have a value."""
        flags: Mapping[str, str] = self.flags_file.data
        return tuple(f"--{name}={value}" for name, value in flags.items() if value)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What a token may be signed by, as the names of JSON Web Algorithms (RFC 7518, section 3.1)."""
        return ALGORITHMS if self.style == "structured" else signing_algorithms(self.declared.flags.data)

    @property
    def file(self) -> Document:
        """``authentication.yaml``, filled in.

        It says what the flags say, and besides: of a token's groups only declared ones count, nobody gets a name that Kubernetes keeps for
        itself, nobody is nameless, an email that serves as the name is verified, and who shows no token sees the server's health and
        nothing else.
        """
        authority = "" if self.ca == PUBLIC_CA else self.ca.read_text()
        values = {"ISSUER": self.issuer, "ISSUER_CA": authority, "GROUPS": json.dumps(self.groups)}
        return self.declared.authentication.filled_in(values)

    def configuration(self) -> str:
        """The text of `file`, for ``--authentication-config``."""
        return self.file.text

    @property
    def groups_expression(self) -> str:
        """What the file has the API server make of a token's groups (CEL): those of the declared ones that it names, so never another."""
        mapping = self.declared.authentication.data["jwt"][0]["claimMappings"]["groups"]
        return str(mapping["expression"]).replace("${GROUPS}", json.dumps(self.groups))
