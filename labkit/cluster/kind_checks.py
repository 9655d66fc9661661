"""What a KinD cluster needs of this machine, looked at before anything is made."""

from __future__ import annotations

from ..display import Finding, Findings
from ..errors import ClusterError
from ..settings import Settings
from .docker import Docker
from .kind import NAME, refuse_foreign
from .kind_config import KindConfig

_ANSWER_SECONDS = 5
_OFFER_SECONDS = 2

_KEPT = "this folder's cluster is a KinD, until labkit down deletes it"
_GO_ON = (
    "go on with it in a terminal: labkit down, then LABKIT_CLUSTER=kind labkit up; then restart this notebook's kernel. "
    "This folder goes on with it, without the variable too, until labkit down deletes it"
)


def look(settings: Settings) -> Findings:
    """Look whether a KinD cluster can be made on this machine; the last finding says how to go on with it, or what is missing.

    Nothing is changed. What builds on something that is missing is not looked at.
    """
    docker = Docker(seconds=_ANSWER_SECONDS)
    looks = (
        ("Docker answers", docker.require),
        (f"nobody else has a KinD cluster {NAME} here", lambda: refuse_foreign(docker, KindConfig(settings))),
    )
    found = []
    for text, holds in looks:
        try:
            holds()
        except ClusterError as error:
            found.append(Finding(False, "\n      ".join(filter(None, (error.what, *error.why.splitlines()))), error.fix))
            break
        found.append(Finding(True, text))
    else:
        found.append(Finding(True, _KEPT if settings.cluster == "kind" else _GO_ON))
    return Findings("a KinD cluster can be made on this machine", tuple(found))


def docker_answers() -> bool:
    """Whether a Docker answers here; one that is silent is given two seconds."""
    try:
        Docker(seconds=_OFFER_SECONDS).require()
    except ClusterError:
        return False
    return True
