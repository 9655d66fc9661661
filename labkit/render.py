"""The lab's configuration as files, for whoever wants to do by hand, or elsewhere, what the labs do by calls."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from .cluster.trust import Trust
from .display import Table
from .errors import LabkitError
from .hosting import PUBLIC_CA
from .lab import Lab
from .portal.config import app_config
from .settings import write_private, writing

_MARK = "# Written by labkit render"
_CA_ON_THE_NODE = Path("/etc/kubernetes/pki/issuer-ca.crt")
"""Where kubeadm's API servers, KinD's among them, can read a file without being given another mount."""


@dataclass(frozen=True)
class Rendering:
    """A file.

    Attributes:
        file: Its name.
        what: What it holds, in a few words.
        use: What to do with it.
        text: Makes its content; empty when there is no need of it.
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
        A table with the columns ``file``, ``what it holds``, ``what to do with it``.

    Raises:
        LabkitError: One of the names is taken by a file of somebody else's; nothing has been written then.
        KeycloakUnreachable: A hosted Keycloak does not tell its issuer.
    """
    taken = [each.file for each in RENDERINGS if (folder / each.file).exists() and not _is_ours(folder / each.file)]
    if taken:
        msg = f"{folder} has files that labkit did not write: {', '.join(taken)}"
        raise LabkitError(msg, why="they would be lost", fix="name another folder, or move them away")
    texts = {each: text for each in RENDERINGS if (text := each.text(lab))}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for each, text in texts.items():
        whole = f"{_MARK}: {each.what}.\n# {each.use}.\n\n{text.rstrip()}\n"
        write_private(folder / each.file, whole, mode=0o600 if each.secret else 0o644)
    rows = tuple((each.file + (" (secret)" if each.secret else ""), each.what, each.use) for each in texts)
    return Table(("file", "what it holds", "what to do with it"), rows, title=f"in {folder}")


def _is_ours(file: Path) -> bool:
    return file.is_file() and file.read_bytes().startswith(_MARK.encode())


def _rbac(lab: Lab) -> str:
    return yaml.safe_dump_all(lab.cluster.rbac.objects(), sort_keys=False)


def _trust(lab: Lab) -> Trust:
    trust = lab.cluster.trust
    return trust if trust.ca == PUBLIC_CA else replace(trust, ca=_CA_ON_THE_NODE)


def _kubeconfig(lab: Lab) -> str:
    """The seed's contexts, without the tokens that its script puts into them."""
    endpoint, trust = lab.cluster.endpoint, lab.cluster.trust
    client = lab.workshop.client(trust.declared.client_id)
    provider = {
        "client-id": client.client_id,
        "client-secret": client.secret.get_secret_value(),
        "idp-certificate-authority-data": _base64(trust.ca),
        "idp-issuer-url": trust.issuer,
    }
    people = list(lab.workshop.access.expected)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": endpoint.name, "cluster": {"server": endpoint.url, "certificate-authority-data": _base64(endpoint.ca)}}],
        "users": [{"name": name, "user": {"auth-provider": {"name": "oidc", "config": dict(provider)}}} for name in people],
        "contexts": [{"name": name, "context": {"cluster": endpoint.name, "user": name}} for name in people],
    }
    return yaml.safe_dump(config, sort_keys=False)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


RENDERINGS = (
    Rendering("keycloak.tf", "the realm, for Terraform", "Run terraform init and terraform apply", lambda lab: str(lab.terraform())),
    Rendering(
        "secrets.auto.tfvars",
        "people's passwords and clients' secrets",
        "Terraform reads it by itself; it asks for admin_secret",
        lambda lab: lab.terraform().secrets(),
        secret=True,
    ),
    Rendering(
        "issuer-ca.crt",
        "the CA of Keycloak's certificate",
        f"Copy it to the API server's machine as {_CA_ON_THE_NODE}",
        lambda lab: "" if lab.keycloak.ca == PUBLIC_CA else lab.keycloak.ca.read_text(),
    ),
    Rendering(
        "oidc-flags.txt",
        "whom the API server is to believe, by flags",
        "Add them to the API server's command line, or take authentication.yaml instead",
        lambda lab: "\n".join(_trust(lab).flags()),
    ),
    Rendering(
        "authentication.yaml",
        "the same as an AuthenticationConfiguration",
        "Name it to the API server: --authentication-config=FILE, without any --oidc flag",
        lambda lab: lab.cluster.trust.configuration(),
    ),
    Rendering(
        "app-config.yaml",
        "what Backstage is told",
        "Give Backstage the two variables that it names, and people.yaml and templates beside it",
        lambda lab: app_config(lab.settings, lab.workshop, lab.cluster.endpoint, lab.keycloak.issuer, Path()),
    ),
    Rendering("rbac.yaml", "cluster roles and their bindings", "Run kubectl apply -f rbac.yaml", _rbac),
    Rendering(
        "kubeconfig",
        "a context for each person",
        "Add their tokens: kubectl config set-credentials NAME --auth-provider=oidc --auth-provider-arg=id-token=…",
        _kubeconfig,
        secret=True,
    ),
)
"""The files, in the order in which one needs them."""
