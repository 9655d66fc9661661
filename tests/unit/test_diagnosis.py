"""How the doctor names what its probes meet, without a server; tests/faults/test_doctor.py provokes each cause."""

from __future__ import annotations

import json
from threading import Barrier
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from labkit.cluster.access import Rbac
from labkit.cluster.kubectl import KubectlAnswer
from labkit.common.errors import ClusterError, SignInRefused, Unauthorized
from labkit.common.platform_folder import OWN
from labkit.common.problems import Problem, ids
from labkit.doctor import diagnose, diagnosis, probes
from labkit.identity.plan import Kind
from labkit.lab import Lab
from labkit.servers.machine import Machine
from labkit.workshop.workshop import Workshop


@pytest.fixture
def lab() -> Any:
    """In place of a lab: what the probes of these tests ask for."""
    workshop = Workshop.load(OWN, portal_url="http://localhost:1")
    return SimpleNamespace(session=str, settings=SimpleNamespace(folder="/h"), workshop=workshop)


def fails(error: Exception) -> Any:
    """Give a call that ends with an error."""

    def call(*_: object) -> None:
        raise error

    return call


def test_an_error_that_no_probe_foresaw_keeps_its_id_and_words(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor adds nothing of its own to it."""
    error = ClusterError(Problem("api-error", "the API server answered 500", "it broke", "look"))
    monkeypatch.setattr(diagnosis, "PROBES", {"the cluster": (fails(error), ()), "its people": (probes.people, ("the cluster",))})
    said = diagnose(cast("Lab", lab))
    assert (said.names, said.not_looked_at) == (["api-error"], ("its people",))
    assert str(said.found[0]) == "✘ api-error: the API server answered 500\n  seen: it broke\n  fix: look"


@pytest.mark.parametrize(("id_", "cause"), [("api-no-discovery-x509", "no-discovery"), ("api-unknown-key", "not-taken")])
def test_a_401_is_judged_by_its_id(lab: Any, id_: str, cause: str) -> None:
    """No sentence of the cluster's is searched."""
    refusal = Unauthorized(Problem(id_, "401", "whatever it says", "…"))
    lab.cluster = SimpleNamespace(api=lambda _: SimpleNamespace(whoami=fails(refusal)))
    found = {name for name, _ in probes.identities(lab, lambda _: cast("Any", None))}
    assert found == {cause}


@pytest.mark.parametrize(("id_", "cause"), [("refused-password", "password-changed"), ("refused-disabled", "sign-in-refused")])
def test_a_refused_sign_in_is_judged_by_its_id(lab: Any, id_: str, cause: str) -> None:
    """No sentence of Keycloak's is searched."""
    refusal = SignInRefused(Problem(id_, "no", "whatever it says", "…"))
    assert {name for name, _ in probes.people(lab, fails(refusal))} == {cause}


def test_the_doctor_goes_by_what_there_is() -> None:
    """A sign that nothing can ever show, as its name is mistyped, is none."""
    signs = probes._SIGNS
    assert {sign.partition(".")[0] for sign in signs["plan"]} <= set(get_args(Kind))
    assert (signs["refusal"].keys() | signs["unauthorized"].keys()) <= ids().keys()


def test_rbac_objects_are_judged_by_what_differs(lab: Any) -> None:
    """Each kind of object is named, missing or changed."""
    rules, binding, other = lab.workshop.cluster.rbac.documents
    there = [{**rules, "rules": []}, {**binding, "subjects": []}]
    kubectl = KubectlAnswer("kubectl get", json.dumps({"items": there}))
    lab.cluster = SimpleNamespace(rbac=Rbac(lab.workshop.cluster, lambda *_, **__: kubectl))
    assert [*probes.rbac(lab, lambda _: cast("Any", None))] == [
        ("role-changed", "ClusterRole cr-reader: its rules are not as declared"),
        ("binding-changed", f"ClusterRoleBinding {binding['metadata']['name']}: its subjects are not as declared"),
        ("binding-missing", f"ClusterRoleBinding {other['metadata']['name']} is missing"),
    ]


def test_a_full_disk_is_named_with_its_folder(lab: Any) -> None:
    """The words are those of a server that fails for it."""
    lab.machine = lambda: Machine("Linux", 2, 8.0, 0.01)
    ((problem, seen),) = probes.machine(lab, lambda _: cast("Any", None))
    assert isinstance(problem, Problem)
    assert (problem.id, problem.why) == ("disk-full", "the disk that holds /h is full")
    assert seen == "10 MB free at /h"


def test_probes_that_need_nothing_of_each_other_look_at_once_and_the_table_gives_the_order(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes of it is the same as one after another: the deepest cause first."""
    both = Barrier(2, timeout=10)

    def looks(name: str, *causes: str) -> Any:
        def probe(*_: object) -> probes.Causes:
            both.wait()
            yield from ((cause, name) for cause in causes)

        return probe

    table = {
        "realm": (looks("realm"), ()),
        "trust": (looks("trust", "wrong-ca"), ()),
        "portal": (fails(probes.NotThere()), ("realm",)),
        "people": (looks("people"), ("realm", "trust")),
        "access": (looks("access"), ("people",)),
    }
    monkeypatch.setattr(diagnosis, "PROBES", table)
    said = diagnose(cast("Lab", lab))
    assert (said.names, said.well, said.not_looked_at) == (["wrong-ca"], ("realm",), ("people", "access"))
