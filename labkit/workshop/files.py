"""The platform folder's YAML: read, filled in, and known by line.

``${NAME}`` in a file stands for a value that only this machine knows, and ``$${NAME}`` for the text itself, as in Backstage's files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import WorkshopError
from ..common.kubernetes_yaml import Node, YamlError, compose, construct, end_of, worded
from ..common.platform_folder import OWN, find, nearest, text_of

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value, such as ``("users", 1, "groups", 0)``."""

REALM, RBAC, ACCESS = "realm.yaml", "rbac.yaml", "access.yaml"
FLAGS, AUTHENTICATION, KIND = "oidc-flags.yaml", "authentication.yaml", "kind.yaml"
PATCH = "kubeadm-patches/kube-apiserver+strategic.yaml"

FILLED_IN = {
    FLAGS: ("ISSUER", "ISSUER_CA_FILE"),
    AUTHENTICATION: ("ISSUER", "ISSUER_CA", "GROUPS"),
    KIND: ("API_SERVER_FLAGS", "FOLDER", "HOME_ID", "NODE_IMAGE", "KIND_31337_PORT", "KIND_31340_PORT", "KIND_31333_PORT"),
    PATCH: ("GATEWAY",),
}
"""By file: what stands for a value that is known once there is an issuer, or a KinD cluster."""

MARK = "/kind/labkit/${HOME_ID}"
"""Where a state folder's nodes have a folder, and no others."""

_PLACEHOLDER = re.compile(r"\$(\$?)\{([A-Z][A-Z0-9_]*)\}")


def read(name: str, values: Mapping[str, str], folder: Path = OWN, later: Collection[str] = ()) -> Document:
    """Read a YAML file and fill it in.

    Args:
        name: Its name in the platform folder.
        values: What stands for each ``${NAME}``.
        folder: The folder that lies over labkit's own.
        later: Names that are not known yet, if any: then nothing is filled in before `Document.filled_in`.

    Raises:
        WorkshopError: It can't be read, is no YAML, or has an unknown ``${NAME}``.
    """
    file = find(name, folder)
    text = text_of(file)
    filled = _filled_in(file, text, {**values, **dict.fromkeys(later, "")})
    return Document(file, text if later else filled)


def read_as_it_is(file: Path) -> Document:
    """Read a YAML file that the program that it is for fills in itself; aliases may be in it.

    Raises:
        WorkshopError: It can't be read, or is no YAML.
    """
    return Document(file, text_of(file), aliases=True)


def _filled_in(file: Path, text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        escaped, name = found.groups()
        if escaped:
            return found[0][1:]
        if name not in values:
            line = text.count("\n", 0, found.start()) + 1
            raise refusal([f"{file}:{line}: labkit knows no {found[0]}{nearest(name, values)}; it fills in {', '.join(sorted(values))}"])
        # What has several lines stands below itself, as a block of YAML has to.
        before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        return values[name].removesuffix("\n").replace("\n", "\n" + before[: len(before) - len(before.lstrip())])

    return _PLACEHOLDER.sub(value, text)


def refusal(problems: list[str]) -> WorkshopError:
    """The error for problems, each as ``file:line: place: what is wrong``."""
    many = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return WorkshopError("platform-files-wrong", many=many, problems="\n".join(problems), own=OWN)


@dataclass(frozen=True)
class Document:
    """A YAML file: where it was read, and what it says; raises WorkshopError if that is no YAML."""

    file: Path
    text: str = field(repr=False)
    aliases: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        _ = self.documents

    @cached_property
    def documents(self) -> list[Any]:
        """The values of its documents: mostly one, more where ``---`` divides them."""
        try:
            return [construct(node, unique=True) for node in self._nodes]
        except YamlError as error:
            problem = worded(error)
        # Not chained: YAML's own error quotes the file, passwords included.
        raise refusal([f"{self.file}: {problem}"])

    @property
    def data(self) -> Any:
        """The value of its one document; None if it is empty."""
        return self.documents[0] if self.documents else None

    def problem(self, place: Place, what: str) -> str:
        """A problem as ``file:line: place: what``; in a file of several documents the place begins with the document's index."""
        many = len(self.documents) > 1
        known = [place[:length] for length in range(len(place), -1, -1) if place[:length] in self._places]
        line = self._places[known[0]][0] if known else 1
        path = dotted(place if many else place[1:]) or "the file"
        return f"{self.file}:{line}: {path}: {what}"

    def filled_in(self, values: Mapping[str, str]) -> Document:
        """The same file with a value for each ``${NAME}``; raises what `read` does."""
        return replace(self, text=_filled_in(self.file, self.text, values))

    def with_values(self, values: Mapping[Place, Any]) -> Document:
        """The same file with other values at places that are there; comments stay, but for those inside a list that is replaced."""
        text = self.text
        spans = [(self._places[(0, *place)][1], value) for place, value in values.items()]
        for (begin, end), value in sorted(spans, reverse=True):
            # JSON is YAML too, and leaves no question of quoting. What stands on lines of its own ends with the last one.
            line_end = "\n" if text[begin:end].endswith("\n") else ""
            text = f"{text[:begin]}{json.dumps(value, ensure_ascii=False)}{line_end}{text[end:]}"
        return replace(self, text=text)

    @cached_property
    def _nodes(self) -> list[Node]:
        # A value that stands in two places could not be replaced in one of them.
        return compose(self.text, aliases=self.aliases)

    @cached_property
    def _places(self) -> dict[Place, tuple[int, tuple[int, int]]]:
        """Each value's line, counted from 1, and where its text begins and ends."""
        return {
            place: (line + 1, (node.start_mark.index, end_of(node)))
            for index, root in enumerate(self._nodes)
            for place, line, node in _walk((index,), root.start_mark.line, root)
        }


def _walk(place: Place, line: int, node: yaml.Node) -> Iterator[tuple[Place, int, yaml.Node]]:
    yield place, line, node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _walk((*place, key.value), key.start_mark.line, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk((*place, index), item.start_mark.line, item)


def dotted(place: Iterable[str | int]) -> str:
    """A place as text, such as ``users[1].groups[0]``."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
