"""What a seat of a room keeps of its progress and sends to the instructor's view, and what it never does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli import main
from labkit.common.display import Finding
from labkit.common.errors import IdentityError, SettingsError
from labkit.common.problems import ids, problem
from labkit.config.settings import Settings
from labkit.course.steps import LABS, STEPS, Step, attempt, begin, helping, progress, reset_lab, sending, solve
from labkit.course.steps.progress import allowed, snapshot
from labkit.doctor.diagnosis import Diagnosis, Found
from labkit.lab import Lab

SECRET = "s3cret-of-somebody"


class View:
    """Stands in for the view: what was sent to it, with which token."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, Any]]] = []
        self.came = threading.Condition()
        view = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with view.came:
                    view.got.append((self.path, self.headers["Authorization"], body))
                    view.came.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        with self.came:
            assert self.came.wait_for(lambda: any(holds(body) for _, _, body in self.got), 20), self.got
            return next(body for _, _, body in reversed(self.got) if holds(body))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(helping, "_begun", [])
    return Lab(Settings.open())


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """A room: a view that answers, and a seat's token."""
    view = View()
    monkeypatch.setenv("LABKIT_ROOM_VIEW", f"http://127.0.0.1:{view.server.server_port}/services/view/")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", SECRET)
    yield view
    view.server.shutdown()
    view.server.server_close()


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """An exercise of lab 00 whose findings a test gives."""

    def check(_: Lab) -> Iterator[Finding]:
        """Think of it."""
        yield from found

    found: list[Finding] = []
    probe = Step(LABS[0].name, "probe", "something holds", 1, check, exercise=True)
    probe.solution(lambda _: None)
    monkeypatch.setitem(STEPS, "probe", probe)
    monkeypatch.setattr(probe, "found", found, raising=False)
    return probe


def find(step: Step, *findings: Finding) -> None:
    step.found[:] = findings  # type: ignore[attr-defined]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([SECRET, "done", "red", "keycloak-down", LABS[1].name]),
    lambda inside: st.lists(inside) | st.dictionaries(st.sampled_from([*progress._FIELDS, *progress._OF_A_STEP, "steps", SECRET]), inside),
)
steps = st.dictionaries(st.sampled_from(["realm", "keycloak", SECRET]), st.dictionaries(st.sampled_from([*progress._OF_A_STEP]), anything))


@given(st.fixed_dictionaries({"steps": steps | anything}, optional=dict.fromkeys([*progress._FIELDS, SECRET], anything)) | anything)
def test_only_ids_times_and_counts_are_sent_whatever_is_kept(found: object) -> None:
    """Deny by default: every text is a name that the code knows beforehand, and every field has a place in the list."""
    sent = allowed(found)
    assert SECRET not in json.dumps(sent)
    assert allowed(sent) == sent
    assert set(sent) <= {*progress._FIELDS, "steps"}
    known = {"done", "red", *ids(), *(info.name for info in LABS)}
    for value in [sent, *sent["steps"].values()]:
        texts = [text for each in value.values() for text in (each if isinstance(each, list) else [each]) if isinstance(text, str)]
        assert set(texts) <= known
    assert set(sent["steps"]) <= set(STEPS)


def test_secrets_in_findings_environment_and_errors_stay_where_they_are(lab: Lab, view: View, step: Step) -> None:
    find(step, Finding(True, SECRET), Finding(False, f"password={SECRET}", SECRET), Finding.of(IdentityError("keycloak-down").problem))
    attempt(lab, "probe")
    progress.note_doctor(lab, [SECRET, "keycloak-down"])
    find(step, Finding.of(SettingsError("file-not-writable", file=SECRET, reason=SECRET).problem))
    attempt(lab, "probe")
    view.wait_for(lambda body: body["steps"].get("probe", {}).get("finding") == "file-not-writable")
    assert SECRET not in json.dumps([body for _, _, body in view.got])
    assert {token for _, token, _ in view.got} == {f"token {SECRET}"}
    assert {path for path, _, _ in view.got} == {"/services/view/seat"}


def test_each_change_is_sent_whole(lab: Lab, view: View, step: Step) -> None:
    find(step, Finding(True, "one"), Finding.of(IdentityError("keycloak-down").problem))
    attempt(lab, "probe")
    red = view.wait_for(lambda body: bool(body["steps"]))["steps"]["probe"]
    since = red.pop("since")
    assert red == {"state": "red", "finding": "keycloak-down", "holds": 1, "of": 2}
    assert abs(since - time.time()) < 60
    find(step, Finding(True, "one"))
    solve(lab, step)
    done = view.wait_for(lambda body: body["steps"]["probe"]["state"] == "done")["steps"]["probe"]
    assert {name: value for name, value in done.items() if name != "since"} == {"state": "done", "holds": 1, "of": 1, "solution": True}
    reset_lab(lab, LABS[0])
    assert "probe" not in view.wait_for(lambda body: not body["steps"])["steps"]


@pytest.mark.fault(
    "Room", "the instructor's view is down, or answers nothing", "labs go on as ever; the next change brings the whole state"
)
def test_a_lab_neither_waits_nor_fails_for_a_view_that_does_not_answer(
    lab: Lab, view: View, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(step, Finding(True, "one"))
    silent = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    monkeypatch.setattr(sending, "_PATIENCE_SECONDS", 2)
    for address in (f"http://127.0.0.1:{silent.server_port}/", "http://127.0.0.1:1/", "nonsense"):
        monkeypatch.setenv("LABKIT_ROOM_VIEW", address)
        began = time.monotonic()
        assert attempt(lab, "probe").ok
        assert time.monotonic() - began < 1.5
    silent.server_close()
    monkeypatch.setenv("LABKIT_ROOM_VIEW", f"http://127.0.0.1:{view.server.server_port}/")
    begin(LABS[0].name)
    assert view.wait_for(lambda body: "probe" in body["steps"])["lab"] == LABS[0].name


@pytest.mark.fault(
    "Room", "a seat's disk is full", "a lab begins all the same, the doctor says what it finds, and the view keeps what it has"
)
def test_a_lab_begins_where_nothing_can_be_written_down(lab: Lab, view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SettingsError("file-disk-full", file="progress.json", reason="No space left on device")

    monkeypatch.setattr(progress, "write_private", full)
    begin(LABS[0].name)
    progress.note_doctor(lab, ["disk-full"])
    progress.note_opened(lab, "auditor", "hint")
    with pytest.raises(SettingsError):
        progress.note_help(lab, wanted=True)


def test_outside_of_a_room_nothing_is_sent_and_a_lab_looks_as_ever(
    lab: Lab, view: View, step: Step, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN")
    find(step, Finding(False, "one"))
    begin(LABS[0].name)
    assert "application/vnd.jupyter.widget-view+json" not in attempt(lab, "probe")._repr_mimebundle_()
    assert "help" not in capsys.readouterr().out
    assert sending.send(dict) is None
    progress.note_doctor(lab, ["keycloak-down"])
    assert set(snapshot(lab)) == {"at", "steps"}, "only what the lab itself shows is kept"
    assert main(["help-me"]) == 1
    assert "not in a room" in capsys.readouterr().err
    assert view.got == []


def buttons(bundle: dict[str, Any]) -> dict[str, Any]:
    """The buttons of a notebook's output, by what is written on them."""
    import ipywidgets
    from ipywidgets.widgets.widget import _instances

    shown = _instances[bundle["application/vnd.jupyter.widget-view+json"]["model_id"]]

    def inside(widget: Any) -> Iterator[Any]:
        yield widget
        for child in getattr(widget, "children", ()):
            yield from inside(child)

    return {each.description: each for each in inside(shown) if isinstance(each, ipywidgets.Button)}


def test_in_a_room_hint_and_solution_open_when_they_are_pressed_and_the_view_gets_that(lab: Lab, view: View, step: Step) -> None:
    find(step, Finding(False, "one"))
    begin(LABS[0].name)
    bundle = attempt(lab, "probe")._repr_mimebundle_()
    assert "Think of it" in str(bundle["text/html"])
    assert "hint" not in snapshot(lab)["steps"]["probe"]
    there = buttons(bundle)
    there["Hint"].click()
    assert view.wait_for(lambda body: "hint" in body["steps"].get("probe", {}))["steps"]["probe"]["hint"] is True
    there["Solution"].click()
    assert view.wait_for(lambda body: "solution" in body["steps"].get("probe", {}))
    attempt(lab, "probe")
    assert snapshot(lab)["steps"]["probe"]["hint"] is True


def test_a_hand_goes_up_and_down_by_a_button_and_by_a_verb(
    lab: Lab, view: View, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(helping, "diagnose", lambda _: Diagnosis((Found(problem("keycloak-down"), ""),), (), ()))
    button = buttons(helping._Help(lab)._repr_mimebundle_())["Ask for help"]
    button.click()
    asked = view.wait_for(lambda body: body.get("doctor") == ["keycloak-down"])
    assert abs(asked["help"] - time.time()) < 60
    assert "I no longer need help" in buttons(helping._Help(lab)._repr_mimebundle_())
    button.click()
    view.wait_for(lambda body: "doctor" in body and "help" not in body)
    assert main(["help-me"]) == 0
    assert "the instructor sees that you ask" in capsys.readouterr().out
    assert "help" in snapshot(lab)
    assert main(["help-me", "--show"]) == 0
    assert json.loads(capsys.readouterr().out) == snapshot(lab)
    assert main(["help-me", "--done"]) == 0
    assert "help" not in snapshot(lab)
