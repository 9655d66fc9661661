"""The portal as one signed-in person uses it: catalog, templates and their tasks, and the cluster through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from ..cluster.api import Identity
from ..cluster.cluster import Cluster
from ..common.display import LATE_SECONDS, progress, shown
from ..common.errors import Forbidden, InvalidValues, NotPermitted, NotSignedIn, PortalError, TemplateUnknown, Unauthorized
from ..common.exchanges import Exchange
from ..common.waiting import wait_until
from ..config.files import write_private
from ..identity.session import read_claims
from .answers import Catalog, Known, TaskResult, beside, follow, location_ref, problems, read_template, ref_of, translated
from .browser import Browser, SignedIn
from .config import PROVIDER

RENEW_SECONDS = 30
"""Tokens with less time left than this are renewed before they are used."""

_CATALOG_SECONDS = 60


class PortalSession:
    """Somebody signed in to the portal, or ``guest``. Tokens are renewed as a page would, before they expire."""

    def __init__(
        self, username: str, browser: Browser, signed_in: SignedIn, cluster: Cluster, templates: Path, publishers: Sequence[str]
    ) -> None:
        self.username = username
        self._browser, self._signed_in, self._cluster, self._templates = browser, signed_in, cluster, templates
        self._publishers = publishers
        self._signed_out = False
        self._renewing = threading.RLock()

    def __repr__(self) -> str:
        state = "signed out" if self._signed_out else f"{self._signed_in.expires - time.time():.0f} s left"
        return f"<PortalSession of {self._signed_in.user_ref}, {state}>"

    @property
    def keycloak_tokens(self) -> tuple[str, ...]:
        """The Keycloak tokens that the page has been given; none for a guest."""
        return tuple(token for token in (self._signed_in.id_token, self._signed_in.access_token) if token)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The last of what their browser asked the portal and Keycloak."""
        return tuple(self._browser.exchanges)

    def sign_out(self) -> None:
        """Sign out of the portal, which tells Keycloak.

        Raises:
            PortalUnreachable: The portal does not answer.
        """
        self._browser.sign_out()
        self._signed_out = True

    def renew(self) -> None:
        """Get new tokens with what the browser keeps: a cookie and a key.

        Raises:
            NotSignedIn: The session has ended.
        """
        with self._renewing:
            self._signed_in = self._browser.refresh()

    def known(self) -> Known:
        """What the portal knows of this person."""
        signed_in = self._fresh()
        try:
            told = self.ask("GET", "ske/session")
        except NotSignedIn:
            told = {}
        claims = tuple(sorted(read_claims(signed_in.backstage_token) or ()))
        return Known(signed_in.user_ref, signed_in.owns_as, tuple(told.get("groups", ())), int(told.get("expires", 0)), claims)

    def whoami(self) -> Identity:
        """Who the API server takes this person for when the portal asks in their name."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        found = self.proxy("POST", "apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
        return Identity(found.get("username", ""), tuple(found.get("groups", ())))

    def catalog(self, kind: str = "") -> Catalog:
        """What the catalog has of a kind, such as ``template``, ``user``, ``group``; everything if it is left out."""
        return Catalog(tuple(self.ask("GET", "catalog/entities", params={"filter": f"kind={kind}"} if kind else {})))

    def run_template(
        self, ref: str, values: Mapping[str, Any], secrets: Mapping[str, str] | None = None, say: Callable[[str], None] = print
    ) -> TaskResult:
        """Run a template as this person, and say what its task says until it ends.

        Args:
            ref: The template, such as ``template:default/configmap``.
            values: What its form asks for.
            secrets: Handed to the task and to nobody else; ``keycloakToken`` is one to act with instead of the signed-in person's.
            say: Shows a line of the task's log.

        Raises:
            TemplateUnknown: No such template is registered.
            InvalidValues: Its form does not take the values.
            NotPermitted: The portal's rules forbid it.
            Forbidden: The API server forbids what the task tried; the words are its own.
            TaskFailed: The task failed otherwise.
        """
        body = {"templateRef": ref, "values": dict(values)} | ({"secrets": dict(secrets)} if secrets else {})
        answer = self._send("POST", "scaffolder/v2/tasks", json=body)
        if answer.status_code == requests.codes.not_found:
            known = ", ".join(self.catalog("template").refs) or "none"
            raise TemplateUnknown("template-unknown", template=ref, registered=known)
        if answer.status_code == requests.codes.bad_request and (wrong := problems(answer)):
            raise InvalidValues("template-values", template=ref, complaints="\n".join(wrong), problems=wrong)
        task, began = str(self._checked(answer, "")["id"]), time.time()
        stream = self._send("GET", f"scaffolder/v2/tasks/{task}/eventstream", stream=True)
        if not stream.ok:
            raise translated(stream)
        try:
            with stream:
                return follow(stream.iter_lines(decode_unicode=True), task, ref, say)
        except Unauthorized as error:
            self._cluster.causes.explain(error, self._signed_in.access_token)
            raise
        finally:
            self._browser.note("portal", stream, began)

    def register_template(self, source: Path | str) -> str:
        """Publish a template by its address, or by copying its file to where this portal looks for templates; return its reference.

        Raises:
            NotPermitted: This person is no publisher.
            PortalError: It is no template, needs files beside its own, or can't be read.
        """
        by_address = isinstance(source, str) and "://" in source
        try:
            return self._register_address(str(source)) if by_address else self._register_file(Path(source))
        except NotPermitted as refused:
            raise NotPermitted("portal-not-publisher", publisher=self.username, groups=shown(self._publishers)) from refused

    def resource(self, kind: str, name: str, api_version: str = "v1", namespace: str = "") -> dict[str, Any]:
        """An object of the cluster, read with this person's own rights through ``/api/ske/resource``.

        Raises:
            Forbidden: The API server's 403.
            PortalError: There is no such object, or another no.
        """
        wanted = {"kind": kind, "name": name, "apiVersion": api_version, "namespace": namespace}
        return dict(self.ask("GET", "ske/resource", params=wanted)["manifest"])

    def delete_resource(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object of the core API with this person's own rights; raises what `resource` does."""
        self.ask("POST", "ske/delete-resource", json={"kind": kind, "name": name, "apiVersion": "v1", "namespace": namespace})

    def proxy(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API server through the portal, which hands this person's ID token on and adds no right of its own.

        Raises:
            Unauthorized: The API server's 401, with its cause.
            Forbidden: The API server's 403.
            ClusterError: Another refusal of the API server's.
            PortalError: The portal itself refuses.
        """
        token = self._fresh().id_token
        headers = {
            "Backstage-Kubernetes-Cluster": self._cluster.endpoint.name,
            f"Backstage-Kubernetes-Authorization-oidc-{PROVIDER}": token,
        }
        return self._checked(self._send(method, f"kubernetes/proxy/{path.lstrip('/')}", json=body, headers=headers), token)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """Ask one of the portal's own APIs, such as ``catalog/entities``, and return the JSON of the answer; None if it is empty.

        Raises:
            PortalError: It refuses, with its words.
        """
        return self._checked(self._send(method, path, **more), self._signed_in.access_token)

    def _register_address(self, address: str) -> str:
        found = self.ask("POST", "catalog/locations", params={"dryRun": "true"}, json={"type": "url", "target": address})
        ref = next((ref for ref in Catalog(tuple(found["entities"])).refs if ref.startswith("template:")), "")
        if not ref:
            raise PortalError("template-address", address=address)
        if not found["exists"]:
            self.ask("POST", "catalog/locations", json={"type": "url", "target": address})
        self._wait_for_template(ref)
        return ref

    def _register_file(self, file: Path) -> str:
        template = read_template(file)
        # Only its form matters to this question, which wants an address.
        self.ask("POST", "catalog/validate-entity", json={"entity": template, "location": f"url:https://localhost/{file.name}"})
        if others := list(beside(template["spec"])):
            raise PortalError("template-beside", file=file, others=shown(others))
        write_private(self._templates / f"{template['metadata']['name']}.yaml", file.read_bytes())
        self.ask("POST", "catalog/refresh", json={"entityRef": location_ref(f"{self._templates}/*.yaml")})
        self._wait_for_template(ref_of(template), template["spec"])
        return ref_of(template)

    def _wait_for_template(self, ref: str, spec: object = None) -> None:
        """The catalog reads a registered location within a second or two."""

        def is_there() -> bool:
            return any(ref_of(entity) == ref and spec in (None, entity["spec"]) for entity in self.catalog("template").entities)

        with progress(f"waiting until the catalog has read {ref}", after=LATE_SECONDS):
            wait_until(is_there, _CATALOG_SECONDS, lambda _: PortalError("template-not-taken", template=ref, seconds=_CATALOG_SECONDS))

    def _fresh(self) -> SignedIn:
        if self._signed_out:
            raise NotSignedIn("portal-signed-out", user=self.username)
        with self._renewing:
            if self._signed_in.expires - time.time() < RENEW_SECONDS:
                self.renew()
            return self._signed_in

    def _send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> requests.Response:
        shown_by = {"Authorization": f"Bearer {self._fresh().backstage_token}", **(headers or {})}
        return self._browser.send(method, f"/api/{path}", headers=shown_by, **more)

    def _checked(self, answer: requests.Response, token: str) -> Any:
        """The JSON of an answer; of a refusal of the API server's, the cause is looked up in the token that the portal showed it."""
        if answer.ok:
            return answer.json() if answer.content else None
        error = translated(answer)
        if isinstance(error, Unauthorized | Forbidden):
            self._cluster.causes.explain(error, token)
        raise error
