"""Keycloak goes down, comes up again, changes its signing key: sessions, API server and kubectl follow."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from labkit.common.errors import KeycloakUnreachable, TokenInvalid
from labkit.config.settings import OIDC_STYLES
from labkit.identity.session import verify
from labkit.lab import Lab
from tests.faults.lab import assert_works, enter_everybody, kill
from tests.support import wait_for

DEV = "user-dev@kratix.io"
KEYS = "org.keycloak.keys.KeyProvider"


def kubectl_knows_dev(lab: Lab) -> bool:
    """Both of user-dev's contexts are user-dev."""
    return all(DEV in lab.cluster.kubectl(context, "auth", "whoami").output for context in ("user-dev", "user-dev-exec"))


@pytest.mark.fault(
    "Keycloak",
    "kill -9 of Keycloak while people are signed in",
    "tokens work until they expire; renewing says to run `labkit up`; after that sessions renew without a password",
)
def test_a_session_outlives_keycloak(lab: Lab) -> None:
    session = lab.session("user-dev")
    begun, signed_in = session.claims["sid"], time.time()
    assert kubectl_knows_dev(lab)
    # Keycloak's database (H2) writes what was committed within half a second (WRITE_DELAY).
    database = lab.settings.folder / "keycloak" / "data" / "h2" / "keycloakdb.mv.db"
    wait_for(lambda: database.stat().st_mtime > signed_in and time.time() > signed_in + 1)
    kill(lab, ["java"])
    wait_for(lambda: not lab.keycloak.is_running())
    assert lab.cluster.api(session).whoami().username == DEV
    assert kubectl_knows_dev(lab)
    with pytest.raises(KeycloakUnreachable) as caught:
        session.renew()
    assert caught.value.why == "it is not running"
    assert "labkit up" in caught.value.fix
    assert_works("up")
    session.renew()
    assert session.claims["sid"] == begun
    assert lab.cluster.api(session).whoami().username == DEV
    let_kubectl_renew(lab)
    assert kubectl_knows_dev(lab)


def let_kubectl_renew(lab: Lab) -> None:
    """Take the ID token from user-dev's contexts, so that the refresh token has to do."""
    kubeconfig, kept = lab.cluster.kubeconfig.path, lab.settings.folder / "credentials" / "user-dev.json"
    kubeconfig.write_text(re.sub(r"id-token: \S+", "id-token: ''", kubeconfig.read_text()))
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "expires": 0}))


def key_of(token: str) -> str:
    """The id of the key that a token is signed with."""
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


class SigningKeys:
    """The realm's RSA keys to sign with: the first one, and the one that takes over."""

    def __init__(self, lab: Lab) -> None:
        self._admin, self._realm = lab.realm.admin(), lab.workshop.realm.name
        self._realm_id = self._admin.get_realm(self._realm)["id"]
        found = self._admin.get_components({"type": KEYS, "parent": self._realm_id})
        (self._first,) = [key for key in found if key["providerId"] == "rsa"]
        self._second = ""

    def add(self) -> None:
        """From now on another key signs; the first one still counts."""
        config = {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]}
        wanted = {"name": "second", "providerId": "rsa-generated", "providerType": KEYS, "parentId": self._realm_id, "config": config}
        self._second = self._admin.create_component(wanted)

    def set_first(self, *, enabled: bool, active: bool) -> None:
        """Whether the first key counts at all, and whether it may sign."""
        flags = {"enabled": [str(enabled).lower()], "active": [str(active).lower()]}
        self._admin.update_component(self._first["id"], {**self._first, "config": {**self._first["config"], **flags}})

    def restore(self) -> None:
        """The first key alone, as before."""
        self.set_first(enabled=True, active=True)
        if self._second:
            self._admin.delete_component(self._second)


@pytest.fixture
def keys(lab: Lab) -> Iterator[SigningKeys]:
    made = SigningKeys(lab)
    yield made
    made.restore()
    enter_everybody(lab)


@pytest.fixture
def styled(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab with its API server configured in another style."""
    made = Lab(replace(lab.settings, oidc=request.param))
    made.cluster.start()
    yield made
    lab.cluster.start()


@pytest.mark.parametrize(
    "styled",
    [
        pytest.param(
            style,
            marks=pytest.mark.fault(
                "Keycloak",
                f"the realm's signing key is replaced, the API server is configured by {how}",
                "old tokens count as long as their key does; sessions and both kinds of kubectl context renew and are known at once",
            ),
        )
        for style, how in zip(OIDC_STYLES, ("a file", "flags"), strict=True)
    ],
    indirect=True,
)
def test_a_new_signing_key_is_followed_everywhere(styled: Lab, keys: SigningKeys) -> None:
    session, other = styled.session("user-dev"), styled.session("user-dev")
    styled.cluster.api(session).wait_until_known()
    old = session.tokens.id_token
    assert kubectl_knows_dev(styled)
    keys.add()
    session.renew()
    assert key_of(session.tokens.id_token) != key_of(old)
    assert styled.cluster.api(session).whoami().username == DEV
    let_kubectl_renew(styled)
    assert kubectl_knows_dev(styled)
    assert key_of(old) not in {key_of(token) for token in tokens_of_dev(styled)}

    keys.set_first(enabled=True, active=False)
    assert verify(styled.keycloak, old, audience="kube")["email"] == DEV
    known = styled.cluster.who(old)
    assert known is not None
    assert known.username == DEV

    keys.set_first(enabled=False, active=False)
    with pytest.raises(TokenInvalid):
        verify(styled.keycloak, old, audience="kube")
    begun = other.claims["sid"]
    other.renew()
    assert other.claims["sid"] == begun
    assert styled.cluster.api(other).whoami().username == DEV


def tokens_of_dev(lab: Lab) -> list[str]:
    """The ID tokens that user-dev's contexts use now."""
    user = lab.cluster.kubeconfig.entry("users", "user-dev")
    assert user is not None
    return [user["auth-provider"]["config"]["id-token"], json.loads(lab.credential("user-dev"))["status"]["token"]]
