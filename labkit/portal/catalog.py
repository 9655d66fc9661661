"""What the portal's catalog holds, and how a template gets into it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..common.display import Table, Tabular
from ..common.errors import PortalError


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


def read_template(file: Path) -> dict[str, Any]:
    """The template in a file.

    Raises:
        PortalError: It holds none.
    """
    try:
        template = dict(yaml.safe_load(file.read_text()))
        ref_of(template)
    except (OSError, yaml.YAMLError, TypeError, ValueError, KeyError) as error:
        msg, why = f"{file} holds no template", f"{type(error).__name__}: {error}"
        raise PortalError(msg, why=why, fix="name a YAML file with one entity of kind Template") from None
    return template


def location_ref(target: str) -> str:
    """How the catalog names a file location of its configuration, which it doesn't show while there is nothing at it."""
    return f"location:default/generated-{hashlib.sha1(f'file:{target}'.encode(), usedforsecurity=False).hexdigest()}"


def ref_of(entity: Mapping[str, Any]) -> str:
    """An entity's reference, such as ``template:default/configmap``."""
    metadata = entity["metadata"]
    return f"{entity['kind']}:{metadata.get('namespace', 'default')}/{metadata['name']}".lower()


def _relations(entity: Mapping[str, Any]) -> str:
    return ", ".join(f"{relation['type']} {relation['targetRef']}" for relation in entity.get("relations", ()))
