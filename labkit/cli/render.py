"""The lab's configuration as files, for whoever wants to do by hand, or elsewhere, what the labs do by calls."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from ..cluster import relay
from ..cluster.kind import config as kind_config
from ..cluster.kind.lesson import GATEWAY
from ..cluster.kubeconfig import exec_user
from ..common.display import Table
from ..common.errors import ClusterError, LabkitError
from ..common.ownership import make_private
from ..common.platform_folder import OWN, find
from ..config.ports import LOOPBACK
from ..config.settings import write_private, writing
from ..lab import Lab
from ..portal import config
from ..portal.server import TEMPLATES
from ..workshop.cluster_files import PATCH

_MARK = "# Written by labkit render"
_BESIDE = "Leave it beside app-config.yaml"


@dataclass(frozen=True)
class Rendering:
    """A file.

    Attributes:
        file: Its name.
        what: What it holds, in a few words.
        use: What to do with it.
        text: Makes its content.
        secret: Whether it holds secrets.
    """

    file: str
    what: str
    use: str
    text: Callable[[Lab], str]
    secret: bool = False


def render(lab: Lab, folder: Path) -> Table:
    """Write all of `RENDERINGS` into a folder.

    Args:
        lab: The lab.
        folder: Made if missing. Files that an earlier call wrote are replaced, others never.

    Returns:
        A table with the columns ``file``, ``what it holds``, ``what to do with it``. What needs a KinD cluster's address is not written
        before there is one.

    Raises:
        LabkitError: One of the names is taken by a file of somebody else's; nothing has been written then.
        KeycloakUnreachable: A hosted Keycloak does not tell its issuer.
    """
    taken = [each.file for each in RENDERINGS if (folder / each.file).exists() and not _is_ours(folder / each.file)]
    if taken:
        msg = f"{folder} has files that labkit did not write: {', '.join(taken)}"
        raise LabkitError(msg, why="they would be lost", fix="name another folder, or move them away")
    texts, unwritten = {}, []
    for each in RENDERINGS:
        try:
            texts[each] = each.text(lab)
        except ClusterError as error:
            unwritten.append((each.file, each.what, f"not yet written: {error.what}"))
    with writing(folder):
        make_private(folder)
    for each, text in texts.items():
        whole = f"{_MARK}: {each.what}.\n# {each.use}.\n\n{text.rstrip()}\n"
        write_private(folder / each.file, whole, mode=0o600 if each.secret else 0o644)
    rows = [(each.file + (" (secret)" if each.secret else ""), each.what, each.use) for each in texts]
    return Table(("file", "what it holds", "what to do with it"), (*rows, *unwritten), title=f"in {folder}")


def _is_ours(file: Path) -> bool:
    return file.is_file() and file.read_bytes().startswith(_MARK.encode())


def _kubeconfig(lab: Lab) -> str:
    """The seed's contexts, but no token goes into them: on a command line, as its script has it, anybody on the machine could read it."""
    endpoint, variables = lab.cluster.endpoint, lab.settings.variables()
    people = list(lab.workshop.access.expected)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": endpoint.name, "cluster": {"server": endpoint.url, "certificate-authority-data": _base64(endpoint.ca)}}],
        "users": [{"name": name, "user": exec_user(name, variables)} for name in people],
        "contexts": [{"name": name, "context": {"cluster": endpoint.name, "user": name}} for name in people],
    }
    return yaml.safe_dump(config, sort_keys=False)


def _reaching_keycloak(lab: Lab) -> str:
    """The patch for a node that is to reach a Keycloak on this machine; its address there is known once Docker's network is."""
    patch = lab.kind_files().patch
    if not patch:
        return kind_config.pod_patch(lab.cluster.trust, LOOPBACK)
    port = urlsplit(lab.cluster.trust.issuer).port or 443
    steps = (
        "In the node, localhost is to be this machine as well. So, before kind creates the cluster:",
        "1. docker network create kind          (if docker network ls does not have it)",
        f"2. docker network inspect kind         and write its IPv4 gateway in place of {GATEWAY} below",
        "3. have Keycloak answer there, for as long as the cluster is used, with that network's subnet in place of SUBNET:",
        f"   python {relay.__name__.replace('.', '/')}.py tcp:{GATEWAY}:{port}=tcp:127.0.0.1:{port}=SUBNET",
    )
    return "\n".join((*(f"# {line}" for line in steps), patch))


def _portal_env(lab: Lab) -> str:
    secret = f"# Set {config.SESSION_SECRET}, any long random text, and {config.CLIENT_SECRET}, that of {config.CLIENT_ID}, as well.\n"
    return secret + config.env_file(config.variables(lab.settings, lab.cluster.endpoint, lab.keycloak.issuer, Path()))


def _copy(file: Path, what: str, use: str) -> Rendering:
    name = str(file.relative_to(OWN))
    return Rendering(name, what, use, lambda lab: find(name, lab.settings.workshop_folder).read_text())


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


RENDERINGS = (
    Rendering(
        "realm.yaml",
        "the realm, as Keycloak describes it, with people's passwords and clients' secrets",
        "keycloak.tf reads it",
        lambda lab: lab.workshop.realm.document.text,
        secret=True,
    ),
    Rendering("keycloak.tf", "that realm, for Terraform", "Run terraform init and terraform apply", lambda lab: str(lab.terraform())),
    Rendering(
        "keycloak.auto.tfvars",
        "where Keycloak is, and who administers it",
        "Terraform reads it by itself; it asks for admin_secret",
        lambda lab: lab.terraform().values(),
    ),
    Rendering(
        "issuer-ca.crt",
        "the CA of Keycloak's certificate",
        f"Copy it to the API server's machine as {kind_config.CA}",
        lambda lab: kind_config.mounted(lab.cluster.trust)[kind_config.CA.name],
    ),
    Rendering(
        "authentication.yaml",
        "whom the API server is to believe, as an AuthenticationConfiguration",
        "Name it to the API server: --authentication-config=FILE, without any --oidc flag",
        lambda lab: lab.cluster.trust.configuration(),
    ),
    Rendering(
        "oidc-flags.yaml",
        "the same by flags, which take any group that the realm names, system:masters too",
        "Add them to the API server's command line, as --NAME=VALUE, where it can't have authentication.yaml",
        lambda lab: kind_config.in_node(lab.cluster.trust).flags_file.text,
    ),
    Rendering(
        "audit-policy.yaml",
        "what an API server logs of requests",
        "Name it to the API server: --audit-policy-file=FILE, with --audit-log-path=LOG",
        lambda lab: find("audit-policy.yaml", lab.settings.workshop_folder).read_text(),
    ),
    Rendering(
        "kind.yaml",
        "a KinD cluster whose API server believes this issuer",
        "Run kind create cluster --name platform --config kind.yaml in this very folder: what it mounts lies there",
        lambda lab: lab.kind_files().config,
    ),
    Rendering(
        PATCH,
        "the way from a KinD node to a Keycloak on this machine",
        f"Fill in {GATEWAY} first, if it is there; kind.yaml has kubeadm read the file",
        _reaching_keycloak,
    ),
    _copy(
        config.APP_CONFIG,
        "Backstage's configuration",
        "Start Backstage in this folder with --config app-config.yaml and the variables of portal.env",
    ),
    Rendering("portal.env", "the variables that app-config.yaml names, but for the secrets", "Run set -a; . ./portal.env", _portal_env),
    Rendering("people.yaml", "the realm's groups and users for Backstage's catalog", _BESIDE, lambda lab: config.people(lab.workshop)),
    _copy(config.CATALOG, "what else is in Backstage's catalog", _BESIDE),
    *(_copy(file, "a template for Backstage", _BESIDE) for file in sorted(TEMPLATES.glob("*.yaml"))),
    Rendering(
        "rbac.yaml",
        "cluster roles and their bindings",
        "Run kubectl apply -f rbac.yaml",
        lambda lab: lab.workshop.cluster.rbac.text,
    ),
    Rendering(
        "kubeconfig",
        "a context for each person",
        "Name it to kubectl on this machine, by --kubeconfig or KUBECONFIG; kubectl asks labkit credential for tokens",
        _kubeconfig,
    ),
)
"""The files, in the order in which one needs them."""
