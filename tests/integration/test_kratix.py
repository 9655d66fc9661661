"""Kratix's real controller beside a local cluster, from the checkout that LABKIT_KRATIX_SOURCE names; without, skipped with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.cluster.person import Person
from labkit.common.errors import CheckFailed, ClusterError, Forbidden, InvalidValues, TaskFailed
from labkit.course.steps import STEPS, attempt, check, examine, solve
from labkit.kratix.promise import Promise, RequestStatus, wait_until_taken
from labkit.lab import Lab
from labkit.portal.client import PortalSession
from tests.support import labkit, session_of, wait_for


@pytest.mark.fault("Commands", "labkit kratix up where Kratix can't be had", "refused in two lines: why, and the ways out")
def test_where_kratix_can_not_be_had_labkit_says_so_in_two_lines(tmp_path: Path) -> None:
    done = labkit("kratix", "up", LABKIT_KRATIX_SOURCE="", LABKIT_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    why, fix = done.stderr.splitlines()
    assert why.startswith("failed Kratix can't be had here: its controller is published as a container image")
    assert fix.startswith("  fix: set LABKIT_KRATIX_SOURCE to a checkout of Kratix")


@pytest.fixture(scope="module")
def kratix(lab: Lab) -> Iterator[Lab]:
    """A lab with Kratix and the workshop's Promise; both are gone afterwards."""
    if lab.kratix.lacking:
        pytest.skip(f"not run, because {lab.kratix.lacking}")
    lab.kratix.start()
    lab.kratix.install(lab.kratix.team_space)
    yield lab
    lab.kratix.start()
    lab.kratix.remove(lab.kratix.team_space)
    lab.kratix.stop()


@pytest.fixture
def promise(kratix: Lab) -> Promise:
    return kratix.kratix.team_space


@pytest.fixture
def admin(kratix: Lab) -> Person:
    return kratix.sign_in("user-admin")


@pytest.fixture
def dev(kratix: Lab) -> Person:
    return kratix.sign_in("user-dev")


@pytest.fixture
def at_portal(kratix: Lab) -> PortalSession:
    return kratix.portal.sign_in("user-admin")


def ask(person: Person, request: dict[str, object]) -> None:
    person.kubectl("create", "-f", "-", stdin=json.dumps(request))


def stored(lab: Lab, promise: Promise, name: str) -> dict[str, object]:
    found = lab.kratix.find(promise.resource, name)
    assert found is not None
    return found


def network_of(pid: int | str) -> Path:
    """The network namespace that a process is in."""
    return Path(f"/proc/{pid}/ns/net").readlink()


@pytest.mark.fault(
    "Exposure", "Kratix's controller, which listens on every interface", "it has a network of its own; only a relay on loopback is seen"
)
def test_of_kratix_only_its_webhooks_are_seen_and_on_loopback(kratix: Lab) -> None:
    processes = {process.pid: process for process in session_of(kratix.settings.folder, "kratix")}
    assert "manager" in {process.name() for process in processes.values()}
    apart = {process.name() for pid, process in processes.items() if network_of(pid) != network_of("self")}
    assert "manager" in apart
    listening = [c.laddr for c in psutil.net_connections("inet") if c.pid in processes and c.status == psutil.CONN_LISTEN]
    seen = {(address.ip, address.port) for address in listening if address}
    assert seen == {("127.0.0.1", kratix.settings.ports["kratix_webhook"])}


def test_starting_it_again_takes_over_the_one_that_runs(kratix: Lab) -> None:
    before = kratix.processes.running("kratix")
    assert kratix.kratix.start() == before
    assert ("kratix", "runs") in [(server.name, server.state) for server in kratix.status().servers]


def test_a_request_of_the_administrator_is_taken_with_the_apis_defaults(kratix: Lab, promise: Promise, admin: Person) -> None:
    ask(admin, promise.request("by-admin", team="blue"))
    taken = wait_until_taken(lambda: stored(kratix, promise, "by-admin"))
    wait_for(lambda: RequestStatus.of(stored(kratix, promise, "by-admin")).version == "v0.1.0")
    assert taken.spec == {"team": "blue", "environment": "dev", "cpus": 2, "memory": "4Gi", "internet": False}


def test_a_request_of_the_developer_is_the_api_servers_403(promise: Promise, dev: Person) -> None:
    with pytest.raises(Forbidden) as refused:
        ask(dev, promise.request("by-dev", team="green"))
    assert refused.value.user == "user-dev@kratix.io"
    assert 'cannot create resource "teamspaces" in API group "platform.example"' in refused.value.what
    with pytest.raises(Forbidden, match='cannot create resource "promises"'):
        dev.kubectl("create", "-f", "-", stdin=json.dumps({**promise.manifest, "metadata": {"name": "of-dev"}}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec.team: Required value"),
        ({"team": "Blue!"}, "spec.team in body should match"),
        ({"team": "blue", "environment": "moon"}, 'Unsupported value: "moon"'),
        ({"team": "blue", "cpus": 17}, "should be less than or equal to 16"),
        ({"team": "blue", "cpus": "many"}, "must be of type integer"),
        ({"team": "blue", "environment": "prod"}, "a space for prod needs a contact"),
    ],
)
def test_the_api_server_judges_each_request_by_the_promises_schema(
    promise: Promise, admin: Person, spec: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClusterError, match=said):
        ask(admin, promise.request("wrong", **spec))


@pytest.mark.fault("Access", "something that is no Promise is published as one", "Kratix's webhook refuses it, in its own words")
def test_kratix_refuses_a_promise_whose_api_is_none(promise: Promise, admin: Person) -> None:
    wrong = {**promise.manifest, "metadata": {"name": "wrong"}, "spec": {"api": {"apiVersion": "v1", "kind": "ConfigMap"}}}
    with pytest.raises(ClusterError, match=r"admission webhook .* denied the request"):
        admin.kubectl("create", "-f", "-", stdin=json.dumps(wrong))


def test_the_generated_form_is_taken_by_the_portal_and_its_request_by_the_cluster(
    kratix: Lab, promise: Promise, at_portal: PortalSession
) -> None:
    template = at_portal.register_template(kratix.kratix.template_file(promise))
    assert check(kratix, "promise-template").ok
    spec = {"team": "blue", "environment": "prod", "cpus": 4, "memory": "512Mi", "internet": True, "contacts": ["blue@team.example"]}
    done = at_portal.run_template(template, {"name": "by-form", "spec": spec})
    assert done.output["resourceId"] == "teamspaces.platform.example/default/by-form"
    assert wait_until_taken(lambda: at_portal.resource(promise.kind, "by-form", promise.api_version, "default")).spec == spec


@pytest.mark.parametrize("spec", [{}, {"team": "Blue!"}, {"team": "blue", "environment": "moon"}, {"team": "blue", "cpus": 17}])
def test_the_portal_refuses_what_the_form_can_say(kratix: Lab, promise: Promise, at_portal: PortalSession, spec: dict[str, object]) -> None:
    template = at_portal.register_template(kratix.kratix.template_file(promise))
    with pytest.raises(InvalidValues):
        at_portal.run_template(template, {"name": "wrong", "spec": spec})


def test_what_the_form_can_not_say_the_api_server_enforces(kratix: Lab, promise: Promise, at_portal: PortalSession) -> None:
    made = kratix.kratix.template(promise)
    assert ("spec", "x-kubernetes-validations", "a space for prod needs a contact") in made.left_out
    template = at_portal.register_template(kratix.kratix.template_file(promise))
    with pytest.raises(TaskFailed) as refused:
        at_portal.run_template(template, {"name": "wrong", "spec": {"team": "blue", "environment": "prod"}})
    assert "a space for prod needs a contact" in refused.value.why


def test_through_the_portal_the_developer_gets_the_api_servers_403_too(kratix: Lab, promise: Promise, at_portal: PortalSession) -> None:
    template = at_portal.register_template(kratix.kratix.template_file(promise))
    with pytest.raises(Forbidden) as refused:
        kratix.portal.sign_in("user-dev").run_template(template, {"name": "by-dev", "spec": {"team": "green"}})
    assert refused.value.user == "user-dev@kratix.io"


def test_the_finer_role_lets_the_developer_ask_and_do_nothing_else_until_it_is_taken_back(
    kratix: Lab, promise: Promise, dev: Person
) -> None:
    with pytest.raises(CheckFailed, match="user-dev may not create teamspaces"):
        check(kratix, "promise-roles")
    kratix.kratix.let_request(promise, "kube-dev")
    try:
        dev.api.wait_until("create", promise.resource, allowed=True)
        assert check(kratix, "promise-roles").ok
        ask(dev, promise.request("now-by-dev", team="green"))
        assert wait_until_taken(lambda: stored(kratix, promise, "now-by-dev")).pending == ""
        with pytest.raises(Forbidden):
            dev.kubectl("delete", "promise", promise.name)
    finally:
        kratix.kratix.keep_from_requesting(promise, "kube-dev")
    dev.api.wait_until("create", promise.resource, allowed=False)


def test_the_labs_checks_name_what_is_not_as_it_should_be(kratix: Lab, promise: Promise, admin: Person) -> None:
    assert [name for name in ("kratix", "promise") if not examine(kratix, name).ok] == []
    ask(admin, promise.request("left-over", team="blue"))
    with pytest.raises(CheckFailed, match="TeamSpace default/left-over"):
        check(kratix, "requests-gone")
    admin.kubectl("delete", promise.resource, "--all")
    assert check(kratix, "requests-gone").ok


@pytest.mark.fault(
    "Servers", "Kratix is stopped", "requests are stored and stay pending; Promises are refused; both go on when it starts again"
)
def test_the_exercise_is_not_done_until_its_solution_is_and_again_when_it_is_undone(kratix: Lab) -> None:
    step = STEPS["promise-readers"]
    assert step.undo
    assert not attempt(kratix, step.name).ok
    for _ in range(2):
        assert solve(kratix, step).ok
    kratix.kratix.let_request(kratix.kratix.team_space, "kube-audit")
    assert [finding.ok for finding in examine(kratix, step.name).bad] == [False, False]
    kratix.kratix.keep_from_requesting(kratix.kratix.team_space, "kube-audit")
    for _ in range(2):
        step.undo(kratix)
    assert not attempt(kratix, step.name).ok


def test_while_it_is_stopped_requests_are_pending_and_promises_refused(kratix: Lab, promise: Promise, admin: Person) -> None:
    assert kratix.kratix.stop()
    try:
        assert "kratix" not in [server.name for server in kratix.status().servers]
        ask(admin, promise.request("meanwhile", team="blue"))
        assert RequestStatus.of(stored(kratix, promise, "meanwhile")).pending == "Kratix has said nothing of it yet"
        with pytest.raises(ClusterError, match="failed calling webhook") as refused:
            admin.kubectl("label", "promise", promise.name, "colour=blue")
        assert "labkit doctor" in refused.value.fix
        with pytest.raises(CheckFailed, match="Kratix does not run"):
            check(kratix, "kratix")
    finally:
        kratix.kratix.start()
    assert wait_until_taken(lambda: stored(kratix, promise, "meanwhile")).pending == ""


@pytest.mark.fault("Servers", "Kratix's controller dies", "it is shown as stopped, its relays end with it, and the next start is a new one")
def test_a_controller_that_died_takes_its_relays_with_it_and_is_started_again(kratix: Lab) -> None:
    processes = session_of(kratix.settings.folder, "kratix")
    next(process for process in processes if process.name() == "manager").kill()
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes))
    assert ("kratix", "stopped") in [(server.name, server.state) for server in kratix.status().servers]
    kratix.kratix.start()
    assert check(kratix, "kratix").ok


def test_the_command_line_starts_shows_and_stops_it(kratix: Lab) -> None:
    shown = labkit("kratix", "status")
    assert (shown.returncode, "Promise team-space" in shown.stdout) == (0, True), shown.stderr
    stopped = labkit("kratix", "down")
    assert (stopped.returncode, stopped.stdout) == (0, "ok stopped Kratix\n")
    assert labkit("kratix", "status").returncode == 3
    started = labkit("kratix", "up")
    assert started.returncode == 0, started.stderr
    assert "available" in started.stdout
