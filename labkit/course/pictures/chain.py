"""The chain from a person to the cluster, and which of its links hold at the moment."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

import requests

from ...cluster.api import Identity
from ...common.display import BAD, OK, Displayed, shown
from ...common.errors import LabkitError
from ...lab import Lab
from ...workshop.workshop import User

_SIGNS = {True: OK, False: BAD, None: "·"}
_BOX = "display:flex;flex-wrap:wrap;gap:0 2em;border:1px solid;border-radius:4px;padding:.6em 1em"
_FACTS = "flex:1;display:grid;align-content:start;grid-template-columns:max-content 1fr;gap:0 1em;overflow-wrap:anywhere"


@dataclass(frozen=True)
class Link:
    """One of the chain: who it is, whether it does its part (None: it is to come), what was seen, what it goes by, what it passes on."""

    name: str
    ok: bool | None
    state: str
    facts: tuple[tuple[str, str], ...]
    passes_on: str = ""


@dataclass(frozen=True)
class TrustChain(Displayed):
    links: tuple[Link, ...]

    def __str__(self) -> str:
        lines = []
        for link in self.links:
            lines.append(f"{_SIGNS[link.ok]} {link.name}: {link.state}")
            wide = max(len(name) for name, _ in link.facts)
            lines += [f"    {name.ljust(wide)}  {value}" for name, value in link.facts]
            lines += [f"  ↓ {link.passes_on}"] if link.passes_on else []
        return "\n".join(lines)

    def html(self) -> str:
        broken = [link.name for link in self.links if link.ok is False]
        parts = []
        for link in self.links:
            about = f"<div style='width:18em'><b>{_SIGNS[link.ok]} {html.escape(link.name)}</b><div>{html.escape(link.state)}</div></div>"
            facts = "".join(f"<span>{html.escape(name)}</span><span>{html.escape(value)}</span>" for name, value in link.facts)
            parts.append(f"<div style='{_BOX}'>{about}<div style='{_FACTS}'>{facts}</div></div>")
            parts += [f"<div style='margin:.3em 1em'>↓ {html.escape(link.passes_on)}</div>"] if link.passes_on else []
        says = f"The chain of trust: {f'not in order: {shown(broken)}' if broken else 'all in order'}"
        return f"<div role='group' aria-label='{html.escape(says)}' style='max-width:70em'>{''.join(parts)}</div>"


def trust_chain(lab: Lab, username: str) -> TrustChain:
    """Follow a person's identity as far as it gets: sign them in and out again, ask who they are, look at the bindings and the portal."""
    session, refused = _look(lambda: lab.session(username))
    seen, unknown = _look(lambda: lab.cluster.api(session).whoami()) if session else (None, "there is nobody to ask it about")
    if session:
        _look(session.sign_out)
    return TrustChain(
        (
            _person(lab.workshop.user(username), refused),
            _keycloak(lab),
            _api_server(lab, seen, unknown),
            _rbac(lab, seen.groups if seen else lab.workshop.user(username).groups),
            _portal(lab),
        )
    )


def _person(user: User, refused: str) -> Link:
    facts = (("email", user.email), ("groups", shown(user.groups)))
    next_one = "shows name and password; gets a signed token with user name and groups"
    return Link(user.username, not refused, refused or "can sign in", facts, next_one)


def _keycloak(lab: Lab) -> Link:
    document, silent = _look(lab.keycloak.discovery)
    facts = (("issuer", str(document["issuer"]) if document else lab.keycloak.realm_url), ("CA", str(lab.keycloak.ca)))
    state = silent or "answers, and its certificate is verified"
    return Link("Keycloak", not silent, state, facts, "publishes the keys that its signatures are checked with")


def _api_server(lab: Lab, seen: Identity | None, unknown: str) -> Link:
    oidc = lab.workshop.cluster.oidc
    trust, _ = _look(lambda: lab.cluster.trust)
    endpoint, _ = _look(lambda: lab.cluster.endpoint)
    facts = (
        ("address", endpoint.url if endpoint else "not known yet"),
        ("wants issuer", trust.issuer if trust else "not known yet"),
        ("audience", oidc.client_id),
        ("name from", f"the claim {oidc.username_claim}"),
        ("groups from", f"the claim {oidc.groups_claim}"),
        ("configured by", "flags" if lab.settings.oidc == "flags" else "an AuthenticationConfiguration"),
    )
    state = f"knows {seen.username}" if seen else unknown
    return Link("API server", seen is not None, state, facts, "hands over the user name and the groups")


def _rbac(lab: Lab, groups: Collection[str]) -> Link:
    differences, silent = _look(lab.cluster.rbac.differences)
    if differences and len(differences) == len(lab.cluster.rbac.objects()) and not any(each.part for each in differences):
        return Link("RBAC", None, "to come: lab 03", (("roles", "none is given yet"),), "will allow, or refuse with 403")
    has = "has" if differences == [] else "is to have"
    bound = tuple((each.group, f"{has} the role {each.role}") for each in lab.workshop.cluster.bindings if each.group in groups)
    state = silent or (str(differences[0]) if differences else "as declared")
    next_one = "allows, or refuses with 403, whoever asks: kubectl, or the portal for them"
    return Link("RBAC", differences == [], state, bound or (("roles", "none is declared for these groups"),), next_one)


def _portal(lab: Lab) -> Link:
    if not lab.processes.log_file("portal").exists():
        return Link("Portal", None, "to come: lab 06", (("address", lab.portal.url),))
    ready, silent = _look(lab.portal.is_ready)
    facts = (
        ("address", lab.portal.url),
        ("signs in by", f"the client {lab.workshop.portal_client.client_id}, at the same Keycloak"),
        ("acts as", "whoever signed in, with their own token"),
    )
    return Link("Portal", ready is True, "is ready" if ready else silent or "is not ready yet", facts)


_Answer = TypeVar("_Answer")


def _look(ask: Callable[[], _Answer]) -> tuple[_Answer | None, str]:
    """The answer; or, as a broken link is what there is to see, nothing and what went wrong."""
    try:
        return ask(), ""
    except LabkitError as error:
        return None, error.what
    except requests.RequestException:
        return None, "does not answer"
