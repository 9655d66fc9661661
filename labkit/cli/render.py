"""The lab's configuration as files, for whoever wants to do by hand, or elsewhere, what the labs do by calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..cluster import relay
from ..cluster.kind.files import CA, GATEWAY, in_node
from ..cluster.kubeconfig import exec_user, portable
from ..common.display import Table
from ..common.errors import ClusterError, LabkitError
from ..common.kubernetes_yaml import dump
from ..common.ownership import make_private
from ..common.platform_folder import find, matching
from ..common.tables import table
from ..config.files import write_private, writing
from ..lab import Lab
from ..portal import config
from ..workshop.files import PATCH

_MARK = "# Written by labkit render"


@dataclass(frozen=True)
class Rendering:
    """A file, as ``renderings.yaml`` has it."""

    file: str
    what: str
    use: str
    secret: bool = False

    def text(self, lab: Lab) -> str:
        """Its content; unless it is made, the platform folder's."""
        make = _MADE.get(self.file)
        return make(lab) if make else find(self.file, lab.settings.workshop_folder).read_text(encoding="utf-8")


def render(lab: Lab, folder: Path) -> Table:
    """Write all of `renderings` into a folder.

    Files that an earlier call wrote are replaced, others never. What needs a KinD cluster's address is not written before there is one.

    Raises:
        LabkitError: One of the names is taken by a file of somebody else's; nothing has been written then.
        KeycloakUnreachable: A hosted Keycloak does not tell its issuer.
    """
    every = list(renderings(lab.settings.workshop_folder))
    taken = [each.file for each in every if (folder / each.file).exists() and not _is_ours(folder / each.file)]
    if taken:
        raise LabkitError("render-would-overwrite", folder=folder, files=", ".join(taken))
    texts, unwritten = {}, []
    for each in every:
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
    users = {name: exec_user(name, lab.settings.variables()) for name in lab.workshop.access.expected}
    return dump(portable(lab.cluster.endpoint, users))


def _reaching_keycloak(lab: Lab) -> str:
    """The patch for a node that is to reach a Keycloak on this machine; its address there is known once Docker's network is."""
    files = lab.kind_files()
    if not files.patch:
        return files.texts[PATCH]
    port = urlsplit(lab.cluster.trust.issuer).port or 443
    steps = (
        "In the node, localhost is to be this machine as well. So, before kind creates the cluster:",
        "1. docker network create kind          (if docker network ls does not have it)",
        f"2. docker network inspect kind         and write its IPv4 gateway in place of {GATEWAY} below",
        "3. have Keycloak answer there, for as long as the cluster is used, with that network's subnet in place of SUBNET:",
        f"   python {relay.__name__.replace('.', '/')}.py tcp:{GATEWAY}:{port}=tcp:127.0.0.1:{port}=SUBNET",
    )
    return "\n".join((*(f"# {line}" for line in steps), files.patch))


def _portal_env(lab: Lab) -> str:
    client = lab.workshop.portal_client.client_id
    secret = f"# Set {config.SESSION_SECRET}, any long random text, and {config.CLIENT_SECRET}, that of {client}, as well.\n"
    return secret + config.env_file(config.variables(lab.settings, lab.cluster.endpoint, lab.keycloak.issuer, Path()))


def renderings(folder: Path) -> Iterator[Rendering]:
    """Give the files, in the order in which one needs them, with what a workshop's folder adds."""
    for pattern, about in table(Path(__file__).with_name("renderings.yaml")).items():
        about["use"] = about["use"].format(CA=CA, GATEWAY=GATEWAY)
        for name in matching(pattern, folder) if "*" in pattern else [pattern]:
            yield Rendering(name, **about)


_MADE: Mapping[str, Callable[[Lab], str]] = {
    "realm.yaml": lambda lab: lab.workshop.realm.document.text,
    "keycloak.tf": lambda lab: str(lab.terraform()),
    "keycloak.auto.tfvars": lambda lab: lab.terraform().values(),
    "issuer-ca.crt": lambda lab: lab.kind_files().texts[CA.name],
    "authentication.yaml": lambda lab: lab.cluster.trust.configuration(),
    "oidc-flags.yaml": lambda lab: in_node(lab.cluster.trust).flags_file.text,
    "kind.yaml": lambda lab: lab.kind_files().config,
    PATCH: _reaching_keycloak,
    "portal.env": _portal_env,
    "people.yaml": lambda lab: config.people(lab.workshop),
    "kratix/requester.yaml": lambda lab: lab.kratix.requester(lab.kratix.team_space, lab.workshop.reading.group).text,
    "kratix/template.yaml": lambda lab: lab.kratix.template(lab.kratix.team_space).document.text,
    "rbac.yaml": lambda lab: lab.workshop.cluster.rbac.text,
    "kubeconfig": _kubeconfig,
}
