"""The workshop, as the files of the platform folder declare it: the realm, the cluster, and who should be able to do what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ..common.errors import WorkshopError
from ..common.platform_folder import OWN, require_folder
from .fields import Representation, faults
from .files import ACCESS, AUTHENTICATION, FILLED_IN, FLAGS, KIND, PATCH, RBAC, REALM, Document, Place, read, refusal
from .rules import disagreements, group_paths

_SHAPES = {REALM: "realm", RBAC: "rbac", FLAGS: "flags", AUTHENTICATION: "authentication", KIND: "kind", ACCESS: "access"}
"""What each file holds, as ``fields.yaml`` describes it."""

PORTAL_PATH = "/api/auth/keycloak/handler/frame"
"""Where Keycloak sends people back to the portal, below its address."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Secret:
    """A text that nothing shows by accident."""

    _text: str = field(repr=False)

    def get_secret_value(self) -> str:
        return self._text


@dataclass(frozen=True)
class User:
    """Somebody who signs in; ``groups`` are named as tokens name them, without their paths."""

    username: str
    email: str
    first_name: str
    last_name: str
    password: Secret
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Client:
    """An OpenID Connect client; a public one has an empty secret."""

    client_id: str
    secret: Secret


@dataclass(frozen=True)
class Binding:
    """A binding gives ``role`` to everybody in ``group``: in one ``namespace``, or everywhere if that is empty."""

    name: str
    group: str
    role: str
    namespace: str = ""

    @property
    def everything(self) -> bool:
        """Whether it lets everybody in the group do everything in the cluster."""
        return self.role == "cluster-admin" and not self.namespace


@dataclass(frozen=True)
class Oidc:
    """How the API server reads a token: the audience that it asks for, and the claims that name user and groups."""

    client_id: str
    username_claim: str
    groups_claim: str


@dataclass(frozen=True)
class Access:
    """What the access matrix asks; ``expected`` has a user's verbs, allowed on every one of ``resources``."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...]
    expected: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RealmSpec:
    """What the workshop declares of its realm, in ``realm.yaml``."""

    document: Document

    @property
    def representation(self) -> Representation:
        """The whole file, as Keycloak's RealmRepresentation."""
        return dict(self.document.data)

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
        return tuple(
            User(
                username=user["username"],
                email=user["email"],
                first_name=user["firstName"],
                last_name=user["lastName"],
                password=Secret(user["credentials"][0]["value"]),
                groups=tuple(_last(path) for path in user["groups"]),
            )
            for user in self.representation.get("users", [])
        )

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """The clients."""
        return tuple(Client(each["clientId"], Secret(each.get("secret", ""))) for each in self.representation.get("clients", []))

    def path(self, group: str) -> str:
        """The path of a declared group, such as ``/team/kube-dev``."""
        return next(path for path in group_paths(self.representation) if _last(path) == group)

    def with_values(self, values: Mapping[Place, str | list[str]]) -> RealmSpec:
        """The same realm with other values; see `Document.with_values`."""
        return RealmSpec(self.document.with_values(values))


@dataclass(frozen=True)
class ClusterSpec:
    """What the workshop declares of its cluster; all but ``rbac`` is to be filled in.

    Attributes:
        rbac: ``rbac.yaml``: roles and their bindings, as the API server takes them.
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
        return Oidc(*(self.flags.data[f"oidc-{name}"] for name in ("client-id", "username-claim", "groups-claim")))

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings, one for each group in them."""
        return tuple(
            Binding(each["metadata"]["name"], subject["name"], each["roleRef"]["name"], each["metadata"].get("namespace", ""))
            for each in self.rbac.documents
            for subject in each.get("subjects", [])
            if "roleRef" in each
        )


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
        files = {name: read(name, {"PORTAL_URL": portal_url}, folder) for name in (REALM, RBAC, ACCESS)}
        files |= {name: read(name, {}, folder, later) for name, later in FILLED_IN.items()}
        problems = [
            each.problem((1,), "should be one document: --- begins another")
            for name, each in files.items()
            if name != RBAC and len(each.documents) > 1
        ]
        for name, shape in _SHAPES.items():
            documents = files[name].documents if name == RBAC else [files[name].data]
            found = (((i, *place), what) for i, data in enumerate(documents) for place, what in faults(shape, data))
            problems += [files[name].problem(place, what) for place, what in found]
        problems = problems or list(disagreements(files))
        if problems:
            raise refusal(problems)
        access = files[ACCESS].data
        expected = {username: tuple(verbs) for username, verbs in access["expected"].items()}
        cluster = ClusterSpec(*(files[name] for name in (RBAC, FLAGS, AUTHENTICATION, KIND, PATCH)))
        return cls(RealmSpec(files[REALM]), cluster, Access(tuple(access["verbs"]), tuple(access["resources"]), expected))

    @property
    def administrator(self) -> User:
        """The first person in ``access.yaml`` who may do everything; raises WorkshopError if nobody may."""
        may_all = [name for name, verbs in self.access.expected.items() if set(verbs) == set(self.access.verbs)]
        groups = {binding.group for binding in self.cluster.bindings if binding.everything}
        return self._first("administrator", (user for user in map(self.user, may_all) if groups & set(user.groups)))

    @property
    def reader(self) -> User:
        """The first person in ``access.yaml`` who may list, may change nothing, and has this from one group's binding."""
        reading = {"get", "list", "watch"}
        may_read = [name for name, verbs in self.access.expected.items() if "list" in verbs and set(verbs) <= reading]
        return self._first("reader", (user for user in map(self.user, may_read) if self._bindings(user)))

    def reader_of(self, resource: str) -> User:
        """The reader; raises WorkshopError unless ``access.yaml`` says that they read this resource, too."""
        return self._first(f"reader of {resource}", [self.reader] if resource in self.access.resources else [])

    @property
    def reading(self) -> Binding:
        """The binding, and with it the group and the role, by which the reader may read everywhere."""
        return self._bindings(self.reader)[0]

    @property
    def api_client(self) -> Client:
        """The client that people sign in through for kubectl: the audience that the API server asks for."""
        return self.client(self.cluster.oidc.client_id)

    @property
    def portal_client(self) -> Client:
        """The client that people sign in to the portal through: the first with the portal's redirect URI; WorkshopError if none has it."""
        clients = self.realm.representation.get("clients", [])
        found = (each["clientId"] for each in clients if any(uri.endswith(PORTAL_PATH) for uri in each["redirectUris"]))
        return self._first("portal's client", map(self.client, found))

    def _bindings(self, user: User) -> list[Binding]:
        return [each for each in self.cluster.bindings if each.group in user.groups and not each.namespace]

    @staticmethod
    def _first(role: str, those: Iterable[_T]) -> _T:
        if (found := next(iter(those), None)) is None:
            raise WorkshopError("workshop-lacks", role=role)
        return found

    def user(self, username: str) -> User:
        """The user of that name; a WorkshopError names those there are."""
        return _find("user", username, {user.username: user for user in self.realm.users})

    def client(self, client_id: str) -> Client:
        """The client with that id; a WorkshopError names those there are."""
        return _find("client", client_id, {client.client_id: client for client in self.realm.clients})


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _find(kind: str, name: str, there: Mapping[str, _T]) -> _T:
    if name not in there:
        raise WorkshopError("not-in-workshop", kind=kind, name=name, there=", ".join(there) or "none")
    return there[name]
