"""Which variables reach whom, and what labkit's own HTTP takes of them."""

from __future__ import annotations

import ast
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.common.environment import DOCKER, EVERYBODY, EXTERNAL_KUBECTL, KERNEL, KUBECTL, NPM, PIP, SERVER, listed
from labkit.common.http_session import HttpSession, request
from labkit.config.hosting import SECRET_VARIABLE, hosted_from
from labkit.config.settings import find_root

OWN = find_root(Path(__file__)) / "labkit"
# The relay and the watchdog are given their environment, and hand on what they got.
HAND_ON = {"cluster/relay.py", "toolchain/watchdog.py"}


def test_a_variable_is_handed_on_in_the_spelling_that_it_has() -> None:
    environ = {"https_proxy": "1", "HTTPS_PROXY": "2", "npm_config_registry": "3", "PATH": "4", "NODE_OPTIONS": "5", "LC_ALL": "6"}
    assert listed(NPM, environ) == {name: value for name, value in environ.items() if name != "NODE_OPTIONS"}
    assert listed(EVERYBODY, environ) == {"PATH": "4", "LC_ALL": "6"}


def test_a_kernel_gets_labkits_own_variables_but_not_others() -> None:
    environ = {"LABKIT_HOME": "1", "LABKIT_ANY_PORT": "2", "GOPROXY": "3", "AWS_ACCESS_KEY_ID": "4", "DEBUG": "5"}
    assert listed(KERNEL, environ) == {"LABKIT_HOME": "1", "LABKIT_ANY_PORT": "2", "GOPROXY": "3"}


@pytest.mark.parametrize("group", [SERVER, KUBECTL, DOCKER, PIP, NPM, EXTERNAL_KUBECTL, KERNEL])
def test_no_group_holds_a_programs_options_or_a_key(group: tuple[str, ...]) -> None:
    environ = dict.fromkeys(
        (
            *("DEBUG", "JAVA", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "QUARKUS_HTTP_PORT", "KC_DB", "NODE_OPTIONS"),
            *("NODE_PATH", "NODE_TLS_REJECT_UNAUTHORIZED", "GOFLAGS", "LD_PRELOAD", "PYTHONSTARTUP", "NETRC", "GITHUB_TOKEN"),
            *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "KIND_EXPERIMENTAL_PROVIDER"),
        ),
        "x",
    )
    assert listed(group, environ) == {}


def test_every_child_of_labkits_is_given_its_environment_by_name() -> None:
    starts = {"subprocess.run", "subprocess.Popen", "subprocess.check_output", "asyncio.create_subprocess_exec"}
    without = set()
    for file in OWN.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call) and ast.unparse(node.func) in starts]
        if any("env" not in {keyword.arg for keyword in call.keywords} for call in calls):
            without.add(file.relative_to(OWN).as_posix())
    assert without == HAND_ON


@pytest.mark.fault("Neighbours", "a hosted Keycloak's administrator's secret is in the environment", "it leaves it once it was read")
def test_the_administrators_secret_is_taken_out_of_the_environment_and_kept_for_whom_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.config.hosting._taken", {})
    monkeypatch.setenv("LABKIT_KEYCLOAK_URL", "https://sso.example.com")
    monkeypatch.delenv("LABKIT_KEYCLOAK", raising=False)
    monkeypatch.setenv(SECRET_VARIABLE, "an-administrators-password")
    for _ in range(2):
        hosted = hosted_from(os.environ)
        assert hosted is not None
        assert hosted.secret == "an-administrators-password"
        assert SECRET_VARIABLE not in os.environ
    monkeypatch.setenv("LABKIT_KEYCLOAK_URL", "https://other.example.com")
    other = hosted_from(os.environ)
    assert other is not None
    assert other.secret == ""


class Site(http.server.BaseHTTPRequestHandler):
    """Sends whoever asks for /away on, and notes what it is shown."""

    shown: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.shown.append((self.path, self.headers["Authorization"]))
        self.send_response(302 if self.path.endswith("/away") else 200)
        self.send_header("Location", "/here")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[http.server.ThreadingHTTPServer]:
    Site.shown = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.fault("Neighbours", "an entry in ~/.netrc for localhost, or a default one", "it replaces no token and is sent to nobody")
def test_netrc_never_counts(site: http.server.ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password corp\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    url = f"http://127.0.0.1:{site.server_port}"
    request("GET", f"{url}/away", headers={"Authorization": "Bearer token"}, timeout=10)
    request("GET", f"{url}/away", timeout=10)
    assert Site.shown == [("/away", "Bearer token"), ("/here", "Bearer token"), ("/away", None), ("/here", None)]


def test_a_proxy_is_asked_but_for_hosts_that_are_asked_directly(
    site: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{site.server_port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    request("GET", "http://somewhere.example/away", timeout=10)
    request("GET", f"http://127.0.0.1:{site.server_port}/direct", timeout=10)
    assert [path for path, _ in Site.shown] == ["http://somewhere.example/away", "http://somewhere.example/here", "/direct"]


def test_a_ca_of_the_environment_counts_only_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/company.pem")

    def verified_with(session: HttpSession, **more: Any) -> Any:
        return session.merge_environment_settings("https://localhost", None, None, more.get("verify"), None)["verify"]

    assert verified_with(HttpSession()) == "/company.pem"
    assert verified_with(HttpSession(Path("/lab.pem"))) == "/lab.pem"
    assert verified_with(HttpSession(), verify="/lab.pem") == "/lab.pem"


@pytest.mark.fault("Commands", "a terminal or PYTHONIOENCODING that knows no ✔", "it is written in plain letters")
def test_what_an_encoding_lacks_is_written_plainly() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", "import labkit.common.display as d; d.write_plainly_where_needed(); print('✔ ✘ … é')"],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    assert done.stdout == "ok failed ... ?\n"
