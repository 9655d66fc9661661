"""What has to change in Keycloak, found by comparing what is there with what is declared, and shown as a table."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from ..common.display import Table, Tabular, shown
from ..workshop.fields import Representation

_SECRET_FIELDS = frozenset(("secret", "password"))
_TELLING = (
    *("email", "groups", "realmRoles", "config.claim.name", "config.included.custom.audience", "protocolMapper"),
    *("standardFlowEnabled", "directAccessGrantsEnabled", "redirectUris", "defaultClientScopes", "optionalClientScopes"),
)
"""What the line of a new object shows, as far as the object has it; realm.yaml has the rest."""

_WIDTH = 70


Kind = Literal[
    "realm",
    "group",
    "role",
    "user",
    "membership",
    "realm roles",
    "client scope",
    "mapper",
    "client",
    "default scopes",
    "optional scopes",
    "password",
]
"""What a plan speaks of; ``password`` is for a user who has another kind of password than the lab now asks for."""


class Action(Enum):
    """What applying does about an object."""

    CREATE = "create"
    CHANGE = "change"
    AS_DECLARED = "as declared"


_MARKS = {Action.CREATE: "+", Action.CHANGE: "~", Action.AS_DECLARED: "="}


@dataclass(frozen=True)
class FieldChange:
    """One field that differs.

    Attributes:
        field: Its name in Keycloak's representation; ``attributes.`` or ``config.`` leads the names inside those.
        now: What Keycloak has; None for nothing, a sorted tuple for a list, words in place of a secret.
        declared: What the workshop says, in the same form.
    """

    field: str
    now: Any
    declared: Any


@dataclass(frozen=True)
class Change:
    """What is to be done about one object.

    Attributes:
        name: The object's name; a subgroup's is its path, a mapper's is led by its client's or client scope's.
        fields: The fields that differ; for a new object all that are declared.
    """

    kind: Kind
    name: str
    action: Action
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True)
class Notice:
    """What applying leaves as it is, and somebody should know.

    Attributes:
        kind: ``group`` for a second group of a declared one's name, ``members`` for those of a declared group that are not declared,
            ``colon`` for groups with a name of Kubernetes' own, ``unseen`` for what this administrator is not shown.
        text: Who or what it is, and what comes of it.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Plan(Tabular):
    """What applying the workshop does to a realm.

    Attributes:
        realm: The realm's name.
        changes: An entry for every declared object, in the order they are applied.
    """

    realm: str
    changes: tuple[Change, ...]
    notices: tuple[Notice, ...] = ()

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that are to be made: all but those that are as declared."""
        return tuple(change for change in self.changes if change.action is not Action.AS_DECLARED)

    @property
    def summary(self) -> str:
        """Such as ``5 to create, 1 to change, 7 as declared``."""
        count = Counter(change.action for change in self.changes)
        return f"{count[Action.CREATE]} to create, {count[Action.CHANGE]} to change, {count[Action.AS_DECLARED]} as declared"

    def table(self) -> Table:
        """A row per object."""
        rows = tuple((f"{_MARKS[c.action]} {c.action.value}", c.kind, c.name, _details(c)) for c in self.changes)
        note = "\n".join([self.summary, *(f"! {notice.text}" for notice in self.notices)])
        return Table(("plan", "what", "name", "details"), rows, title=f"realm {self.realm}", note=note)


def compare(kind: Kind, name: str, now: Representation | None, declared: Representation) -> Change:
    """Compare an object with its declared fields; no other is looked at, and a list's order has no meaning.

    For ``kind`` and ``name`` see `Change`; ``now`` is None if Keycloak has no such object.
    """
    there = _flat(now or {})
    wanted = {field: value for field, value in _flat(declared).items() if now is None or there.get(field) != value}
    fields = tuple(_field_change(field, there.get(field), value) for field, value in wanted.items())
    action = Action.CREATE if now is None else Action.CHANGE if fields else Action.AS_DECLARED
    return Change(kind, name, action, fields)


def merge(now: Representation, declared: Representation) -> Representation:
    """The whole object with the declared fields set, as an update wants it: what is left out of one may be lost."""
    maps = {field: {**now.get(field, {}), **value} for field, value in declared.items() if isinstance(value, Mapping)}
    return {**now, **declared, **maps}


def _flat(representation: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for field, value in representation.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{field}."))
        elif not isinstance(value, list | tuple):
            flat[prefix + field] = value
        elif all(isinstance(item, str) for item in value):
            flat[prefix + field] = tuple(sorted(set(value)))
    return flat


def _field_change(field: str, now: Any, declared: Any) -> FieldChange:
    if field in _SECRET_FIELDS:
        return FieldChange(field, None if now is None else "(another secret)", "(declared)")
    return FieldChange(field, now, declared)


def _details(change: Change) -> str:
    if change.action is Action.CHANGE:
        return "\n".join(f"{f.field}: {shown(f.now)} → {shown(f.declared)}" for f in change.fields)
    declared = {f.field: f.declared for f in change.fields}
    text = "; ".join(f"{field}: {shown(declared[field])}" for field in _TELLING if field in declared)
    return textwrap.shorten(text, _WIDTH, placeholder=" …", break_on_hyphens=False)
