"""The API server as one caller sees it: who am I to you, and may I do this?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.display import Displayed, shown
from ..common.errors import ApiUnreachable, ClusterError, Forbidden, Unauthorized
from ..common.waiting import wait_until
from .causes import Causes
from .provider import Endpoint
from .refusals import forbidden, unauthorized, unreachable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_ANSWER_SECONDS = 30
_DISCOVERY_SECONDS = 45
_RBAC_SECONDS = 15


@dataclass(frozen=True)
class Identity(Displayed):
    """Who the API server takes a caller for.

    Attributes:
        username: The user name that RBAC compares.
        groups: The groups that RBAC compares.
    """

    username: str
    groups: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.username} (groups: {shown(self.groups)})"


class Api:
    """The API server, asked with one caller's token.

    Args:
        endpoint: Where it is.
        token: Gives a token that is valid now; asked anew for each request.
        causes: What explains its refusals.
    """

    def __init__(self, endpoint: Endpoint, token: Callable[[], str], causes: Causes) -> None:
        self._endpoint, self._token, self._causes = endpoint, token, causes

    def client(self) -> ApiClient:
        """A client of the ``kubernetes`` package that shows the caller's token, for whatever the methods here don't cover."""
        # Imported on use: kubectl runs `labkit credential` for each command, and that needs none of it.
        from kubernetes.client import ApiClient, Configuration

        configuration = Configuration(host=self._endpoint.url, ssl_ca_cert=str(self._endpoint.ca), retries=0)

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
        """Ask by a SelfSubjectReview who the caller is (``kubectl auth whoami``).

        Raises:
            Unauthorized: The API server doesn't take the token.
            ApiUnreachable: Nothing answers.
        """
        from kubernetes.client import AuthenticationV1Api, V1SelfSubjectReview

        review = V1SelfSubjectReview(api_version="authentication.k8s.io/v1", kind="SelfSubjectReview")
        found = self.ask(lambda client: AuthenticationV1Api(client).create_self_subject_review(review)).status.user_info
        return Identity(found.username or "", tuple(found.groups or ()))

    def can(self, verb: str, resource: str, namespace: str = "", client: ApiClient | None = None) -> bool:
        """Ask by a SelfSubjectAccessReview whether the caller may do something (``kubectl auth can-i``).

        Args:
            verb: ``get``, ``create``, …
            resource: The plural name, with ``.GROUP`` unless it is in the core group: ``deployments.apps``.
            namespace: The namespace; empty for all of them, and for what has none.
            client: A client to use again when many questions are asked.
        """
        from kubernetes.client import (
            AuthorizationV1Api,
            V1ResourceAttributes,
            V1SelfSubjectAccessReview,
            V1SelfSubjectAccessReviewSpec,
        )

        plural, _, group = resource.partition(".")
        attributes = V1ResourceAttributes(verb=verb, resource=plural, group=group, namespace=namespace or None)
        review = V1SelfSubjectAccessReview(spec=V1SelfSubjectAccessReviewSpec(resource_attributes=attributes))
        answer = self.ask(lambda c: AuthorizationV1Api(c).create_self_subject_access_review(review), client)
        return bool(answer.status.allowed)

    def wait_until_known(self) -> Identity:
        """`whoami`, asked until the API server takes the token: it learns the realm's keys some seconds after its start.

        Raises:
            Unauthorized: It still refuses after 45 seconds, or the token is one that it never takes.
        """
        return wait_until(self.whoami, _DISCOVERY_SECONDS, pause=0.5, passing=lambda error: may_pass(error, Unauthorized, ApiUnreachable))

    def wait_until(self, verb: str, resource: str, *, allowed: bool) -> None:
        """Wait until `can` gives that answer: RBAC looks at copies of its objects, which follow a change within a moment.

        Raises:
            ClusterError: The answer is still the other one after 15 seconds.
        """
        msg = f"after {_RBAC_SECONDS} s the caller still {'may not' if allowed else 'may'} {verb} {resource}"
        late = ClusterError(msg, fix="look at the bindings of the caller's groups: lab 03-rbac")
        wait_until(lambda: self.can(verb, resource) == allowed, _RBAC_SECONDS, lambda _: late, pause=0.1)

    def ask(self, question: Callable[[ApiClient], Any], client: ApiClient | None = None) -> Any:
        """Put a question to the API server, its refusals turned into labkit's errors.

        Raises:
            Forbidden: 403.
            Unauthorized: 401.
            ApiUnreachable: Nothing answers.
            ClusterError: Another refusal, with the API server's own words.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return question(client or self.client())
        except ApiException as error:
            raise self._translated(error.status or 0, error.body or "") from None
        except HTTPError as error:
            msg = f"nothing answers at {self._endpoint.url}"
            raise unreachable(msg, type(error).__name__) from None

    def _translated(self, status: int, body: str) -> ClusterError:
        try:
            message = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            message = body[:300]
        if status == Forbidden.status:
            return forbidden(message, message, self._causes.of_403(self._shown))
        if status == 401:
            return unauthorized(f"the API server at {self._endpoint.url} does not take this token (401)", self._causes.of_401(self._shown))
        return ClusterError(f"the API server answered {status}", why=message)


def _in_time(request: Callable[..., Any], *args: Any, _request_timeout: Any = None, **options: Any) -> Any:
    return request(*args, _request_timeout=_request_timeout or _ANSWER_SECONDS, **options)


def may_pass(error: Exception, *kinds: type[ClusterError]) -> bool:
    """Whether an error is of one of these kinds, and asking again with the same token can help."""
    return isinstance(error, kinds) and not (isinstance(error, Unauthorized) and error.lasting)
