"""The lab's certificates: whom they vouch for, who may read the keys, and when they are made anew."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import labkit.servers.certificates
from labkit.servers.certificates import AUTHORITIES, Certificates, Pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tls"


@pytest.fixture
def certificates(folder: Path) -> Certificates:
    return Certificates(folder)


def load(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def key_of(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def shake_hands(server: Pair, trusted: Path, name: str, caller: Pair | None = None, callers: Path | None = None) -> None:
    """A TLS handshake on this machine, both sides verifying; raises what the client or, else, the server objects to."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(server.certificate, server.key)
    if callers:
        server_side.verify_mode = ssl.CERT_REQUIRED
        server_side.load_verify_locations(callers)
    client_side = ssl.create_default_context(cafile=str(trusted))
    if caller:
        client_side.load_cert_chain(caller.certificate, caller.key)
    objections: list[OSError] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            try:
                with server_side.wrap_socket(accepted, server_side=True) as secured:
                    secured.sendall(b"hello")
            except OSError as error:
                objections.append(error)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=30) as plain,
                client_side.wrap_socket(plain, server_hostname=name) as secured,
            ):
                assert objections or secured.recv(5) == b"hello"
        finally:
            serving.join()
    if objections:
        raise objections[0]


def signed_by_hand(folder: Path, authority: Path, name: x509.GeneralName) -> Pair:
    """A certificate that somebody with the authority's key makes for a name that is not this machine's."""
    key, signer = ec.generate_private_key(ec.SECP256R1()), load(authority)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(key_of(authority.with_suffix(".key")), hashes.SHA256())
    )
    pair = Pair(folder / "foreign.crt", folder / "foreign.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return pair


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_server_is_trusted_by_the_names_of_this_machine(certificates: Certificates, name: str) -> None:
    shake_hands(certificates.server("keycloak"), certificates.authority("servers"), name)


def test_the_servers_authority_cannot_vouch_for_another_name(certificates: Certificates, folder: Path) -> None:
    foreign = signed_by_hand(folder, certificates.authority("servers"), x509.DNSName("example.org"))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(foreign, certificates.authority("servers"), "example.org")


@pytest.mark.parametrize("host", ["labs.example.org", "192.0.2.7"])
def test_with_an_address_for_others_it_vouches_for_that_one_too(folder: Path, host: str) -> None:
    certificates = Certificates(folder, host)
    for name in (host, "localhost"):
        shake_hands(certificates.server("room"), certificates.authority("servers"), name)
    foreign = signed_by_hand(folder, certificates.authority("servers"), x509.DNSName("example.org"))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(foreign, certificates.authority("servers"), "example.org")


def test_without_name_constraints_it_could(certificates: Certificates, folder: Path) -> None:
    foreign = signed_by_hand(folder, certificates.authority("etcd"), x509.DNSName("example.org"))
    shake_hands(foreign, certificates.authority("etcd"), "example.org")


def test_a_server_is_not_trusted_by_another_authority(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificates.server("keycloak"), certificates.authority("clients"), "localhost")


def test_a_caller_is_let_in_by_its_own_authority_only(certificates: Certificates) -> None:
    server, trusted, callers = certificates.server("api"), certificates.authority("servers"), certificates.authority("clients")
    shake_hands(server, trusted, "localhost", certificates.client("admin", user="admin"), callers)
    with pytest.raises(ssl.SSLError):
        shake_hands(server, trusted, "localhost", certificates.client("other", user="admin", authority="etcd"), callers)


def test_a_servers_certificate_is_no_callers(certificates: Certificates) -> None:
    server, trusted = certificates.server("api"), certificates.authority("servers")
    with pytest.raises(ssl.SSLError):
        shake_hands(server, trusted, "localhost", certificates.server("other"), trusted)


def test_a_client_certificate_names_its_user_and_groups(certificates: Certificates) -> None:
    subject = load(certificates.client("admin", user="labkit-admin", groups=("system:masters", "second")).certificate).subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["labkit-admin"]
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters", "second"]


def test_keys_are_their_owners_only_and_certificates_for_all(certificates: Certificates, folder: Path) -> None:
    certificates.server("keycloak")
    certificates.client("admin", user="admin")
    certificates.signing_key("service-accounts")
    modes = {path.suffix: set() for path in folder.iterdir()}  # type: dict[str, set[int]]
    for path in folder.iterdir():
        modes[path.suffix].add(path.stat().st_mode & 0o777)
    assert modes == {".crt": {0o644}, ".pub": {0o644}, ".key": {0o600}, ".lock": {0o600}}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_signing_keys_public_half_belongs_to_it_and_both_stay(certificates: Certificates, folder: Path) -> None:
    pair = certificates.signing_key("service-accounts")
    public = key_of(pair.key).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert pair.certificate.read_bytes() == public.public_bytes(*form)
    assert Certificates(folder).signing_key("service-accounts").key.read_bytes() == pair.key.read_bytes()


def everything(certificates: Certificates, folder: Path) -> dict[str, bytes]:
    certificates.server("keycloak")
    certificates.server("etcd", authority="etcd")
    certificates.client("admin", user="admin", groups=("system:masters",))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def renewed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in after if after[name] != before.get(name)}


def test_nothing_is_made_anew_while_it_is_current(certificates: Certificates, folder: Path) -> None:
    assert renewed(everything(certificates, folder), everything(Certificates(folder), folder)) == set()


@pytest.mark.parametrize("damage", ["removed", "not a certificate"])
def test_a_lost_authority_is_made_anew_with_what_it_signed_and_nothing_else(certificates: Certificates, folder: Path, damage: str) -> None:
    before = everything(certificates, folder)
    if damage == "removed":
        (folder / "ca-servers.key").unlink()
    else:
        (folder / "ca-servers.crt").write_text(damage)
    after = everything(Certificates(folder), folder)
    assert renewed(before, after) == {"ca-servers.crt", "ca-servers.key", "keycloak.crt", "keycloak.key"}
    shake_hands(Certificates(folder).server("keycloak"), folder / "ca-servers.crt", "localhost")


def test_a_certificate_is_made_anew_a_month_before_it_ends(
    certificates: Certificates, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(labkit.servers.certificates, "_DAYS", 29)
        before = load(certificates.server("keycloak").certificate)
    after = load(Certificates(folder).server("keycloak").certificate)
    assert before.not_valid_after_utc < after.not_valid_after_utc
    assert load(Certificates(folder).server("keycloak").certificate) == after


def test_a_client_certificate_follows_its_groups(certificates: Certificates) -> None:
    before = load(certificates.client("admin", user="admin", groups=("a",)).certificate)
    assert load(certificates.client("admin", user="admin", groups=("b",)).certificate) != before


def test_authorities_sign_no_authorities(certificates: Certificates) -> None:
    for name in AUTHORITIES:
        constraints = load(certificates.authority(name)).extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)


def test_several_processes_that_need_the_first_certificate_at_once_agree(folder: Path) -> None:
    code = """
import sys; from pathlib import Path; from labkit.servers.certificates import Certificates
input()
made = Certificates(Path(sys.argv[1]))
print(made.server('keycloak').certificate.read_text(), made.authority('servers').read_text())
"""
    root = Path(labkit.servers.certificates.__file__).parent.parent
    argv = [sys.executable, "-c", code, str(folder)]
    makers = [subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("now\n")
        maker.stdin.flush()
    seen = {maker.communicate(timeout=60)[0] for maker in makers}
    assert len(seen) == 1
    shake_hands(Pair(folder / "keycloak.crt", folder / "keycloak.key"), folder / "ca-servers.crt", "localhost")
    assert load(folder / "ca-servers.crt").public_key() == key_of(folder / "ca-servers.key").public_key()
