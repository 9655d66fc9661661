"""The workshop's realm in Keycloak: what has to change (plan), and changing it (apply)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakError, KeycloakGetError, raise_error_from_response

from ..common.errors import IdentityError
from ..workshop.workshop import Workshop
from .keycloak import failure
from .own_secrets import Given
from .plan import Plan
from .session import Claims
from .walk import Walk


class Realm:
    """The realm that a workshop declares.

    Args:
        admin: Gives a `KeycloakAdmin`, made with ``user_realm_name``: of the realm master, or of the realm itself.
        given: In a Keycloak of the lab's own, which secrets people have there: with other ones declared, they are given new passwords.
            None elsewhere: nobody who was there before gets a new password, and a realm that is made is guarded against guessing.
    """

    def __init__(self, admin: Callable[[], KeycloakAdmin], workshop: Workshop, given: Given | None = None) -> None:
        self._admin, self._workshop, self._given = admin, workshop, given

    def plan(self) -> Plan:
        """What `apply` would do; only reads. A realm that is not there yet is all to create.

        Raises:
            KeycloakUnreachable: Nothing answers, or with a certificate that the administrator's client does not trust.
            IdentityError: Keycloak refuses the administrator or a call.
        """
        return self._walk(self.admin(), write=False)

    def apply(self, plan: Plan | None = None) -> Plan:
        """Make the realm what the workshop declares; returns the plan that was carried out.

        Keycloak is read afresh, so a plan that has gone stale does no harm: what is done is what is needed now.

        Args:
            plan: The plan that was looked at, if one was; it must be this realm's.

        Raises:
            KeycloakUnreachable: As for `plan`.
            IdentityError: As for `plan`, or the plan is another realm's, or Keycloak did not keep what it accepted;
                what was done before stays done, and applying again does the rest.
        """
        name = self._workshop.realm.name
        if plan and plan.realm != name:
            raise IdentityError("plan-of-another-realm", plan=plan.realm, realm=name)
        admin = self.admin()
        done = self._walk(admin, write=True)
        if done.pending and (left := self._walk(admin, write=False).pending):
            fields = [f"{change.kind} {change.name}: {', '.join(each.field for each in change.fields) or 'all'}" for change in left]
            raise IdentityError("realm-not-kept", left="\n".join(fields))
        return done

    def admin(self) -> KeycloakAdmin:
        """A client of Keycloak's admin API, at work in this realm, for what no workshop declares; raises as `Keycloak.admin`."""
        admin = self._admin()
        admin.change_current_realm(self._workshop.realm.name)
        return admin

    def preview(self, username: str, scope: str = "openid") -> Claims:
        """What an ID token for the cluster would say of somebody who has not signed in; Keycloak's console shows it under *Evaluate*.

        Args:
            username: Anybody in the realm, declared or not.
            scope: The scopes that the client would ask for, separated by spaces.

        Raises:
            IdentityError: There is no such user or client.
        """
        client_id, admin = self._workshop.cluster.oidc.client_id, self.admin()
        what = f"a token of {username} through {client_id}"
        try:
            user, client = admin.get_user_id(username), admin.get_client_id(client_id)
            if not user or not client:
                raise IdentityError("realm-lacks", lacking=f"client {client_id}" if user else f"user {username}")
            path = f"admin/realms/{self._workshop.realm.name}/clients/{client}/evaluate-scopes/generate-example-id-token"
            answer = admin.connection.raw_get(path, userId=user, scope=scope)
            raise_error_from_response(answer, KeycloakGetError)
        except KeycloakError as error:
            raise failure(what, error) from None
        return Claims(f"an ID token of {username}, made for {client_id}, would say", answer.json())

    def _walk(self, admin: KeycloakAdmin, *, write: bool) -> Plan:
        with self._given.changing() if write and self._given else nullcontext():
            return Walk(admin, self._workshop.realm, self._given, write=write).plan()
