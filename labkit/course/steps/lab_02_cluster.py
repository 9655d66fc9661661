"""Lab 02: Whom the API server believes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...common.display import Finding
from ...lab import Lab
from .registry import add_lab
from .shared import there

LAB = add_lab("02-cluster", "Kubernetes: whom the API server believes", needs="realm")


@LAB.step("cluster", "the API server knows people by their tokens", minutes=20)
def cluster(lab: Lab) -> Iterator[Finding]:
    runs = lab.cluster.is_running()
    yield Finding(runs, f"the cluster runs at {lab.cluster.endpoint.url}", "lab.cluster.start()")
    if not runs:
        return
    for username in lab.workshop.access.expected:
        session = lab.session(username)
        seen = lab.cluster.api(session).wait_until_known()
        as_declared = seen.is_same(lab.cluster.declared_identity(session))
        yield Finding(as_declared, f"it takes {username} for {seen}", "compare the token's claims with lab.cluster.trust")


cluster.solution(lambda lab: lab.cluster.start())
cluster.reset(lambda lab: lab.cluster.erase())


def _key_file(lab: Lab) -> Path:
    return lab.settings.folder / "signing-key.json"


@LAB.exercise("signing-key", "signing-key.json holds the public key that verifies people's tokens", minutes=5)
def signing_key(lab: Lab) -> Iterator[Finding]:
    """jwks_uri gives a list, keys: a realm has a key to sign with, one to encrypt with, and perhaps an older one. Which one signed a token,
    its header says: compare kid. json.dumps makes text of that one key.
    """
    # Imported on use, as in labkit/identity/session.py.
    from jwcrypto import jwk, jws
    from jwcrypto.common import JWException

    file = _key_file(lab)
    yield there("signing-key.json", file.is_file(), '(lab.settings.folder / "signing-key.json").write_text(json.dumps(key))')
    if not file.is_file():
        return
    try:
        key = jwk.JWK.from_json(file.read_text())
    except (JWException, ValueError, TypeError):
        yield Finding(ok=False, text="it holds no key", fix="one object of the list keys, by json.dumps")
        return
    for username in lab.workshop.access.expected:
        token = lab.session(username).tokens.id_token
        try:
            jws.JWS().deserialize(token, key)
            verifies = True
        except JWException:
            verifies = False
        text = f"your key {'verifies' if verifies else 'does not verify'} a new token of {username}, whom the API server takes for"
        yield Finding(verifies, f"{text} {lab.cluster.who(token) or 'nobody (401)'}", "the key whose kid the token's header names")


@signing_key.solution
def _(lab: Lab) -> None:
    import base64
    import json

    import requests

    token = lab.session(lab.workshop.reader.username).tokens.id_token
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    url, ca = f"{lab.keycloak.issuer}/.well-known/openid-configuration", str(lab.keycloak.ca)
    discovery = requests.get(url, verify=ca, timeout=15).json()
    keys = requests.get(discovery["jwks_uri"], verify=ca, timeout=15).json()["keys"]
    key = next(key for key in keys if key["kid"] == header["kid"])
    (lab.settings.folder / "signing-key.json").write_text(json.dumps(key))


signing_key.reset(lambda lab: _key_file(lab).unlink(missing_ok=True))
