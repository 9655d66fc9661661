"""The lab's certificate authorities and the certificates that they sign.

There are three authorities, so that none vouches for more than it must: ``servers`` is the one that clients are configured to trust,
``clients`` signs who may call the API server by certificate, ``etcd`` signs who may call etcd. The first can only ever speak for
this machine: its name constraints (RFC 5280, section 4.2.1.10) permit ``localhost``, loopback addresses, and the one by which others
come, if there is one.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock

from ..config.files import damaged, write_private

AUTHORITIES = ("servers", "clients", "etcd")
_DAYS, _RENEW_DAYS = 365, 30
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")

_Extensions = list[tuple[x509.ExtensionType, bool]]
"""Each with whether it is critical."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files (0644 and 0600)."""

    certificate: Path
    key: Path


class Certificates:
    """The certificates of one lab, kept in a folder that is made with mode 0700.

    Args:
        folder: A folder of its own for each ``host``.
        host: A name or address by which other machines come.
    """

    def __init__(self, folder: Path, host: str = "") -> None:
        self._folder, self._host = folder, host
        # Every notebook and shell makes what is missing: two at once would mix one's key with the other's certificate.
        self._lock = FileLock(folder / "certificates.lock", mode=0o600)

    @property
    def made(self) -> bool:
        """Whether there is an authority that vouches for servers, and so a server may run."""
        return self._pair("ca-servers").certificate.exists()

    def authority(self, name: str) -> Path:
        """The certificate of an authority of `AUTHORITIES`, made at first use."""
        with self._locked():
            return self._authority(name).certificate

    def server(self, name: str, authority: str = "servers") -> Pair:
        """A certificate for a server (and, for etcd's members, client) on this machine: ``localhost`` and loopback addresses."""
        addresses = [_name(each) for each in ("127.0.0.1", "::1", self._host) if each]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] + ([ExtendedKeyUsageOID.CLIENT_AUTH] if authority == "etcd" else [])
        return self._signed(name, authority, _subject(name), usages, [x509.DNSName("localhost"), *addresses])

    def client(self, name: str, *, user: str, groups: Sequence[str] = (), authority: str = "clients") -> Pair:
        """A certificate that says who its holder is.

        Args:
            name: The files' name.
            user: The common name, which the API server takes as the user name.
            groups: The organisations, which it takes as groups (kubernetes.io, *X509 client certificates*).
            authority: Who signs it.
        """
        return self._signed(name, authority, _subject(user, groups), [ExtendedKeyUsageOID.CLIENT_AUTH], [])

    def signing_key(self, name: str) -> Pair:
        """A key pair without a certificate, to sign service accounts' tokens: the public half stands for the certificate."""
        pair = Pair(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        with self._locked():
            if pair.key.exists():
                _read_key(pair.key)
            else:
                key = ec.generate_private_key(ec.SECP256R1())
                public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
                write_private(pair.certificate, public, mode=0o644)
                write_private(pair.key, _pem(key))
        return pair

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            yield

    def _pair(self, name: str) -> Pair:
        return Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _authority(self, name: str) -> Pair:
        pair = self._pair(f"ca-{name}")
        if pair.key.exists():
            _read_key(pair.key)
        if not _is_current(pair):
            extensions: _Extensions = [(x509.BasicConstraints(True, 0), True), (_key_usage("key_cert_sign", "crl_sign"), True)]
            if name == "servers":
                networks = [_name(each, ipaddress.ip_network) for each in ("127.0.0.0/8", "::1/128", self._host) if each]
                extensions.append((x509.NameConstraints([x509.DNSName("localhost"), *networks], None), True))
            _issue(pair, _subject(f"labkit lab CA ({name})"), 10 * _DAYS, extensions)
        return pair

    def _signed(
        self, name: str, authority: str, subject: x509.Name, usages: list[x509.ObjectIdentifier], names: list[x509.GeneralName]
    ) -> Pair:
        pair = self._pair(name)
        with self._locked():
            signer = self._authority(authority)
            issuer = x509.load_pem_x509_certificate(signer.certificate.read_bytes())
            if not _is_current(pair, subject, issuer):
                extensions: _Extensions = [
                    (x509.BasicConstraints(False, None), True),
                    (_key_usage("digital_signature"), True),
                    (x509.ExtendedKeyUsage(usages), False),
                    *([(x509.SubjectAlternativeName(names), False)] if names else []),
                ]
                _issue(pair, subject, _DAYS, extensions, issuer.subject, signer.key)
        return pair


def _issue(
    pair: Pair, subject: x509.Name, days: int, extensions: _Extensions, issuer: x509.Name | None = None, signer: Path | None = None
) -> None:
    """Write a new key with its certificate, which signs itself unless somebody else does."""
    key = ec.generate_private_key(ec.SECP256R1())
    signing = _read_key(signer) if signer else key
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer or subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=days))
    identifiers: _Extensions = [(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)]
    if signer:
        identifiers.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False))
    for extension, critical in (*identifiers, *extensions):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(signing, hashes.SHA256())
    # The key first: a certificate without its key is never taken for current.
    pair.certificate.unlink(missing_ok=True)
    write_private(pair.key, _pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _name(text: str, numbers: Callable[[str], Any] = ipaddress.ip_address) -> x509.GeneralName:
    try:
        return x509.IPAddress(numbers(text))
    except ValueError:
        return x509.DNSName(text)


def _subject(name: str, organisations: Sequence[str] = ()) -> x509.Name:
    named = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organisations]
    return x509.Name([*named, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES}, encipher_only=False, decipher_only=False)


def _is_current(pair: Pair, subject: x509.Name | None = None, issuer: x509.Certificate | None = None) -> bool:
    """Whether a pair is there, is valid for a month to come, and was signed for that subject by that very authority."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=_RENEW_DAYS)
    try:
        found, key = x509.load_pem_x509_certificate(pair.certificate.read_bytes()), _read_key(pair.key)
        if issuer is not None:
            found.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is made
        return False
    return key.public_key() == found.public_key() and found.not_valid_after_utc >= soon and subject in (None, found.subject)


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """Raise SettingsError if the file holds no key of labkit's."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        reason = "it holds a key of another kind"
    except (OSError, ValueError, TypeError) as error:
        # In one line: OpenSSL's words go on for several.
        key, reason = None, str(error).partition(". ")[0]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise damaged(file, reason, f"what {file.stem} signs with: who trusts that now, such as a browser, has to be given another")


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
