"""The API server as one caller sees it: who am I to you, and may I do this?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..common.display import LATE_SECONDS, Displayed, progress, shown
from ..common.errors import ApiUnreachable, ClusterError, Unauthorized, why_failed
from ..common.waiting import wait_until
from .provider import Endpoint
from .refusals import Causes, forbidden

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_ANSWER_SECONDS = 30
_DISCOVERY_SECONDS = 45
_RBAC_SECONDS = 15


@dataclass(frozen=True)
class Identity(Displayed):
    """Whom the API server takes a caller for: the user name and the groups that RBAC compares."""

    username: str
    groups: tuple[str, ...]

    def is_same(self, other: Identity) -> bool:
        """Whether both are the same to RBAC, which knows no order of groups."""
        return self.username == other.username and set(self.groups) == set(other.groups)

    def __str__(self) -> str:
        return f"{self.username} (groups: {shown(self.groups)})"


class Api:
    """The API server, asked with one caller's token; ``token`` is asked anew for each request."""

    def __init__(self, endpoint: Endpoint, token: Callable[[], str], causes: Causes) -> None:
        self._endpoint, self._token, self._causes = endpoint, token, causes

    def client(self) -> ApiClient:
        """A client of the ``kubernetes`` package that shows the caller's token, for whatever the methods here don't cover."""
        # Imported on use: kubectl runs `labkit credential` for each command, and that needs none of it.
        from kubernetes.client import ApiClient, Configuration

        configuration = Configuration(host=self._endpoint.url, ssl_ca_cert=str(self._endpoint.ca), retries=0)
        configuration.tls_server_name = self._endpoint.more.get("tls-server-name")
        if proxy := self._endpoint.more.get("proxy-url"):
            configuration.proxy, configuration.no_proxy = proxy, ""

        def hand_over(current: Any) -> None:
            self._shown = self._token()
            current.api_key["authorization"] = f"Bearer {self._shown}"

        configuration.refresh_api_key_hook = hand_over  # type: ignore[assignment] # the package declares it as None
        hand_over(configuration)
        client = ApiClient(configuration)
        # The package waits for an answer for ever, unless each call says otherwise.
        client.rest_client.request = partial(_in_time, client.rest_client.request)  # type: ignore[method-assign]
        return client

    def whoami(self) -> Identity:
        """Ask by a SelfSubjectReview who the caller is (``kubectl auth whoami``); see `ask` for what is raised."""
        from kubernetes.client import AuthenticationV1Api, V1SelfSubjectReview

        review = V1SelfSubjectReview(api_version="authentication.k8s.io/v1", kind="SelfSubjectReview")
        found = self.ask(lambda client: AuthenticationV1Api(client).create_self_subject_review(review)).status.user_info
        return Identity(found.username or "", tuple(found.groups or ()))

    def can(self, verb: str, resource: str, namespace: str = "") -> bool:
        """Ask by a SelfSubjectAccessReview whether the caller may do something (``kubectl auth can-i``).

        Args:
            verb: ``get``, ``create``, …
            resource: The plural name, with ``.GROUP`` unless it is in the core group: ``deployments.apps``.
            namespace: Empty for all of them, and for what has none.
        """
        from kubernetes import client as k8s

        plural, _, group = resource.partition(".")
        asked = k8s.V1ResourceAttributes(verb=verb, resource=plural, group=group, namespace=namespace or None)
        review = k8s.V1SelfSubjectAccessReview(spec=k8s.V1SelfSubjectAccessReviewSpec(resource_attributes=asked))
        answer = self.ask(lambda c: k8s.AuthorizationV1Api(c).create_self_subject_access_review(review))
        return bool(answer.status.allowed)

    def wait_until_known(self, fault: Callable[[], ClusterError | None] = lambda: None) -> Identity:
        """`whoami`, asked until the API server takes the token: it learns the realm's keys some seconds after its start.

        Args:
            fault: Asked after each refusal; what it finds to be wrong is raised at once.

        Raises:
            ClusterError: The last refusal after 45 seconds, or the first one that can't pass.
        """

        def passing(error: Exception) -> bool:
            if isinstance(error, ClusterError) and (known := fault()):
                raise known from None
            # A fresh control plane answers before it knows keys (401), has read its RBAC rules (403), or has caches (500, 503).
            return isinstance(error, ClusterError) and not (isinstance(error, Unauthorized) and error.lasting)

        with progress("waiting until the API server knows the realm's keys", after=LATE_SECONDS):
            return wait_until(self.whoami, _DISCOVERY_SECONDS, pause=0.5, passing=passing)

    def wait_until(self, verb: str, resource: str, *, allowed: bool) -> None:
        """Wait up to 15 seconds until `can` gives that answer: RBAC looks at copies of its objects, which follow a change in a moment."""
        may = "may not" if allowed else "may"

        def late(_: Exception) -> ClusterError:
            return ClusterError("rbac-not-followed", seconds=_RBAC_SECONDS, may=may, verb=verb, resource=resource)

        with progress(f"waiting until RBAC lets the caller {'' if allowed else 'not '}{verb} {resource}", after=LATE_SECONDS):
            wait_until(lambda: self.can(verb, resource) == allowed, _RBAC_SECONDS, late, pause=0.1)

    def ask(self, question: Callable[[ApiClient], Any]) -> Any:
        """Put a question to the API server; a refusal is raised as Unauthorized, Forbidden, ApiUnreachable or another ClusterError."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return question(self._own_client)
        except ApiException as error:
            refusal = self._refusal(error.status or 0, error.body or "")
            self._causes.explain(refusal, self._shown)
            raise refusal from None
        except HTTPError as error:
            raise ApiUnreachable(self._causes.stranger() or "api-unreachable", url=self._endpoint.url, error=why_failed(error)) from None

    @cached_property
    def _own_client(self) -> ApiClient:
        """The one that all questions go through: a new one would meet the server anew."""
        return self.client()

    def _refusal(self, status: int, body: str) -> ClusterError:
        try:
            message = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            message = body[:300]
        if status == 401:
            return Unauthorized("api-401", url=self._endpoint.url)
        return forbidden(message) if status == 403 else ClusterError("api-error", status=status, message=message)


def _in_time(request: Callable[..., Any], *args: Any, _request_timeout: Any = None, **options: Any) -> Any:
    return request(*args, _request_timeout=_request_timeout or _ANSWER_SECONDS, **options)
