"""How the portal is configured, and how its answers are read.

Answers here are made up where the real ones can't be provoked; `tests/integration/test_portal.py` has the real ones.
"""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import yaml

from labkit.cli.render import render
from labkit.cluster.provider import Endpoint
from labkit.common.errors import (
    Forbidden,
    LabkitError,
    NotPermitted,
    NotSignedIn,
    PortalError,
    SignInRefused,
    TaskFailed,
    Unauthorized,
    WorkshopError,
)
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.config.state_folder import PORTS
from labkit.identity.keycloak import Keycloak
from labkit.lab import Lab
from labkit.portal import config
from labkit.portal.answers import Catalog, follow, problems, read_template, translated
from labkit.portal.browser import Browser, login_form
from labkit.portal.token_way import TokenWay
from labkit.servers.certificates import Certificates, Pair
from labkit.workshop.workshop import Workshop
from tests.app_config import by_path, substituted, variables_in
from tests.support import OTHER_WORKSHOP

WORDS = 'configmaps is forbidden: User "user-dev@kratix.io" cannot create resource "configmaps" in API group "" in the namespace "default"'
REFUSAL = {"status": 403, "reason": "Forbidden", "user": "user-dev@kratix.io", "verb": "create", "resource": "configmaps", "message": WORDS}
ISSUER = "https://localhost:8443/realms/myrealm"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.open({"LABKIT_HOME": str(tmp_path / "home")})


@pytest.fixture
def workshop(settings: Settings) -> Workshop:
    return Workshop.load(settings.workshop_folder, portal_url=settings.url("portal", "http"))


def given(settings: Settings, endpoint: Endpoint | None = None, issuer: str = ISSUER, pages: Path | None = None) -> dict[str, Any]:
    """What Backstage has once it has read app-config.yaml, with the secrets' variables in the place of their values."""
    endpoint = endpoint or Endpoint("local-platform", "https://localhost:6443", settings.folder / "tls" / "ca.crt", {})
    known = config.variables(settings, endpoint, issuer, settings.folder / "portal", pages)
    secrets = {name: f"${{{name}}}" for name in (config.SESSION_SECRET, config.CLIENT_SECRET)}
    return dict(substituted(yaml.safe_load(config.APP_CONFIG.read_text()), {**known, **secrets}))


LAB = Settings(Path("/lab"), Path("/lab/home"), "4711", Path("/cache"), OWN, PORTS)
VARIANTS = {
    "default": lambda: given(LAB),
    "pages": lambda: given(LAB, pages=Path("/cache/pages")),
    "claim": lambda: given(replace(LAB, portal_keeps="claim")),
    "other-ports": lambda: given(
        replace(LAB, ports={**PORTS, "portal": 27007}),
        Endpoint("local-platform", "https://localhost:26443", Path("/lab/home/tls/ca.crt"), {}),
        "https://localhost:28443/realms/myrealm",
    ),
    "hosted-keycloak": lambda: given(LAB, issuer="https://sso.example.org/auth/realms/team"),
    "kind": lambda: given(replace(LAB, cluster="kind"), Endpoint("platform", "https://127.0.0.1:45678", Path("/lab/home/kind/ca.crt"), {})),
    "external": lambda: given(
        replace(LAB, cluster="external"), Endpoint("prod", "https://10.0.0.1:6443", Path("/lab/home/external/ca.crt"), {})
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_file_gives_backstage_what_the_builder_in_python_gave(variant: str) -> None:
    """By path, as recorded before there was a file; what differs is meant."""
    golden = json.loads(Path(__file__).with_name("app_config_golden.json").read_text())
    expected = {**golden["default"], **golden[variant]}
    # A variable is text, which Backstage's getNumber reads as well.
    expected["backend.listen.port"] = str(expected["backend.listen.port"])
    # Where there are no pages it has no effect.
    expected["app.disableStaticFallbackCache"] = True
    # The platform's entity has a file of its own.
    del expected["catalog.locations.0.rules.0.allow.2"]
    expected |= {
        "ske.identity.groupsClaim": "groups",
        "catalog.locations.2.type": "file",
        "catalog.locations.2.target": "/lab/home/portal/catalog-info.yaml",
        "catalog.locations.2.rules.0.allow.0": "Component",
    }
    assert dict(by_path(VARIANTS[variant]())) == expected


def test_every_variable_of_the_configuration_is_given_or_a_secret() -> None:
    endpoint = Endpoint("p", "https://localhost:1", Path("ca"), {})
    known = config.variables(replace(LAB, cluster="external"), endpoint, ISSUER, LAB.folder, Path("/pages"))
    assert variables_in(config.APP_CONFIG.read_text()) == {*known, config.SESSION_SECRET, config.CLIENT_SECRET}


def test_variables_come_through_a_shell_as_they_are(tmp_path: Path) -> None:
    known = {"ONE": "a folder's name, with $HOME and `date`", "OTHER": "labkit/home=4711"}
    (tmp_path / "portal.env").write_text(config.env_file(known))
    program = "import json, os; print(json.dumps({name: os.environ[name] for name in ('ONE', 'OTHER')}))"
    script = f'set -a; . ./portal.env; exec "{sys.executable}" -c "{program}"'
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == known


def test_the_configuration_holds_names_of_secrets_and_no_secret(workshop: Workshop, tmp_path: Path) -> None:
    endpoint = Endpoint("local-platform", "https://localhost:6443", tmp_path / "ca.crt", {"client-key-data": "the administrator's key"})
    text = config.APP_CONFIG.read_text() + config.env_file(config.variables(LAB, endpoint, ISSUER, tmp_path))
    told = yaml.safe_load(config.APP_CONFIG.read_text())
    assert told["auth"]["session"]["secret"] == "${PORTAL_SESSION_SECRET}"
    assert told["auth"]["providers"]["keycloak"]["development"]["clientSecret"] == "${PORTAL_CLIENT_SECRET}"
    assert "the administrator's key" not in text
    assert [user.username for user in workshop.realm.users if user.password.get_secret_value() + "\n" in text] == []
    assert "backstage-client-secret" not in text


def test_the_portal_listens_on_loopback_verifies_the_cluster_and_asks_who_is_allowed(settings: Settings) -> None:
    told = given(settings)
    assert told["backend"]["listen"] == {"host": "127.0.0.1", "port": str(settings.ports["portal"])}
    (cluster,) = told["kubernetes"]["clusterLocatorMethods"][0]["clusters"]
    assert (cluster["authProvider"], cluster["caFile"]) == ("oidc", str(settings.folder / "tls" / "ca.crt"))
    assert "skipTLSVerify" not in cluster
    assert told["permission"] == {"enabled": True}
    assert told["backend"]["actions"] == {"pluginSources": []}
    assert told["ske"]["identity"] == {
        "issuer": ISSUER,
        "audience": "kube",
        "groups": ["kube-dev", "kube-admin"],
        "groupsClaim": "groups",
        "userToken": "memory",
    }


def test_in_a_cluster_that_others_use_the_portal_gets_the_label_that_marks_what_is_the_labs(settings: Settings) -> None:
    assert given(settings)["ske"]["kubernetes"] == {"platformName": "local-platform"}
    told = given(replace(settings, cluster="external"))["ske"]["kubernetes"]
    assert told == {"platformName": "local-platform", "label": f"labkit/home={settings.folder_id}"}


def test_publishers_are_the_groups_that_may_do_everything_in_the_cluster(workshop: Workshop) -> None:
    assert config.publishers(workshop) == ["kube-admin"]
    assert given(LAB)["ske"]["publishers"] == ["group:default/kube-admin"]


def test_the_configuration_names_what_realm_and_cluster_declare(workshop: Workshop) -> None:
    config.require_agreement(config.APP_CONFIG, workshop)


def test_a_workshop_folder_may_hold_a_configuration_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "workshop"
    folder.mkdir()
    (folder / "app-config.yaml").write_text("app: {title: Ours}\n")
    lab = Lab(Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_WORKSHOP": str(folder)}))
    assert lab.portal.app_config == folder / "app-config.yaml"


def test_templates_in_a_workshop_folder_replace_labkits_or_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "workshop" / "templates"
    folder.mkdir(parents=True)
    for name in ("configmap", "ours"):
        (folder / f"{name}.yaml").write_text(f"metadata: {{name: {name}, title: Ours}}\n")
    environ = {"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_WORKSHOP": str(folder.parent), "LABKIT_CLUSTER": "local"}
    lab = Lab(Settings.open({**environ, "LABKIT_SECRETS": "demo"}))
    own = OWN / "templates" / "reader.yaml"
    assert lab.portal.templates == {"configmap.yaml": folder / "configmap.yaml", "reader.yaml": own, "ours.yaml": folder / "ours.yaml"}
    render(lab, tmp_path / "by-hand")
    rendered = {file.name: file.read_text().partition("\n\n")[2] for file in (tmp_path / "by-hand" / "templates").iterdir()}
    assert rendered == {name: file.read_text() for name, file in lab.portal.templates.items()}


@pytest.mark.fault(
    "Workshop",
    "app-config.yaml names a group, an audience or a client that is not declared, a publisher without all rights, or another address to "
    "listen at",
    "the portal does not start; each is named with its line, and with the names that would do",
)
@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        (
            "publishers: [group:default/kube-admin]",
            "publishers: [group:default/kube-admin, group:default/kube-dev]",
            ': ske.publishers[1]: "group:default/kube-dev" is not a group that is bound to cluster-admin (group:default/kube-admin)',
        ),
        ("host: 127.0.0.1 ", "host: 0.0.0.0 ", ': backend.listen.host: "0.0.0.0" is not this machine\'s own address'),
        ("audience: kube ", "audience: cube ", ': ske.identity.audience: "cube" is not the audience that the API server asks for (kube)'),
        ("groupsClaim: groups", "groupsClaim: roles", ': ske.identity.groupsClaim: "roles" is not the claim of groups that the API server'),
        ("[kube-dev, kube-admin]", "[kube-admin]", ': ske.identity.groups: lacks "kube-dev", a group of the realm'),
        ("[kube-dev, kube-admin]", "[kube-dev, kube-admin, team]", '"team" is not a group of the realm (kube-dev, kube-admin)'),
        (
            "clientId: backstage-client",
            "clientId: kube",
            ': auth.providers.keycloak.development.clientId: "kube" is not the portal\'s client',
        ),
    ],
)
def test_names_that_do_not_agree_are_reported_with_their_line(
    workshop: Workshop, tmp_path: Path, written: str, instead: str, problem: str
) -> None:
    text = config.APP_CONFIG.read_text()
    assert text.count(written) == 1
    file = tmp_path / "app-config.yaml"
    file.write_text(text.replace(written, instead))
    with pytest.raises(WorkshopError, match="the platform files have") as caught:
        config.require_agreement(file, workshop)
    assert problem in caught.value.why
    line = 1 + text[: text.index(written)].count("\n")
    assert f"app-config.yaml:{line}: " in caught.value.why


@pytest.mark.fault(
    "Workshop",
    "a template, or another entity, with a name that the portal's catalog refuses",
    "nothing is started; it is named with its line",
)
def test_names_that_the_catalog_refuses_are_reported_with_their_line(tmp_path: Path) -> None:
    folder = tmp_path / "workshop" / "templates"
    folder.mkdir(parents=True)
    text = (OWN / "templates" / "configmap.yaml").read_text()
    (folder / "ours.yaml").write_text(text.replace("name: configmap\n", "name: Config Map\n", 1))
    entity = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: &m {name: a, labels: &l {a: b}, annotations: *l}\n"
    (folder.parent / "catalog-info.yaml").write_text(f"{entity}---\n{entity.replace('name: a', 'name: a/b, namespace: Ours')}")
    lab = Lab(Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_WORKSHOP": str(folder.parent)}))
    with pytest.raises(WorkshopError) as caught:
        lab.portal.require_agreement()
    first, second, third = caught.value.why.splitlines()
    assert 'catalog-info.yaml:7: [1].metadata.name: "a/b" is no catalog name for Backstage' in first
    assert 'catalog-info.yaml:7: [1].metadata.namespace: "Ours" is no namespace for Kubernetes' in second
    line = 1 + text[: text.index("name: configmap\n")].count("\n")
    assert f'ours.yaml:{line}: metadata.name: "Config Map" is no catalog name for Backstage' in third


@pytest.mark.parametrize("text", ["ske: text\n", "- a\n", "ske: {identity: [a]}\n", "a: [\n", ""])
def test_a_configuration_of_another_shape_is_refused_and_no_traceback(workshop: Workshop, tmp_path: Path, text: str) -> None:
    (tmp_path / "app-config.yaml").write_text(text)
    with pytest.raises(WorkshopError):
        config.require_agreement(tmp_path / "app-config.yaml", workshop)


def test_a_group_stands_in_the_catalog_below_its_parent() -> None:
    entities = {e["metadata"]["name"]: e["spec"] for e in yaml.safe_load_all(config.people(Workshop.load(OTHER_WORKSHOP)))}
    assert (entities["onduty"]["parent"], "parent" in entities["ops"]) == ("ops", False)


def test_the_catalogs_people_are_the_realms(workshop: Workshop) -> None:
    entities = {(e["kind"], e["metadata"]["name"]): e["spec"] for e in yaml.safe_load_all(config.people(workshop))}
    assert {kind for kind, _ in entities} == {"Group", "User"}
    assert [name for kind, name in entities if kind == "Group"] == ["kube-dev", "kube-admin"]
    assert {name: entities["User", name]["memberOf"] for kind, name in entities if kind == "User"} == {
        "user-dev": ["kube-dev"],
        "backstage": ["kube-dev"],
        "user-admin": ["kube-admin"],
    }


def test_the_login_form_is_found_by_its_name_with_its_address_as_it_was_meant() -> None:
    page = (
        '<form action="/search"></form><form id="kc-form-login" method="post" action="https://kc/auth?a=1&amp;b=2"><input name="password">'
    )
    assert login_form(page, "https://kc/auth", "ada", "https://kc") == ("https://kc/auth?a=1&b=2", ["password"])


@pytest.mark.parametrize(
    ("page", "url", "what", "why"),
    [
        (
            '<h1 id="kc-page-title">Sorry</h1><div id="kc-error-message"><p class="x">Invalid parameter:\n redirect_uri</p></div>',
            "https://kc/realms/r/auth?secret=1",
            "Keycloak shows no login form at /realms/r/auth",
            "Invalid parameter: redirect_uri",
        ),
        (
            '<h1 id="kc-page-title">Mot de passe</h1><form id="kc-passwd-update-form">',
            "https://kc/realms/r/login-actions/required-action?execution=UPDATE_PASSWORD&secret=1",
            "Keycloak asks ada for more",
            "Mot de passe, UPDATE_PASSWORD",
        ),
        (
            '<h1 id="kc-page-title">Check your mail</h1>',
            "https://kc/realms/r/login-actions/required-action?execution=VERIFY_EMAIL",
            "Keycloak asks ada for more",
            "Check your mail, VERIFY_EMAIL",
        ),
        (
            '<h1 id="kc-page-title">One-time code</h1><form id="kc-otp-login-form">',
            "https://kc/realms/r/login-actions/authenticate?execution=3f1c&secret=1",
            "Keycloak asks ada for more",
            "One-time code",
        ),
    ],
)
def test_a_page_without_a_login_form_is_an_error_with_what_it_says(page: str, url: str, what: str, why: str) -> None:
    with pytest.raises(SignInRefused, match=what) as caught:
        login_form(page, url, "ada", "https://kc/realms/r")
    assert caught.value.why == why
    assert "secret" not in str(caught.value)


class Site(http.server.ThreadingHTTPServer):
    """A server that redirects ``/start`` as configured, shows a login form for everything else, and writes down what is posted to it."""

    def __init__(self, certificate: Pair | None = None) -> None:
        site = self
        self.leads_to = self.form_to = self.code_to = ""
        self.posted: list[bytes] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                leads = self.path.startswith("/api/auth/keycloak/start")
                self.send_response(302 if leads else 200)
                if leads:
                    self.send_header("Location", site.leads_to)
                self.end_headers()
                fields = '<input name="username"><input name="password">'
                self.wfile.write(f'<form id="kc-form-login" method="post" action="{site.form_to}">{fields}'.encode())

            def do_POST(self) -> None:
                site.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(302)
                self.send_header("Location", f"{site.code_to}?code=secret")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@dataclass
class Issuer:
    """As much of a Keycloak as the browser needs."""

    issuer: str
    ca: Path


@pytest.fixture
def rogue_and_keycloak(tmp_path: Path) -> Iterator[tuple[Site, Site, Browser]]:
    """What answers in the portal's place, the true Keycloak, and a browser that takes the first for the portal."""
    certificates = Certificates(tmp_path)
    with Site() as rogue, Site(certificates.server("keycloak")) as keycloak:
        issuer = cast("Keycloak", Issuer(f"{keycloak.url}/realms/r", certificates.authority("servers")))
        yield rogue, keycloak, Browser(rogue.url, issuer, lambda: None)
        for site in (rogue, keycloak):
            site.shutdown()


@pytest.mark.fault(
    "Neighbours",
    "something in the portal's place that leads the sign-in to a form of its own, or a form that is to be sent elsewhere",
    "nothing is sent: a password goes to the issuer's own https address only",
)
@pytest.mark.parametrize(
    "elsewhere",
    ["{rogue}/form", "{http}/form", "{keycloak}@localhost:{port}/", "{keycloak}.example.org/", "https://example.org\\@{host}/", "//x/"],
)
def test_a_password_is_sent_to_the_issuers_own_address_only(
    rogue_and_keycloak: tuple[Site, Site, Browser], elsewhere: str, workshop: Workshop
) -> None:
    rogue, keycloak, browser = rogue_and_keycloak
    host = keycloak.url.removeprefix("https://")
    address = elsewhere.format(rogue=rogue.url, keycloak=keycloak.url, http=f"http://{host}", port=rogue.server_port, host=host)
    rogue.form_to = f"{rogue.url}/steal"
    for way in ((address, ""), (f"{keycloak.url}/form", address)):
        rogue.leads_to, keycloak.form_to = way
        with pytest.raises(PortalError, match="leads elsewhere") as caught:
            browser.sign_in(workshop.user("user-admin"))
        assert f"and not to {keycloak.url}" in caught.value.why
    assert (rogue.posted, keycloak.posted) == ([], [])


@pytest.mark.fault("Neighbours", "a sign-in that Keycloak is asked to end at somebody else's address", "the code is not taken there")
def test_a_code_is_taken_to_the_portal_only(rogue_and_keycloak: tuple[Site, Site, Browser], workshop: Workshop) -> None:
    rogue, keycloak, browser = rogue_and_keycloak
    # The form is Keycloak's own; what it answers leads to neither of the two.
    rogue.leads_to = keycloak.form_to = f"{keycloak.url}/form"
    keycloak.code_to = "http://localhost:9/form"
    with pytest.raises(PortalError, match="leads elsewhere") as caught:
        browser.sign_in(workshop.user("user-admin"))
    assert f"Keycloak sends people back to {keycloak.code_to}, and not to {rogue.url}" in caught.value.why
    assert len(keycloak.posted) == 1


def test_behind_a_proxy_the_portal_itself_is_asked_and_its_cookies_are_of_the_proxys_address() -> None:
    asked: list[tuple[str, str | None]] = []

    class Portal(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Cookie"]))
            self.send_response(200)
            self.send_header("Set-Cookie", "sid=1; Path=/user/ada/portal/api; Secure; HttpOnly")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Portal) as portal:
        threading.Thread(target=portal.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        page, keycloak = "https://hub.example/user/ada/portal", cast("Keycloak", None)
        browser = Browser(page, keycloak, lambda: None, server=f"http://127.0.0.1:{portal.server_port}")
        for path in ("/api/a?b=c", f"{page}/api/auth/handler?code=1", "/elsewhere"):
            browser.send("GET", path)
        portal.shutdown()
    assert asked == [("/api/a?b=c", None), ("/api/auth/handler?code=1", "sid=1"), ("/elsewhere", None)]


def answer(status: int, body: object) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return made


def backstage(name: str, message: str, **more: object) -> object:
    return {"error": {"name": name, "message": message, **more}, "response": {"statusCode": 0}}


@pytest.mark.parametrize(
    ("status", "body", "error", "what", "why"),
    [
        (403, {"kind": "Status", "message": WORDS}, Forbidden, WORDS, ""),
        (403, backstage("NotAllowedError", f"create: {WORDS}", refusal=REFUSAL), Forbidden, WORDS, f"create: {WORDS}"),
        (403, backstage("NotAllowedError", WORDS), NotPermitted, "the portal's rules don't permit this", WORDS),
        (
            404,
            backstage("NotFoundError", "no", refusal={**REFUSAL, "status": 404}),
            PortalError,
            "the portal can't do this",
            "it answered 404: no",
        ),
        (
            403,
            backstage("NotAllowedError", ""),
            NotPermitted,
            "the portal's rules don't permit this",
            "the portal's permission policy does not allow you this request",
        ),
        (
            404,
            backstage("NotFoundError", ""),
            PortalError,
            "the portal can't do this",
            "it answered 404: it gives no reason (NotFoundError)",
        ),
        (401, {"kind": "Status", "message": "Unauthorized"}, Unauthorized, "the API server answered 401", "Unauthorized"),
        (
            401,
            backstage("AuthenticationError", "read: 401", refusal={**REFUSAL, "status": 401}),
            Unauthorized,
            "the API server answered 401",
            "read: 401",
        ),
        (403, "<html>", NotPermitted, "the portal's rules don't permit this", "<html>"),
        (401, backstage("AuthenticationError", "expired"), NotSignedIn, "the portal has no token of yours to act with", "expired"),
        (404, backstage("NotFoundError", "no such"), PortalError, "the portal can't do this", "it answered 404: no such"),
        (502, "<html>", PortalError, "the portal can't do this", "it answered 502: <html>"),
        (500, ["no", "object"], PortalError, "the portal can't do this", 'it answered 500: ["no", "object"]'),
    ],
)
def test_a_refusal_is_the_clusters_or_the_portals_and_keeps_its_words(
    status: int, body: object, error: type[LabkitError], what: str, why: str
) -> None:
    told = translated(answer(status, body))
    assert type(told) is error
    assert (told.what, told.why) == (what, why)


def test_the_user_whom_the_cluster_refuses_is_shown_beside_its_words() -> None:
    """Whatever the words are: they may name another person, or nobody."""
    refusal = {**REFUSAL, "user": "ada", "message": 'a label is forbidden: User "somebody"'}
    told = translated(answer(403, backstage("NotAllowedError", "delete: …\nDone before: nothing", refusal=refusal)))
    assert isinstance(told, Forbidden)
    assert (told.user, told.what) == ("ada", refusal["message"])
    assert "Done before: nothing" in told.why


def test_all_that_a_form_has_against_the_values_is_listed() -> None:
    errors = [{"stack": "instance.name is not a string"}, {"message": "requires property", "stack": "instance requires property"}]
    assert problems(answer(400, {"errors": errors})) == ("instance.name is not a string", "instance requires property")
    assert problems(answer(400, backstage("InputError", "other"))) == ()


def stream(*events: tuple[str, Mapping[str, object]]) -> Iterator[str]:
    """The lines of an event stream, with its other fields, comments and empty lines."""
    for kind, body in events:
        yield from (": comment", f"event: {kind}", f"data: {json.dumps({'type': kind, 'body': body})}", "")


def test_a_task_is_shown_line_by_line_without_colours_and_stacks_and_ends_with_its_output() -> None:
    said: list[str] = []
    lines = stream(
        ("log", {"message": "\x1b[32minfo\x1b[39m: created x"}),
        ("log", {"message": "Error: no\n    at file.js:1\n    at other.js:2"}),
        ("completion", {"message": "done", "output": {"resourceId": "configmaps/default/x"}}),
    )
    result = follow(lines, "1", "template:default/t", said.append)
    assert said == list(result.log) == ["info: created x", "Error: no"]
    assert str(result) == "template:default/t is done: configmaps/default/x"


def test_a_task_that_the_cluster_refused_is_its_403() -> None:
    message = f"Document 1 was refused: 403 Forbidden: {WORDS}\nDone before: created configmaps/default/a"
    carried = ("log", {"message": f"\x1b[31merror\x1b[39m: the API server's refusal {json.dumps({'refusal': REFUSAL})}", "stepId": "make"})
    failed = ("completion", {"error": {"name": "NotAllowedError", "message": message}})
    said: list[str] = []
    with pytest.raises(Forbidden) as caught:
        follow(stream(("log", {"message": f"NotAllowedError: {message}"}), carried, failed), "1", "t", said.append)
    assert (caught.value.what, caught.value.user) == (WORDS, "user-dev@kratix.io")
    assert "created configmaps/default/a" in caught.value.why
    assert said == [f"NotAllowedError: {message}"]


def test_words_alone_are_no_refusal_of_the_clusters() -> None:
    """A task's own words may say anything, such as a manifest's."""
    with pytest.raises(TaskFailed) as caught:
        follow(stream(("completion", {"error": {"name": "InputError", "message": WORDS}})), "1", "t", print)
    assert caught.value.why == WORDS


def test_a_task_that_failed_otherwise_is_shown_with_its_words_and_its_log() -> None:
    failed = ("completion", {"error": {"name": "InputError", "message": "no kind"}})
    with pytest.raises(TaskFailed, match="t failed") as caught:
        follow(stream(("log", {"message": "Beginning"}), failed), "1", "t", lambda _: None)
    assert (caught.value.why, caught.value.log) == ("no kind", ("Beginning",))


def test_a_stream_that_breaks_off_is_a_failure_and_no_success() -> None:
    with pytest.raises(TaskFailed, match="fell silent before t was done"):
        follow(stream(("log", {"message": "Beginning"})), "1", "t", lambda _: None)


@pytest.mark.parametrize("text", ["", "[1]", "kind: Template", "a: [", "kind: Template\nmetadata: {}"])
def test_a_file_without_a_template_is_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(PortalError, match="holds no template"):
        read_template(file)


def test_a_catalog_is_a_table_of_references() -> None:
    entity = {"kind": "User", "metadata": {"name": "Ada"}, "relations": [{"type": "memberOf", "targetRef": "group:default/g"}]}
    catalog = Catalog((entity,))
    assert catalog.refs == ("user:default/ada",)
    assert "memberOf group:default/g" in str(catalog)


def test_the_picture_of_the_tokens_way_says_in_text_what_it_shows_and_where_the_token_is_kept() -> None:
    memory, claim = TokenWay("memory", "portal"), TokenWay("claim", "portal")
    assert "in memory, under a handle" in str(memory)
    assert "into the claim tok" in str(claim)
    assert "<svg" in memory.html()
    assert all(text in str(memory) for _, text in memory.messages)
    assert memory.html().count("<text") == 4 + len(memory.messages)
