"""The workshop, declared once: the realm, the cluster's view of it, and who is expected to be able to do what.

The defaults are in ``workshop.yaml`` beside this module; `Workshop.load` reads that file or one like it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from .errors import WorkshopError
from .workshop_values import (
    BUILT_IN_ROLES,
    BUILT_IN_SCOPES,
    Email,
    GroupName,
    Name,
    RealmName,
    RedirectUri,
    Resource,
    Secret,
    UniqueKeyLoader,
    Username,
    Verb,
    worded,
    yaml_worded,
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class User(_Model):
    """Somebody who signs in; ``password`` is set when Keycloak's account is created."""

    username: Username
    email: Email
    email_verified: StrictBool
    first_name: Name
    last_name: Name
    enabled: StrictBool
    password: Secret
    groups: tuple[Name, ...]


class GroupMembershipMapper(_Model):
    """Writes the user's groups into ``claim``, as ``/parent/child`` if ``full_path``."""

    type: Literal["group-membership"]
    name: Name
    claim: Name
    full_path: StrictBool


class AudienceMapper(_Model):
    """Adds ``included_custom_audience`` to a token's ``aud``."""

    type: Literal["audience"]
    name: Name
    included_custom_audience: Name


Mapper = Annotated[GroupMembershipMapper | AudienceMapper, Field(discriminator="type")]


class ClientScope(_Model):
    """A bundle of claims; ``gui_order`` is its place in Keycloak's console."""

    name: Name
    include_in_token_scope: StrictBool
    gui_order: StrictInt
    mappers: tuple[Mapper, ...]


class Client(_Model):
    """A confidential OpenID Connect client; ``default_scopes`` is all of its default client scopes."""

    client_id: Name
    name: Name
    enabled: StrictBool
    secret: Secret
    standard_flow: StrictBool
    implicit_flow: StrictBool
    direct_access_grants: StrictBool
    redirect_uris: tuple[RedirectUri, ...]
    default_scopes: tuple[Name, ...]
    mappers: tuple[Mapper, ...]


class RealmSpec(_Model):
    """What the workshop declares of its realm."""

    name: RealmName
    groups: tuple[GroupName, ...]
    users: tuple[User, ...]
    client_scopes: tuple[ClientScope, ...]
    clients: tuple[Client, ...]


class Oidc(_Model):
    """How the API server reads a token: the audience it asks for, and the claims that name user and groups."""

    client_id: Name
    username_claim: Name
    groups_claim: Name


class Rule(_Model):
    """One rule of a cluster role; ``"*"`` is everything."""

    api_groups: tuple[str, ...]
    resources: tuple[Name, ...]
    verbs: tuple[Name, ...]


class Role(_Model):
    """A cluster role."""

    name: Name
    rules: tuple[Rule, ...]


class Binding(_Model):
    """A cluster role binding that gives ``role`` to everybody in ``group``."""

    name: Name
    group: Name
    role: Name


class ClusterSpec(_Model):
    """What the workshop declares of its cluster."""

    oidc: Oidc
    roles: tuple[Role, ...]
    bindings: tuple[Binding, ...]


class Access(_Model):
    """What the access matrix asks; ``expected`` has a user's verbs, allowed on every one of ``resources``."""

    verbs: Annotated[tuple[Verb, ...], Field(min_length=1)]
    resources: Annotated[tuple[Resource, ...], Field(min_length=1)]
    expected: Mapping[str, tuple[Verb, ...]]


class Workshop(_Model):
    """Everything the labs are about; equal to another by value."""

    realm: RealmSpec
    cluster: ClusterSpec
    access: Access

    @classmethod
    def load(cls, path: Path, *, portal_port: int = 7007) -> Workshop:
        """Read and check a workshop file.

        Args:
            path: A file such as ``workshop.yaml``.
            portal_port: The port that takes the place of ``{portal_port}`` in redirect URIs.

        Raises:
            WorkshopError: The file can't be read or says something that can't be done; ``why`` has a line per problem.
        """
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)  # noqa: S506
            workshop = cls.model_validate(data, context={"portal_port": portal_port})
        except OSError as error:
            msg = f"the workshop file {path} can't be read"
            fix = "set LABKIT_WORKSHOP to a file that you may read, or unset it to use labkit's own"
            raise WorkshopError(msg, why=error.strerror or str(error), fix=fix) from error
        except ValidationError as error:
            problems = [worded(each) + _meant(each["type"], each["loc"]) for each in error.errors()]
        except yaml.MarkedYAMLError as error:
            problems = [yaml_worded(error)]
        except (yaml.YAMLError, ValueError) as error:
            problems = [f"this is no YAML text: {error}"]
        else:
            problems = list(_contradictions(workshop))
        if problems:
            # No error is chained: pydantic's and YAML's own quote the file, passwords included.
            msg = f"{path} has {len(problems)} problem{'s' if len(problems) > 1 else ''}"
            raise WorkshopError(msg, why="\n".join(problems), fix=f"correct {path.name}; comments in labkit's own say what each key means")
        return workshop

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
_KEYS = sorted({key for model in _Model.__subclasses__() for key in model.model_fields})


def _meant(error_type: str, place: tuple[int | str, ...]) -> str:
    close = difflib.get_close_matches(str(place[-1]), _KEYS, 1, cutoff=0.7) if error_type == "extra_forbidden" else []
    return f" (did you mean {close[0]}?)" if close else ""


def _contradictions(workshop: Workshop) -> Iterator[str]:
    """Problems between values that are each good alone, as ``path: what is wrong``."""
    realm, cluster, access = workshop.realm, workshop.cluster, workshop.access
    yield from _twice("realm.groups[{}]", realm.groups)
    yield from _twice("realm.users[{}].username", [user.username for user in realm.users])
    yield from _twice("realm.users[{}].email", [user.email for user in realm.users])
    for i, user in enumerate(realm.users):
        yield from _twice(f"realm.users[{i}].groups[{{}}]", user.groups)
        yield from _undeclared(f"realm.users[{i}].groups[{{}}]", "group", user.groups, realm.groups)
    yield from _twice("realm.client_scopes[{}].name", [scope.name for scope in realm.client_scopes])
    for i, scope in enumerate(realm.client_scopes):
        yield from _twice(f"realm.client_scopes[{i}].mappers[{{}}].name", [mapper.name for mapper in scope.mappers])
    clients = [client.client_id for client in realm.clients]
    scopes = BUILT_IN_SCOPES.union(scope.name for scope in realm.client_scopes)
    yield from _twice("realm.clients[{}].client_id", clients)
    for i, client in enumerate(realm.clients):
        yield from _twice(f"realm.clients[{i}].default_scopes[{{}}]", client.default_scopes)
        yield from _undeclared(f"realm.clients[{i}].default_scopes[{{}}]", "client scope", client.default_scopes, scopes)
        yield from _twice(f"realm.clients[{i}].mappers[{{}}].name", [mapper.name for mapper in client.mappers])
    yield from _undeclared("cluster.oidc.client_id", "client", [cluster.oidc.client_id], clients)
    roles = [role.name for role in cluster.roles]
    yield from _twice("cluster.roles[{}].name", roles)
    for i in (i for i, role in enumerate(roles) if role in BUILT_IN_ROLES):
        yield f'cluster.roles[{i}].name: "{roles[i]}" is a role of Kubernetes\' own'
    yield from _twice("cluster.bindings[{}].name", [binding.name for binding in cluster.bindings])
    yield from _undeclared("cluster.bindings[{}].group", "group", [binding.group for binding in cluster.bindings], realm.groups)
    yield from _undeclared("cluster.bindings[{}].role", "role", [binding.role for binding in cluster.bindings], BUILT_IN_ROLES.union(roles))
    yield from _twice("access.verbs[{}]", access.verbs)
    yield from _twice("access.resources[{}]", access.resources)
    users = [user.username for user in realm.users]
    for username, verbs in access.expected.items():
        yield from _undeclared(f"access.expected.{username}", "user", [username], users)
        yield from _twice(f"access.expected.{username}[{{}}]", verbs)
        yield from _undeclared(f"access.expected.{username}[{{}}]", "verb", verbs, access.verbs)


def _twice(path: str, values: Sequence[str]) -> Iterator[str]:
    for i, value in enumerate(values):
        if value in values[:i]:
            yield f'{path.format(i)}: "{value}" is there twice, first as {path.format(values.index(value))}'


def _undeclared(path: str, kind: str, values: Sequence[str], declared: Collection[str]) -> Iterator[str]:
    for i, value in enumerate(values):
        if value not in declared:
            known = declared if isinstance(declared, Sequence) else sorted(declared)
            yield f'{path.format(i)}: there is no {kind} "{value}" ({kind}s: {", ".join(known) or "none"})'


def _find(kind: str, name: str, there: Mapping[str, _T]) -> _T:
    if name not in there:
        msg = f'the workshop has no {kind} "{name}"'
        raise WorkshopError(msg, why=f"its {kind}s: {', '.join(there) or 'none'}", fix="take one of these, or declare it in workshop.yaml")
    return there[name]
