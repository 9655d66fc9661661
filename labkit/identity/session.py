"""One person's sign-in: tokens from the password grant, verified before use, renewed before they expire, ended on sign-out.

Only the lab signs in this way. The password grant (RFC 6749, section 4.3) hands a person's password to a client, which current
practice forbids (RFC 9700, section 2.4); it is here because it needs no browser, and because the article behind the workshop uses it.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from ..common.display import Table, Tabular, shown
from ..common.errors import SignInRefused, TokenInvalid
from ..common.problems import recognised
from ..workshop.rules import ALGORITHMS
from ..workshop.workshop import Client, User
from .credential_cache import RENEW_SECONDS
from .keycloak import Keycloak

_CLOCK_SECONDS = 60
_VERIFIABLE = (*ALGORITHMS, "EdDSA")
_TIMES = ("iat", "exp", "auth_time", "nbf")


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint gave; its ``repr`` shows none of it.

    Attributes:
        id_token: Says who signed in, to the client (OpenID Connect Core 1.0, section 2).
        access_token: What a client shows to an API.
        refresh_token: Gets new ones without the password.
        claims: The ID token's, verified.
    """

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Claims(Tabular):
    """What a verified token says; ``title`` is whose and which token it is."""

    title: str
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A claim, or ``default`` when the token lacks it."""
        return self.values.get(name, default)

    def table(self) -> Table:
        """A row per claim, by name."""
        rows = tuple((name, claim_text(name, value)) for name, value in sorted(self.values.items()))
        return Table(("claim", "value"), rows, title=self.title)


def side_by_side(*tokens: Claims, reader: Mapping[str, str]) -> Table:
    """Tokens' claims beside each other, a column each; ``reader`` says by claim who reads it, for the last column."""
    names = sorted({name for token in tokens for name in token.values})
    rows = [(name, *(claim_text(name, token.get(name)) for token in tokens), reader.get(name, "")) for name in names]
    return Table(("claim", *(token.title for token in tokens), "who reads it"), tuple(rows))


def claim_text(name: str, value: object) -> str:
    """A claim for a reader: times as dates beside the number."""
    if name in _TIMES and isinstance(value, int):
        return f"{value} ({time.strftime('%H:%M:%S', time.gmtime(value))} UTC)"
    return shown(value)


class Session:
    """One user signed in through one client, the audience of the ID token; made by `sign_in`. Several threads may use it."""

    def __init__(self, keycloak: Keycloak, client: Client, username: str, tokens: Tokens) -> None:
        self._keycloak, self._client, self._tokens = keycloak, client, tokens
        self.username, self.client_id = username, client.client_id
        self._signed_out = False
        # A refresh token may be good for one use only (Keycloak's *Revoke Refresh Token*): one thread renews for all.
        self._renewing = threading.RLock()

    def __repr__(self) -> str:
        left = "signed out" if self._signed_out else f"{self.expires - time.time():.0f} s left"
        return f"<Session of {self.username} through {self.client_id}, {left}>"

    @property
    def claims(self) -> Claims:
        """The ID token's claims, verified."""
        return Claims(f"ID token of {self.username}, made for {self.client_id}", self.tokens.claims)

    @property
    def tokens(self) -> Tokens:
        """The tokens, renewed first if they are about to expire.

        Raises:
            SignInRefused: The session has ended in Keycloak.
        """
        with self._renewing:
            if self._signed_out:
                raise SignInRefused("signed-out", user=self.username)
            if self.expires - time.time() < RENEW_SECONDS:
                self.renew()
            return self._tokens

    @property
    def expires(self) -> int:
        """When the ID token expires, in seconds since 1970 (UTC)."""
        return int(self._tokens.claims["exp"])

    def access_claims(self) -> Claims:
        """The access token's claims, verified for signature, issuer and expiry; it need not name an audience."""
        values = verify(self._keycloak, self.tokens.access_token, audience=None)
        return Claims(f"access token of {self.username}, made for {self.client_id}", values)

    def renew(self) -> None:
        """Get new tokens with the refresh token (RFC 6749, section 6).

        Raises:
            SignInRefused: The session has ended: by sign-out, by an administrator, or by 30 minutes without use.
        """
        with self._renewing:
            self._tokens = resume(self._keycloak, self._client, self.username, self._tokens.refresh_token)._tokens

    def sign_out(self) -> None:
        """End the session in Keycloak (OpenID Connect RP-Initiated Logout 1.0); its refresh token is worth nothing afterwards.

        An ID token that was handed out before stays good until it expires: nobody who only checks signatures can know.
        """
        with self._renewing:
            answer = _post(self._keycloak, self._client, "logout", {"refresh_token": self._tokens.refresh_token})
            if answer.status_code not in (requests.codes.no_content, requests.codes.bad_request):
                raise _refusal(answer, f"Keycloak did not sign {self.username} out")
            self._signed_out = True


def sign_in(keycloak: Keycloak, client: Client, user: User) -> Session:
    """Sign a user in by the password grant, and verify what comes back.

    Raises:
        KeycloakUnreachable: Nothing answers.
        SignInRefused: A wrong password, a disabled user, an unknown client, …
        TokenInvalid: The answer doesn't hold.
    """
    grant = {"grant_type": "password", "username": user.username, "password": user.password.get_secret_value()}
    return _session(keycloak, client, user.username, grant, f"{user.username} could not sign in through {client.client_id}")


def resume(keycloak: Keycloak, client: Client, username: str, refresh_token: str) -> Session:
    """The session that a refresh token kept from earlier belongs to; raises as `sign_in`."""
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _session(keycloak, client, username, grant, f"{username}'s session can't be renewed")


def verify(keycloak: Keycloak, token: str, *, audience: str | None) -> dict[str, Any]:
    """A token's claims, once signature, issuer, expiry and audience have been verified with the realm's keys (RFC 7519, section 7.2).

    Raises:
        TokenInvalid: One of them is wrong.
    """
    # Imported on use: it takes longer than the rest of `labkit status`.
    from jwcrypto import jwk, jwt
    from jwcrypto.common import JWException

    keys = jwk.JWKSet.from_json(keycloak.get(keycloak.discovery()["jwks_uri"]).text)
    if (signed := algorithm(token)) not in _VERIFIABLE:
        raise TokenInvalid("token-algorithm", algorithm=signed or "nothing", taken=shown(_VERIFIABLE))
    wanted: dict[str, Any] = {"iss": keycloak.issuer, "exp": None} | ({"aud": audience} if audience else {})
    try:
        decoded = jwt.JWT(jwt=token, key=keys, check_claims=wanted, algs=list(_VERIFIABLE), expected_type="JWS")
    except (JWException, ValueError, KeyError) as error:
        reason = f"{type(error).__name__}: {str(error).split('eyJ')[0].strip()}"
        raise TokenInvalid("token-invalid", issuer=keycloak.issuer, audience=audience or "anybody", reason=reason) from None
    return dict(json.loads(decoded.claims))


def read_claims(token: str) -> dict[str, Any] | None:
    """What a token says, unverified: good for explaining why it was refused, never for believing it; None when it is no JSON Web Token."""
    try:
        claims = _part(token, 1)
    except (IndexError, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def key_id(token: str) -> str:
    """Which of the realm's keys a token says it is signed by (RFC 7515, section 4.1.4)."""
    return _header(token, "kid")


def algorithm(token: str) -> str:
    """What a token says it is signed with (RFC 7515, section 4.1.1)."""
    return _header(token, "alg")


def texts(claim: object) -> list[str]:
    """A claim that is one text or a list of them, such as ``aud`` (RFC 7519, section 4.1.3); anything else holds none."""
    return [each for each in (claim if isinstance(claim, list | tuple) else [claim]) if isinstance(each, str)]


def _header(token: str, name: str) -> str:
    try:
        return str(_part(token, 0)[name])
    except (IndexError, KeyError, TypeError, ValueError):
        return ""


def _part(token: str, number: int) -> Any:
    """A part of a JSON Web Token, decoded and unverified: 0 is the header, 1 the claims."""
    part = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _session(keycloak: Keycloak, client: Client, username: str, grant: dict[str, str], failure: str) -> Session:
    answer = _post(keycloak, client, "token", {**grant, "scope": "openid"})
    if answer.status_code != requests.codes.ok:
        raise _refusal(answer, failure)
    body = answer.json()
    _compare_clocks(body["id_token"])
    claims = verify(keycloak, body["id_token"], audience=client.client_id)
    return Session(keycloak, client, username, Tokens(body["id_token"], body["access_token"], body["refresh_token"], claims))


def _compare_clocks(new_token: str) -> None:
    made, now = (read_claims(new_token) or {}).get("iat"), time.time()
    if isinstance(made, int) and abs(now - made) > _CLOCK_SECONDS:
        there, here = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)) for moment in (made, now))
        raise TokenInvalid("clocks-apart", seconds=f"{abs(now - made):.0f}", there=there, here=here)


def _post(keycloak: Keycloak, client: Client, endpoint: str, fields: dict[str, str]) -> requests.Response:
    fields = {"client_id": client.client_id, "client_secret": client.secret.get_secret_value(), **fields}
    return keycloak.post(f"{keycloak.realm_url}/protocol/openid-connect/{endpoint}", fields)


def _refusal(answer: requests.Response, failure: str) -> SignInRefused:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    error, described = str(body.get("error", "")), str(body.get("error_description", ""))
    words = f"{answer.status_code} {error}{': ' + described if described else ''}"
    return SignInRefused(recognised("sign-in", described or error), failure=failure, answer=words, error=error)
