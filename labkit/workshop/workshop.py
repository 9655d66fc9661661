"""The workshop, as the files of the platform folder declare it: the realm, the cluster, and who should be able to do what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from ..common.errors import WorkshopError
from ..common.platform_folder import OWN, nearest, require_folder
from .cluster_files import FILLED_IN, Authentication, Kind, Name, Oidc, in_authentication, in_flags, in_kind
from .files import Document, Place, read, refusal
from .realm_file import Problems, Representation, contradictions, faults, group_paths, undeclared

BUILT_IN_ROLES = frozenset(("cluster-admin", "admin", "edit", "view"))
"""The user-facing cluster roles of Kubernetes: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles"""

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"


def _resource(value: str) -> str:
    if not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", value):
        msg = f'"{value}" is no resource: write its plural name, then a dot and its API group unless that is the core one'
        raise ValueError(msg)
    return value


Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


class User(_Model):
    """Somebody who signs in; ``groups`` are named as tokens name them, without their paths."""

    username: str
    email: str
    first_name: str
    last_name: str
    password: SecretStr
    groups: tuple[str, ...]


class Client(_Model):
    """An OpenID Connect client; a public one has an empty secret."""

    client_id: str
    secret: SecretStr


@dataclass(frozen=True)
class RealmSpec:
    """What the workshop declares of its realm.

    Attributes:
        document: ``realm.yaml``.
    """

    document: Document

    @property
    def representation(self) -> Representation:
        """The whole file, as Keycloak's RealmRepresentation."""
        return dict(self.document.data)

    @property
    def file(self) -> Path:
        """The file that was read; what stands there is not filled in, and its secrets need not be those in force."""
        return self.document.file

    @property
    def name(self) -> str:
        """The realm's name."""
        return str(self.representation["realm"])

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The names of all groups, as tokens name them."""
        return tuple(_last(path) for path in group_paths(self.representation))

    @cached_property
    def users(self) -> tuple[User, ...]:
        """The users."""
        return tuple(_user(user) for user in self.representation.get("users", []))

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """The clients."""
        return tuple(Client(client_id=c["clientId"], secret=SecretStr(c.get("secret", ""))) for c in self.representation.get("clients", []))

    def with_values(self, values: Mapping[Place, str | list[str]]) -> RealmSpec:
        """The same realm with other values; see `Document.with_values`."""
        return RealmSpec(self.document.with_values(values))


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _user(user: Representation) -> User:
    return User(
        username=user["username"],
        email=user["email"],
        first_name=user["firstName"],
        last_name=user["lastName"],
        password=SecretStr(user["credentials"][0]["value"]),
        groups=tuple(_last(path) for path in user["groups"]),
    )


class _Named(BaseModel):
    name: Name


class _Reference(_Named):
    # The API server fills it in where it is left out, and what it has would differ from the file for ever.
    api_group: Literal["rbac.authorization.k8s.io"] = Field(validation_alias="apiGroup")


class _Subject(_Reference):
    kind: Literal["Group"]


class _Rbac(BaseModel):
    """What labkit has to know of an object in ``rbac.yaml``; the rest is the API server's to judge."""

    kind: Literal["ClusterRole", "ClusterRoleBinding"]
    metadata: _Named
    subjects: tuple[_Subject, ...] = ()
    role: _Reference | None = Field(None, validation_alias="roleRef")


class Binding(_Model):
    """A cluster role binding gives ``role`` to everybody in ``group``."""

    name: Name
    group: Name
    role: Name


@dataclass(frozen=True)
class ClusterSpec:
    """What the workshop declares of its cluster.

    Attributes:
        rbac: ``rbac.yaml``: cluster roles and their bindings, as the API server takes them.
        flags: ``oidc-flags.yaml``; like what follows it is to be filled in.
        authentication: ``authentication.yaml``.
        kind: ``kind.yaml``.
        patch: What kubeadm changes in the pod of a KinD cluster's API server.
    """

    rbac: Document
    flags: Document
    authentication: Document
    kind: Document
    patch: Document

    @cached_property
    def oidc(self) -> Oidc:
        """How the API server reads a token."""
        return Oidc.model_validate(self.flags.data)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings, one for each group in them."""
        found = [_Rbac.model_validate(each) for each in self.rbac.documents]
        return tuple(
            Binding(name=each.metadata.name, group=subject.name, role=each.role.name)
            for each in found
            if each.role
            for subject in each.subjects
        )


class Access(_Model):
    """What the access matrix asks; ``expected`` has a user's verbs, allowed on every one of ``resources``."""

    verbs: Annotated[tuple[Verb, ...], Field(min_length=1)]
    resources: Annotated[tuple[Annotated[str, AfterValidator(_resource)], ...], Field(min_length=1)]
    expected: Mapping[str, tuple[Verb, ...]]


@dataclass(frozen=True)
class Workshop:
    """Everything the labs are about; equal to another by value."""

    realm: RealmSpec
    cluster: ClusterSpec
    access: Access

    @classmethod
    def load(cls, folder: Path = OWN, *, portal_url: str = "http://localhost:7007") -> Workshop:
        """Read and check the files.

        Args:
            folder: The folder that lies over labkit's own: a file that it lacks is labkit's.
            portal_url: Takes the place of ``${PORTAL_URL}``.

        Raises:
            WorkshopError: A file can't be read or says something that can't be done; ``why`` has a line per problem.
        """
        require_folder(folder)
        realm, rbac, access = (read(name, {"PORTAL_URL": portal_url}, folder) for name in ("realm.yaml", "rbac.yaml", "access.yaml"))
        flags, authentication, kind, patch = (read(name, {}, folder, later) for name, later in FILLED_IN.items())
        problems = [realm.problem((0, *place), what) for place, what in faults(realm.data)]
        one_document = (realm, flags, authentication, kind, patch, access)
        problems += [each.problem((1,), "should be one document: --- begins another") for each in one_document if len(each.documents) > 1]
        roles = [_checked(rbac, _Rbac, i, problems) for i in range(len(rbac.documents))]
        oidc, expected = _checked(flags, Oidc, 0, problems), _checked(access, Access, 0, problems)
        trust, node = _checked(authentication, Authentication, 0, problems), _checked(kind, Kind, 0, problems)
        if oidc and expected and trust and node and not problems:
            found = (
                (realm, contradictions(realm.data)),
                (rbac, _in_rbac([role for role in roles if role], RealmSpec(realm).groups)),
                (flags, in_flags(oidc, realm.data)),
                (authentication, in_authentication(trust, oidc)),
                (kind, in_kind(node)),
                (access, _in_access(expected, realm.data)),
            )
            problems = [
                document.problem(place if document is rbac else (0, *place), what) for document, all_ in found for place, what in all_
            ]
            if not problems:
                return cls(RealmSpec(realm), ClusterSpec(rbac, flags, authentication, kind, patch), expected)
        raise refusal(problems)

    def user(self, username: str) -> User:
        """The user of that name.

        Raises:
            WorkshopError: There is none; the message names those there are.
        """
        return _find("user", username, {user.username: user for user in self.realm.users})

    def client(self, client_id: str) -> Client:
        """The client with that id.

        Raises:
            WorkshopError: There is none; the message names those there are.
        """
        return _find("client", client_id, {client.client_id: client for client in self.realm.clients})


_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


def _checked(document: Document, model: type[_M], index: int, problems: list[str]) -> _M | None:
    """One of a file's documents; None when something was wrong with it, which is added to the problems."""
    data = document.documents[index] if document.documents else None
    try:
        return model.model_validate(data, by_name=False)
    except ValidationError as error:
        # No error is chained: pydantic's own quotes the file.
        keys = [str(field.validation_alias or name) for name, field in model.model_fields.items()]
        problems += [document.problem((index, *each["loc"]), _worded(each, keys)) for each in error.errors()]
        return None


_WORDING = {
    "missing": "is missing",
    "invalid_key": "a key should be text: put it in quotes",
    "string_type": "should be text: put it in quotes",
    "tuple_type": "should be a list",
    "dict_type": "should hold keys and values",
    "mapping_type": "should hold keys and values",
    "model_type": "should hold keys and values",
    "model_attributes_type": "should hold keys and values",
    "too_short": "is empty",
}


def _worded(error: ErrorDetails, keys: list[str]) -> str:
    """One of pydantic's errors, without the value unless its own rule tells it."""
    if error["type"] == "extra_forbidden":
        return f"unknown key{nearest(error['loc'][-1], keys)}"
    cause = error.get("ctx", {}).get("error")
    return str(cause or _WORDING.get(error["type"], error["msg"].removeprefix("Input ")))


def _in_rbac(objects: list[_Rbac], groups: tuple[str, ...]) -> Problems:
    names = [(each.kind, each.metadata.name) for each in objects]
    roles = [name for kind, name in names if kind == "ClusterRole"]
    for i, each in enumerate(objects):
        if names[i] in names[:i]:
            yield (i, "metadata", "name"), f'"{each.metadata.name}" is there twice, first as [{names.index(names[i])}].metadata.name'
        if each.kind == "ClusterRole" and each.metadata.name in BUILT_IN_ROLES:
            yield (i, "metadata", "name"), f'"{each.metadata.name}" is a role of Kubernetes\' own'
        if each.kind == "ClusterRoleBinding" and not each.role:
            yield (i, "roleRef"), "is missing"
        for number, subject in enumerate(each.subjects):
            yield from undeclared((i, "subjects", number, "name"), "group", subject.name, groups)
        if each.role:
            yield from undeclared((i, "roleRef", "name"), "role", each.role.name, BUILT_IN_ROLES.union(roles))


def _in_access(access: Access, realm: Representation) -> Problems:
    users = [user["username"] for user in realm.get("users", [])]
    yield from _once(("verbs",), access.verbs)
    yield from _once(("resources",), access.resources)
    for username, verbs in access.expected.items():
        yield from undeclared(("expected", username), "user", username, users)
        yield from _once(("expected", username), verbs)
        for i, verb in enumerate(verbs):
            yield from undeclared(("expected", username, i), "verb", verb, access.verbs)


def _once(place: Place, values: tuple[str, ...]) -> Iterator[tuple[Place, str]]:
    for i, value in enumerate(values):
        if value in values[:i]:
            yield (*place, i), f'"{value}" is there twice'


def _find(kind: str, name: str, there: Mapping[str, _T]) -> _T:
    if name not in there:
        msg = f'the workshop has no {kind} "{name}"'
        raise WorkshopError(msg, why=f"its {kind}s: {', '.join(there) or 'none'}", fix="take one of these, or declare it in realm.yaml")
    return there[name]
