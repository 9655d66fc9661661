"""What the portal answers: the entities of its catalog, how a task goes, and refusals, the API server's among them."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from ..cluster.refusals import forbidden
from ..common.display import Displayed, Table, Tabular, shown
from ..common.errors import ClusterError, Forbidden, LabkitError, NotPermitted, NotSignedIn, PortalError, TaskFailed, Unauthorized
from ..common.kubernetes_yaml import YamlError, load

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CARRIES_REFUSAL = "error: the API server's refusal "
"""How a line of a task's log begins that carries the API server's refusal as JSON; see ``action.js``."""
_TAKING = ("url", "$text", "$json", "$yaml")
"""The fields of steps, and of any entity, whose value is a file's address."""


@dataclass(frozen=True)
class Known(Tabular):
    """What the portal knows of who is signed in.

    Attributes:
        user_ref: The entity that they are.
        owns_as: The entities as which they own things.
        groups: The groups in their Keycloak token, which the cluster goes by.
        expires: When that token expires, in seconds since 1970 (UTC); 0 without one.
        claims: The names of the claims in their Backstage token.
    """

    user_ref: str
    owns_as: tuple[str, ...]
    groups: tuple[str, ...]
    expires: int
    claims: tuple[str, ...]

    def table(self) -> Table:
        """A row per fact."""
        until = time.strftime("until %H:%M:%S UTC", time.gmtime(self.expires)) if self.expires else "none"
        rows = (
            ("entity", self.user_ref),
            ("owns things as", shown(self.owns_as)),
            ("Keycloak token", until),
            ("groups in it", shown(self.groups)),
            ("claims of the Backstage token", shown(self.claims)),
        )
        return Table(("", "what the portal knows"), rows)


@dataclass(frozen=True)
class Catalog(Tabular):
    """Entities of the catalog, as the portal shows them to somebody.

    Attributes:
        entities: The entities as the catalog's API gives them.
    """

    entities: tuple[dict[str, Any], ...]

    @property
    def refs(self) -> tuple[str, ...]:
        """Their references, such as ``template:default/configmap``, sorted."""
        return tuple(sorted(map(ref_of, self.entities)))

    def table(self) -> Table:
        """A row per entity."""
        rows = ((ref_of(entity), str(entity["metadata"].get("title", "")), _relations(entity)) for entity in self.entities)
        return Table(("entity", "title", "relations"), tuple(sorted(rows)))


def ref_of(entity: Mapping[str, Any]) -> str:
    """An entity's reference, such as ``template:default/configmap``."""
    metadata = entity["metadata"]
    return f"{entity['kind']}:{metadata.get('namespace', 'default')}/{metadata['name']}".lower()


def _relations(entity: Mapping[str, Any]) -> str:
    return ", ".join(f"{relation['type']} {relation['targetRef']}" for relation in entity.get("relations", ()))


def read_template(file: Path) -> dict[str, Any]:
    """The template in a file.

    Raises:
        PortalError: It holds none.
    """
    try:
        template = dict(load(file.read_bytes()))
        ref_of(template)
        if template["kind"] != "Template":
            msg = f"its kind is {template['kind']}"
            raise ValueError(msg)
    except (OSError, YamlError, TypeError, ValueError, KeyError) as error:
        raise PortalError("template-file", file=file, reason=f"{type(error).__name__}: {error}") from None
    return template


def beside(part: object) -> Iterator[str]:
    """What a part of a template takes from files beside its own, such as ``./skeleton``."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if key in _TAKING and isinstance(value, str):
            if "://" not in value and "${{" not in value:
                yield value
        else:
            yield from beside(value)


def location_ref(target: str) -> str:
    """How the catalog names a file location of its configuration, which it doesn't show while there is nothing at it."""
    return f"location:default/generated-{hashlib.sha1(f'file:{target}'.encode(), usedforsecurity=False).hexdigest()}"


@dataclass(frozen=True)
class TaskResult(Displayed):
    """A task that came to a good end.

    Attributes:
        task: Its id.
        template: The template's reference.
        log: What it said, a line each.
        output: What the template puts out, such as ``resourceId``.
    """

    task: str
    template: str
    log: tuple[str, ...]
    output: Mapping[str, Any]

    def __str__(self) -> str:
        made = self.output.get("resourceId")
        return f"{self.template} is done{f': {made}' if made else ''}"


def follow(lines: Iterable[str], task: str, template: str, say: Callable[[str], None]) -> TaskResult:
    """Read a task's stream of server-sent events to its end, and say each line of its log.

    Raises:
        Forbidden: The API server forbade what the task tried.
        TaskFailed: It failed otherwise, or the stream broke off.
    """
    log: list[str] = []
    refusal: Mapping[str, Any] = {}
    for event in (json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")):
        body = event["body"]
        message = _COLOUR.sub("", str(body.get("message", "")))
        if event["type"] == "completion":
            if error := body.get("error"):
                words = _reason(error)
                raise _clusters(refusal, words) or TaskFailed("task-failed", template=template, words=words, log=tuple(log))
            return TaskResult(task, template, tuple(log), body.get("output") or {})
        if message.startswith(_CARRIES_REFUSAL):
            refusal = json.loads(message.removeprefix(_CARRIES_REFUSAL))["refusal"]
        else:
            log.append("\n".join(line for line in message.rstrip().splitlines() if not line.startswith("    at ")))
            say(log[-1])
    raise TaskFailed("task-cut-short", template=template, log=tuple(log))


def translated(answer: requests.Response) -> LabkitError:
    """The error for a no of the portal's, or of the API server's that it hands on."""
    body = _json(answer)
    if body.get("kind") == "Status":
        message = str(body.get("message", ""))
        if answer.status_code == Forbidden.status:
            return forbidden(message)
        error = Unauthorized if answer.status_code == requests.codes.unauthorized else ClusterError
        return error("portal-cluster-refuses", code=answer.status_code, words=message)
    message = _words(answer)
    if clusters := _clusters((body.get("error") or {}).get("refusal") or {}, message):
        return clusters
    if answer.status_code == requests.codes.unauthorized:
        return NotSignedIn("portal-no-token", words=message)
    if answer.status_code == requests.codes.forbidden:
        # Backstage's permission framework gives its error a name and no words.
        silent = body.get("error") and not body["error"].get("message")
        return NotPermitted("portal-policy-denies") if silent else NotPermitted("portal-not-permitted", words=message)
    return refused(answer, "the portal can't do this")


def refused(answer: requests.Response, what: str) -> PortalError:
    """The portal's no, in its own words."""
    name = "portal-failed" if answer.status_code >= requests.codes.internal_server_error else "portal-refused"
    return PortalError(name, failure=what, code=answer.status_code, words=_words(answer))


def problems(answer: requests.Response) -> tuple[str, ...]:
    """What a template's form has against the values: JSON Schema's complaints, each with its field."""
    return tuple(str(problem.get("stack") or problem.get("message", "")) for problem in _json(answer).get("errors", ()))


def _clusters(refusal: Mapping[str, Any], told: str) -> Forbidden | Unauthorized | None:
    """Give the API server's 401 or 403 if ``refusal`` (made by ``refusals.js``) is one; ``told`` is the portal's sentence on it."""
    if refusal.get("status") == requests.codes.unauthorized:
        return Unauthorized("portal-cluster-refuses", code=refusal["status"], words=told)
    if refusal.get("status") != Forbidden.status:
        return None
    return Forbidden("portal-cluster-forbids", words=refusal["message"], told=told, user=refusal["user"])


def _words(answer: requests.Response) -> str:
    error = _json(answer).get("error")
    return _reason(error) if error else answer.text[:300]


def _reason(error: Mapping[str, Any]) -> str:
    """What an error of Backstage's says; without a message it is the name of a class, which is no reason."""
    return str(error.get("message") or f"it gives no reason ({error.get('name', 'no name')})")


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
