"""The keys of a realm that labkit makes, made here: the Java of the lab's own Keycloak compiles little, and needs seconds for two RSA keys.

Keycloak gets them when the realm is made, and nobody keeps a copy.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..workshop.fields import Representation

PROVIDERS = "org.keycloak.keys.KeyProvider"
"""The type of a realm's components that hold keys."""


def new_keys() -> Representation:
    """A key for each use that Keycloak makes one for in a new realm, as its ``components``; those of one secret it makes itself."""
    enc = _component("rsa-enc", algorithm="RSA-OAEP", privateKey=_private_key())
    return {PROVIDERS: [signing_key(), enc, _component("hmac-generated", algorithm="HS512"), _component("aes-generated")]}


def signing_key(priority: str = "100") -> Representation:
    """A new key to sign tokens with, before those of a lower priority."""
    return _component("rsa", algorithm="RS256", privateKey=_private_key(), priority=priority)


def _component(kind: str, **config: str) -> Representation:
    return {"name": kind, "providerId": kind, "config": {name: [value] for name, value in {"priority": "100", **config}.items()}}


def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
