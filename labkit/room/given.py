"""A certificate that somebody gives for the address by which other machines come to a room."""

from __future__ import annotations

import ssl
from contextlib import suppress

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from ..common.errors import RoomError
from ..servers.certificates import Pair


def require_fit(given: Pair, host: str) -> str:
    """Insist that a certificate serves a host, by the handshake that a browser makes; returns who vouches for it in the end, as PEM.

    That is an authority that this machine trusts, or one that is in the file and signs itself.

    Raises:
        RoomError: It does not: it is for another name or key, is not valid now, or nobody vouches for it.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    try:
        # No password: OpenSSL would ask for it on the terminal.
        server.load_cert_chain(given.certificate, given.key, password="")
        chain = x509.load_pem_x509_certificates(given.certificate.read_bytes())
        if roots := [each for each in chain if _issued(each, each)]:
            client.load_verify_locations(cadata=_pem(*roots))
        _shake_hands(client, server, host)
    except (OSError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or error
        raise RoomError("room-certificate", certificate=given.certificate, host=host, reason=reason) from None
    # Looked at before they are read: some that are trusted everywhere are not quite as they should be.
    named = (each for each in client.get_ca_certs(binary_form=True) if any(one.issuer.public_bytes() in each for one in chain))
    trusted = map(x509.load_der_x509_certificate, named)
    return _pem(*(each for each in trusted if any(_issued(one, each) for one in chain)))


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = client.wrap_bio(to_client, to_server, server_hostname=host), server.wrap_bio(to_server, to_client, server_side=True)
    # The client speaks twice, the server once.
    for side in (*sides, *sides):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)
