"""The wall clock is set: servers are known again, and certificates hold."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import psutil
import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from labkit.lab import Lab
from tests.support import on_record, strays_of

HOUR, BACK = 3600.0, datetime.timedelta(minutes=4)


@pytest.fixture(params=[-HOUR, HOUR])
def clock_set(lab: Lab, request: pytest.FixtureRequest) -> Iterator[float]:
    """The clock as this process sees it: a mock, for the machine's can't be set. The kernel's boot time moves along with it."""
    true_time, true_boot = time.time, psutil.boot_time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: true_time() + request.param)
        patch.setattr("psutil.boot_time", lambda: true_boot() + request.param)
        patch.setattr("psutil._psplatform.boot_time", lambda: true_boot() + request.param)
        yield request.param


@pytest.mark.fault(
    "Clock", "the clock is set an hour back or ahead while servers run (as the test pretends)", "each is known again; none is started twice"
)
@pytest.mark.usefixtures("clock_set")
def test_servers_are_known_again_when_the_clock_was_set(lab: Lab) -> None:
    before = {process.pid for process in on_record(lab.settings.folder)}
    assert all(server.runs for server in Lab.open().status().servers)
    lab.keycloak.start()
    lab.cluster.start()
    assert {process.pid for process in on_record(lab.settings.folder)} == before
    assert lab.processes.stop("kube-controller-manager")
    lab.cluster.start()
    assert strays_of(lab.settings.folder) == []


@pytest.mark.fault("Clock", "the clock is set four minutes back (as the test pretends)", "certificates that were just made hold")
def test_new_certificates_hold_four_minutes_ago(lab: Lab) -> None:
    folder = lab.settings.folder / "tls"
    authority = x509.load_pem_x509_certificate((folder / "ca-servers.crt").read_bytes())
    for name in ("keycloak", "kube-apiserver", "kube-controller-manager"):
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        made = certificate.not_valid_before_utc + datetime.timedelta(minutes=5)
        verifier = PolicyBuilder().store(Store([authority])).time(made - BACK).build_server_verifier(x509.DNSName("localhost"))
        verifier.verify(certificate, [])
