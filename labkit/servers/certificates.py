"""The lab's certificate authorities and the certificates that they sign.

There are three authorities, so that none vouches for more than it must: ``servers`` is the one that clients are told to trust,
``clients`` signs who may call the API server by certificate, ``etcd`` signs who may call etcd. The first can only ever speak for
this machine: its name constraints (RFC 5280, section 4.2.1.10) permit ``localhost`` and loopback addresses and nothing else.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock

from ..config.settings import write_private

AUTHORITIES = ("servers", "clients", "etcd")
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_DAYS = 365
_RENEW_DAYS = 30


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files (0644 and 0600)."""

    certificate: Path
    key: Path


class Certificates:
    """The certificates of one home, kept in a folder.

    Args:
        folder: Where they lie; made with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Every notebook and shell makes what is missing: two at once would mix one's key with the other's certificate.
        self._lock = FileLock(folder / "certificates.lock", mode=0o600)

    def authority(self, name: str) -> Path:
        """The certificate of an authority of `AUTHORITIES`, made at first use."""
        with self._locked():
            return self._authority(name).certificate

    def server(self, name: str, authority: str = "servers") -> Pair:
        """A certificate for a server (and, for etcd's members, client) on this machine: ``localhost`` and loopback addresses."""
        names = (x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] + ([ExtendedKeyUsageOID.CLIENT_AUTH] if authority == "etcd" else [])
        return self._signed(name, authority, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), usages, names)

    def client(self, name: str, *, user: str, groups: Sequence[str] = (), authority: str = "clients") -> Pair:
        """A certificate that says who its holder is.

        Args:
            name: The files' name.
            user: The common name, which the API server takes as the user name.
            groups: The organisations, which it takes as groups (kubernetes.io, *X509 client certificates*).
            authority: Who signs it.
        """
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        return self._signed(name, authority, x509.Name(subject), [ExtendedKeyUsageOID.CLIENT_AUTH], ())

    def signing_key(self, name: str) -> Pair:
        """A key pair without a certificate, to sign service accounts' tokens: the public half stands for the certificate."""
        pair = Pair(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        with self._locked():
            if not pair.key.exists():
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
        if _is_current(pair):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"labkit lab CA ({name})")])
        builder = _builder(subject, subject, key, days=10 * _DAYS).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_key_usage(authority=True), critical=True)
        if name == "servers":
            permitted = [x509.DNSName("localhost"), *(x509.IPAddress(network) for network in _LOOPBACK)]
            builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        _write(pair, builder.sign(key, hashes.SHA256()), key)
        return pair

    def _signed(
        self,
        name: str,
        authority: str,
        subject: x509.Name,
        usages: list[x509.ObjectIdentifier],
        names: Sequence[x509.GeneralName],
    ) -> Pair:
        with self._locked():
            return self._renewed(self._pair(name), self._authority(authority), subject, usages, names)

    def _renewed(
        self,
        pair: Pair,
        signer: Pair,
        subject: x509.Name,
        usages: list[x509.ObjectIdentifier],
        names: Sequence[x509.GeneralName],
    ) -> Pair:
        signer_certificate = x509.load_pem_x509_certificate(signer.certificate.read_bytes())
        if _is_current(pair, subject=subject, issuer=signer_certificate):
            return pair
        signer_key = serialization.load_pem_private_key(signer.key.read_bytes(), password=None)
        assert isinstance(signer_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - made by _authority
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, signer_certificate.subject, key, days=_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        _write(pair, builder.sign(signer_key, hashes.SHA256()), key)
        return pair


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _is_current(pair: Pair, *, subject: x509.Name | None = None, issuer: x509.Certificate | None = None) -> bool:
    """Whether a pair is there, is valid for a month to come, and was signed for that subject by that very authority."""
    if not (pair.certificate.exists() and pair.key.exists()):
        return False
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=_RENEW_DAYS)
    try:
        found = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        if issuer is not None:
            found.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is made
        return False
    return found.not_valid_after_utc >= soon and subject in (None, found.subject)


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key first: a certificate without its key is never taken for current.
    pair.certificate.unlink(missing_ok=True)
    write_private(pair.key, _pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
