"""The headless run: what it leaves behind when it passes, fails or is interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from labkit.common.errors import LabRunFailed
from labkit.common.ownership import make_private
from labkit.config.hosting import SECRET_VARIABLE
from labkit.config.settings import Settings
from labkit.config.state_folder import StateFolder
from labkit.course.runner import run
from labkit.lab import Lab
from tests.hostile import HOSTILE
from tests.support import QUICK_LABS, belonging_to, given_away, labkit, on_record, wait_for

START_A_SERVER = """
import sys
from labkit.lab import Lab
from labkit.servers.processes import Server
lab = Lab.open()
made = lab.settings.folder / "by-the-server"
lab.processes.start(Server("sleeper", (sys.executable, "-c", "open('by-the-server', 'w'); import time; time.sleep(600)"), (), made.exists))
"""


def _root_with(folder: Path, monkeypatch: pytest.MonkeyPatch, *cells: str) -> Path:
    """A checkout whose only lab has these cells; the current folder from now on."""
    make_private(folder / "notebooks")
    _add_lab(folder, "00-start-here", *cells)
    monkeypatch.chdir(folder)
    return folder


def _add_lab(root: Path, name: str, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")


def _makes(name: str) -> str:
    return f"open({name!r}, 'w').close()"


def _awaits(name: str) -> str:
    return f"import os, time\nwhile not os.path.exists({name!r}): time.sleep(0.05)"


def test_an_emptied_state_folder_keeps_only_its_secrets_in_hosted_realms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _root_with(tmp_path / "checkout", monkeypatch, "1 + 1")
    home = root / "build" / "run-home"
    run(["00-start-here"], root / "build" / "labs")
    StateFolder(home).own_secrets.parent.mkdir(exist_ok=True)
    StateFolder(home).own_secrets.write_text("{}")
    (home / "left-over").touch()
    run(["00-start-here"], root / "build" / "labs")
    assert StateFolder(home).own_secrets.read_text() == "{}"
    assert StateFolder(home).own_secrets.stat().st_mode & 0o777 == 0o600
    assert not (home / "left-over").exists()


@pytest.mark.fault("Neighbours", "a headless run under a umask of 000", "what its cells and its servers make is the person's alone")
def test_what_a_run_makes_is_the_persons_alone_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        root = _root_with(tmp_path / "checkout", monkeypatch, "open('made', 'w').close()", START_A_SERVER)
        assert run(["00-start-here"], root / "build" / "labs").ok
    finally:
        os.umask(before)
    build = root / "build"
    made = (root / "made", build / "run-home" / "by-the-server", build / "labs" / "index.html", build / "labs", build)
    assert [path.stat().st_mode & 0o777 for path in made] == [0o600, 0o600, 0o600, 0o700, 0o700]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run of the labs."""
    output = tmp_path_factory.mktemp("run") / "labs"
    assert run(QUICK_LABS, output).ok
    return output


def test_the_labs_pass_and_the_summary_tells_each_with_its_cells(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["ok"]
    assert [lab["lab"] for lab in summary["labs"]] == QUICK_LABS
    assert all(lab["ok"] and lab["seconds"] > 0 and lab["cells"] for lab in summary["labs"] if not lab["not_run"])
    assert {lab["lab"] for lab in summary["labs"] if lab["not_run"]} <= {"08-kratix"}


@pytest.mark.fault(
    "Commands", "make run-labs on a machine that can't run a lab", "it is recorded as not run, with the reason, never as passed"
)
def test_a_lab_that_can_not_be_run_here_is_recorded_with_the_reason_and_not_as_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _root_with(tmp_path / "checkout", monkeypatch, "1 + 1")
    _add_lab(root, "08-kratix", "1 + 1")
    monkeypatch.delenv("LABKIT_KRATIX_SOURCE", raising=False)
    done = labkit("run", "00-start-here", "08-kratix", cwd=root)
    assert done.returncode == 0, done.stderr
    last, reason = (
        done.stdout.splitlines()[-1],
        "08-kratix not run, because Kratix can't be had here: its controller is published as a container",
    )
    assert last.startswith("ok 1 labs in ")
    assert reason in last
    first, second = json.loads((root / "build" / "labs" / "summary.json").read_text())["labs"]
    assert (first["ok"], first["not_run"]) == (True, "")
    assert (second["ok"], second["cells"]) == (False, [])
    assert second["not_run"].startswith("Kratix can't be had here")
    assert "not run, because Kratix can" in (root / "build" / "labs" / "index.html").read_text()
    assert not (root / "build" / "labs" / "08-kratix.ipynb").exists()


@pytest.mark.fault("Neighbours", "settings and keys for others in the environment of a headless run", "no cell sees them")
def test_a_cell_sees_no_variable_that_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "of-a-keycloak-that-is-not-used")
    strange = {*HOSTILE, "NETRC", SECRET_VARIABLE} - {"no_proxy"}
    assert strange <= set(os.environ)
    cell = f"import os\nseen = {strange!r} & set(os.environ)\nassert not seen, seen\nassert 'LABKIT_HOME' in os.environ"
    done = labkit("run", "00-start-here", cwd=_root_with(tmp_path / "checkout", monkeypatch, cell))
    assert done.returncode == 0, done.stderr


def test_the_page_holds_every_lab_and_loads_nothing_from_elsewhere(finished: Path) -> None:
    page = (finished / "index.html").read_text()
    ran = [lab["lab"] for lab in json.loads((finished / "summary.json").read_text())["labs"] if not lab["not_run"]]
    assert all(f'id="{name}"' in page for name in ran)
    assert "84 of 84 answers as expected" in page
    # A link that a reader may follow loads nothing by itself.
    assert not re.search(r"""(src=|<link[^>]+href=)["'](https?:)?//""", page)


@pytest.mark.fault("Exposure", "a secret in the executed labs or their logs", "none: all are searched")
def test_no_secret_is_in_the_results_or_the_logs(finished: Path) -> None:
    home = finished.with_name("run-home")
    password = (home / "secrets" / "keycloak-admin").read_text()
    files = [file for folder in (finished, home / "logs") for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 15
    assert given_away(files, {"the administrator's password": password}) == {}


def test_after_the_last_lab_nobodys_token_is_kept(finished: Path) -> None:
    home = finished.with_name("run-home")
    assert given_away([home / "kubeconfig"], {}) == {}
    assert list((home / "credentials").iterdir()) == []


@pytest.mark.fault("Commands", "make run-labs has passed", "nothing of it runs")
def test_a_run_that_passed_leaves_no_process(finished: Path) -> None:
    home = finished.with_name("run-home")
    assert (home / "home.json").exists()
    assert on_record(home) == []
    lab = Lab(Settings.load({"LABKIT_HOME": str(home)}))
    assert lab.processes.names() == []
    assert [server.state for server in lab.status().servers] == ["stopped"] * 5


@pytest.mark.fault("Commands", "a cell fails in make run-labs", "the run stops with cell, error and log; its servers stay to be looked at")
def test_a_failing_cell_stops_the_run_and_leaves_the_servers_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _root_with(tmp_path / "checkout", monkeypatch, START_A_SERVER, "1 / 0", "print('never')")
    output = root / "build" / "labs"
    try:
        with pytest.raises(LabRunFailed) as failure:
            run(["00-start-here"], output)
        said = str(failure.value)
        assert "00-start-here stopped at code cell 2:\n    1 / 0\ndivision by zero" in said.replace("\n  ", "\n  ")
        assert f"LABKIT_HOME={root / 'build' / 'run-home'} labkit down" in said
        assert "sleeper.log" in said
        summary = json.loads((output / "summary.json").read_text())
        assert [cell["ok"] for cell in summary["labs"][0]["cells"]] == [True, False]
        assert not summary["ok"]
        assert (output / "index.html").exists()
        assert on_record(root / "build" / "run-home")
    finally:
        monkeypatch.setenv("LABKIT_HOME", str(root / "build" / "run-home"))
        Lab(Settings.load()).down()


def test_the_lab_of_faults_runs_beside_the_others_and_the_clean_up_after_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _root_with(tmp_path / "checkout", monkeypatch, _makes("00"))
    _add_lab(root, "01-keycloak", "assert open('00')", _makes("01"), _awaits("07"))
    _add_lab(root, "02-cluster", _makes("02"))
    _add_lab(root, "07-break-and-fix", "assert open('00')", _makes("07"), _awaits("02"), _makes("07-ended"))
    _add_lab(root, "99-clean-up", "assert open('02') and open('07-ended')")
    names = ["00-start-here", "01-keycloak", "02-cluster", "07-break-and-fix", "99-clean-up"]
    assert run(names, root / "build" / "labs").ok
    summary = json.loads((root / "build" / "labs" / "summary.json").read_text())
    assert [lab["lab"] for lab in summary["labs"] if lab["ok"]] == names
    assert summary["seconds"] < sum(lab["seconds"] for lab in summary["labs"])
    page = (root / "build" / "labs" / "index.html").read_text()
    assert sorted(names, key=lambda name: page.index(f'<a id="{name}">')) == names


@pytest.mark.fault(
    "Commands", "a cell fails in make run-labs while another lab runs", "the run stops with that cell; the other lab is stopped, not failed"
)
@pytest.mark.parametrize(("failing", "stopped"), [("01-keycloak", "07-break-and-fix"), ("07-break-and-fix", "01-keycloak")])
def test_a_failure_stops_the_lab_that_runs_beside_it(failing: str, stopped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _root_with(tmp_path / "checkout", monkeypatch, "1 + 1")
    _add_lab(root, failing, _awaits("busy"), "1 / 0")
    _add_lab(root, stopped, _makes("busy"), "import time; time.sleep(600)")
    _add_lab(root, "99-clean-up", "1 + 1")
    done = labkit("run", "00", failing, stopped, "99", cwd=root)
    assert done.returncode == 1
    assert f"{failing} stopped at code cell 2:" in done.stderr
    said = {line.split()[2]: line for line in done.stdout.splitlines() if "[" in line}
    assert list(said) == ["00-start-here", failing, stopped]
    assert "1 of 2 cells" in said[failing]
    assert "stopped after 1 of 2 cells" in said[stopped]
    summary = json.loads((root / "build" / "labs" / "summary.json").read_text())
    assert [(lab["lab"], lab["ok"]) for lab in summary["labs"]] == [("00-start-here", True), (failing, False)]
    assert belonging_to(root / "build" / "run-home") == []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(how, marks=pytest.mark.fault("Commands", f"{what} while two labs run", outcome))
        for how, what, outcome in (
            (signal.SIGINT, "make run-labs is interrupted (SIGINT)", "what it started is stopped"),
            (signal.SIGTERM, "make run-labs is interrupted (SIGTERM)", "what it started is stopped"),
            (signal.SIGKILL, "kill -9 of `make run-labs`", "their kernels end by themselves"),
        )
    ],
)
def test_an_interrupt_stops_what_the_run_started(how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _root_with(tmp_path / "checkout", monkeypatch, START_A_SERVER)
    labs = ("01-keycloak", "07-break-and-fix")
    for name in labs:
        _add_lab(root, name, _makes(name), "import time; time.sleep(600)")
    home = root / "build" / "run-home"
    running = subprocess.Popen(
        [sys.executable, "-P", "-m", "labkit", "run", "00", *labs],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: all((root / name).exists() for name in labs) or running.poll() is not None)
        servers, kernels = on_record(home), belonging_to(home, "ipykernel_launcher")
        running.send_signal(how)
        said, _ = running.communicate(timeout=60)
        wait_for(lambda: belonging_to(home, "ipykernel_launcher") == [])
        left = on_record(home)
    finally:
        running.kill()
        running.wait()
        monkeypatch.setenv("LABKIT_HOME", str(home))
        Lab.open().down()
    assert (len(kernels), bool(servers)) == (2, True), said
    if how is signal.SIGKILL:
        assert left == servers
    else:
        assert running.returncode == 130, said
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in servers), said
        assert said.count("stopped after 1 of 2 cells") == 2
