"""How an API server is told to trust a realm: by flags, or by a file that it reads again whenever it changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..display import Displayed
from ..hosting import PUBLIC_CA
from ..settings import OidcStyle
from ..workshop import Oidc

HEALTH_PATHS = ("/livez", "/readyz", "/healthz")
"""What an API server with an AuthenticationConfiguration tells a caller who shows nothing."""

_VERIFIED = "claims.?email_verified.orValue(false) == true"


@dataclass(frozen=True)
class Trust(Displayed):
    """How an API server is told to trust a realm; as text, what it is told in its style.

    Both styles give the same person for the same token of the realm as declared. The file refuses more, see `configuration`.

    Attributes:
        issuer: The realm's issuer, byte for byte as tokens name it.
        ca: The certificate authority behind the issuer's own certificate. The public ones an API server knows without being told.
        declared: Client, user name claim and groups claim, as the workshop declares them.
        groups: The realm's declared groups, by the names that tokens give them; the file takes no others.
        style: Which of the two is in force.
    """

    issuer: str
    ca: Path
    declared: Oidc
    groups: tuple[str, ...]
    style: OidcStyle = "structured"

    def __str__(self) -> str:
        return self.configuration().rstrip() if self.style == "structured" else "\n".join(self.flags())

    def flags(self) -> tuple[str, ...]:
        """The API server's flags (kubernetes.io, *Authenticating*, OpenID Connect tokens)."""
        # Any claim but this one would otherwise get the issuer's address in front of it.
        no_prefix = () if self.declared.username_claim == "email" else ("--oidc-username-prefix=-",)
        return (
            f"--oidc-issuer-url={self.issuer}",
            f"--oidc-client-id={self.declared.client_id}",
            f"--oidc-username-claim={self.declared.username_claim}",
            *no_prefix,
            f"--oidc-groups-claim={self.declared.groups_claim}",
            *(() if self.ca == PUBLIC_CA else (f"--oidc-ca-file={self.ca}",)),
        )

    def configuration(self) -> str:
        """The text of an AuthenticationConfiguration (kubernetes.io, *kube-apiserver Configuration (v1)*), for ``--authentication-config``.

        It says what the flags say, and besides: of a token's groups only declared ones count, nobody gets a name that Kubernetes keeps for
        itself, nobody is nameless, an email that serves as the name is verified, and who shows no token is told of the server's health and
        of nothing else.
        """
        jwt = {
            "issuer": {
                "url": self.issuer,
                "audiences": [self.declared.client_id],
                **({} if self.ca == PUBLIC_CA else {"certificateAuthority": self.ca.read_text()}),
            },
            "claimMappings": {
                "username": {"claim": self.declared.username_claim, "prefix": ""},
                "groups": {"expression": self.groups_expression},
            },
            "claimValidationRules": [
                # Without it Kubernetes refuses an email that the token calls unverified, and takes one of which the token says nothing.
                *([_rule(_VERIFIED, "the email is not verified")] if self.declared.username_claim == "email" else []),
                # The type of a claim is not known before there is one, and only what may be a list can be gone through.
                _rule(f'dyn({self._named}).all(group, !group.contains(":"))', "a group with a colon is Kubernetes' own, or another tool's"),
            ],
            "userValidationRules": [
                _rule('user.username != ""', "the user name is empty"),
                _rule('!user.username.startsWith("system:")', "a user name that begins with system: is Kubernetes' own"),
            ],
        }
        whole = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [jwt],
            "anonymous": {"enabled": True, "conditions": [{"path": path} for path in HEALTH_PATHS]},
        }
        return yaml.dump(whole, Dumper=Dumper, sort_keys=False, width=140)

    @property
    def groups_expression(self) -> str:
        """What the file has the API server make of a token's groups (CEL): those of the declared ones that it names, so never another."""
        return f"{json.dumps(self.groups)}.filter(group, group in {self._named})"

    @property
    def _named(self) -> str:
        """The groups that a token names; a token without the claim names none."""
        return f"claims[?{json.dumps(self.declared.groups_claim)}].orValue([])"


def _rule(expression: str, message: str) -> dict[str, str]:
    return {"expression": expression, "message": message}


class Dumper(yaml.SafeDumper):
    """Writes a certificate line by line, as one would by hand."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)
