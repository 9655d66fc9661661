"""``labkit`` in a shell: what scripts can rely on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.config.settings import Settings, find_root
from labkit.course.steps import STEPS, overview
from labkit.lab import Lab
from tests.support import labkit


def test_status_tells_by_its_exit_code_whether_everything_runs(lab: Lab, tmp_path: Path) -> None:
    done = labkit("status", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["home"] == str(lab.settings.folder)
    assert {server["state"] for server in told["servers"]} == {"runs"}
    elsewhere = labkit("status", LABKIT_HOME=str(tmp_path / "other"))
    assert elsewhere.returncode == 3
    assert "stopped" in elsewhere.stdout


@pytest.mark.parametrize("which", ["02-cluster", "02", "access"])
def test_check_takes_a_lab_its_number_or_a_step(lab: Lab, which: str) -> None:
    done = labkit("check", which, "--json")
    assert done.returncode == 0, done.stdout
    reports = [report for report in json.loads(done.stdout) if not STEPS[report["step"]].exercise]
    assert reports
    assert all(report["ok"] and report["findings"] for report in reports)


def test_check_fails_when_something_is_missing_and_names_the_fix(lab: Lab, tmp_path: Path) -> None:
    done = labkit("check", "keycloak", LABKIT_HOME=str(tmp_path / "other"))
    assert done.returncode == 1
    assert "failed keycloak" in done.stdout
    assert "lab.keycloak.start()" in done.stdout


def test_a_look_at_what_nobody_has_begun_counts_as_nothing_done(idle_lab: Lab, tmp_path: Path) -> None:
    home = str(tmp_path / "other")
    done = labkit("check", "practice", LABKIT_HOME=home)
    assert (done.returncode, done.stdout[:11]) == (0, "- practice:"), done.stderr
    assert overview(Lab(Settings.load({"LABKIT_HOME": home}))).line().startswith(f"▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱ 0 of {len(STEPS)} steps done")


def test_a_plan_tells_by_its_exit_code_whether_something_would_change(lab: Lab, tmp_path: Path) -> None:
    """As Terraform's does."""
    plan, keycloak = ("realm", "plan", "--detailed-exitcode"), lab.realm.admin()
    user = str(keycloak.get_user_id("user-dev"))
    assert labkit(*plan).returncode == 0
    keycloak.update_user(user, {**keycloak.get_user(user), "lastName": "n" * 200})
    try:
        found = labkit(*plan, COLUMNS="72")
        assert found.returncode == 2, found.stderr
        assert max(map(len, found.stdout[found.stdout.index("realm ") :].splitlines())) <= 72
        assert labkit("realm", "plan").returncode == 0
    finally:
        lab.realm.apply()
    assert labkit(*plan, LABKIT_HOME=str(tmp_path / "other")).returncode == 1


@pytest.mark.parametrize("what", ["sign-in", "01.sign-in"])
def test_a_step_is_solved_by_its_name_with_or_without_its_lab(lab: Lab, what: str) -> None:
    done = labkit("solve", what)
    assert (done.returncode, "ok sign-in" in done.stdout, "realm" in done.stdout) == (0, True, False), done.stderr


def test_up_may_be_repeated(lab: Lab) -> None:
    before = lab.status()
    done = labkit("up")
    assert done.returncode == 0, done.stderr
    assert lab.status() == before


@pytest.mark.fault(
    "Neighbours",
    "other people's processes run on the machine, and the lab has the published passwords",
    "labkit up says who, and how to have others",
)
@pytest.mark.skipif(os.geteuid() != 0, reason="another person's process is root's to start")
def test_up_says_who_else_is_on_the_machine(lab: Lab) -> None:
    with subprocess.Popen(["sleep", "600"], user=59_321) as person, subprocess.Popen(["sleep", "600"], user=65_534) as service:
        said = labkit("up").stdout
        person.kill()
        service.kill()
    (line,) = [line for line in said.splitlines() if "other people's processes run on this machine" in line]
    assert "uid 59321" in line
    assert "nobody" not in line
    assert "LABKIT_SECRETS=own labkit up" in said


def test_up_leaves_a_context_for_each_person_and_no_token(lab: Lab) -> None:
    """The learner's guide has a line of kubectl for whoever has done nothing but `labkit up`."""
    lab.forget_people()
    assert labkit("up").returncode == 0
    assert "id-token" not in lab.cluster.kubeconfig.path.read_text()
    for username in lab.workshop.access.expected:
        who = lab.cluster.kubectl(username, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").output
        assert who == lab.workshop.user(username).email
        lab.sign_in(username)


def test_the_readmes_python_runs_as_it_stands(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    (lines,) = re.findall(r"^```python\n(.*?)^```", (find_root() / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    exec(lines, {})  # noqa: S102 # it is our own page
    said = capsys.readouterr().out
    assert "['kube-dev']" in said
    assert "user-dev@kratix.io" in said
    assert "403" in said or "forbidden" in said
    assert "team-blue" not in lab.cluster.admin_kubectl("get", "namespaces", "-o", "name").output


def test_kubeconfig_is_named_and_merged_only_when_asked(lab: Lab, tmp_path: Path) -> None:
    done = labkit("kubeconfig", HOME=str(tmp_path))
    assert Path(done.stdout.strip()) == lab.cluster.kubeconfig.path
    assert not (tmp_path / ".kube").exists()
    assert labkit("kubeconfig", "--merge", HOME=str(tmp_path)).returncode == 0
    assert "user-dev" in (tmp_path / ".kube" / "config").read_text()


def test_setup_as_json_holds_nothing_but_json(lab: Lab) -> None:
    done = labkit("setup", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["program"] for row in json.loads(done.stdout)} >= {"keycloak", "kube-apiserver", "kubectl"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("check", "nothing"), "there is no lab or step 'nothing'"),
        (("run", "99-none"), "there is no lab '99-none'"),
        (("break", "wrong"), "there is no fault 'wrong'; there are: wrong-issuer"),
        (("frobnicate",), "invalid choice: 'frobnicate'"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_says_what_there_is(args: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = labkit(*args, LABKIT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr


def test_an_unknown_user_is_exit_code_1_and_names_those_there_are(lab: Lab) -> None:
    done = labkit("credential", "nobody")
    assert done.returncode == 1
    assert not done.stdout
    assert "user-dev" in done.stderr


def test_trust_changes_a_browsers_store_only_when_asked_and_back_again(lab: Lab, tmp_path: Path) -> None:
    store = tmp_path / ".pki" / "nssdb"
    told = labkit("trust", HOME=str(tmp_path))
    assert lab.keycloak.url in told.stdout
    assert str(lab.keycloak.ca) in told.stdout
    assert not store.exists()
    if shutil.which("certutil") is None:
        pytest.skip("there is no certutil: make browser")
    listed = ["certutil", "-L", "-d", f"sql:{store}"]
    assert labkit("trust", "--add", HOME=str(tmp_path)).returncode == 0
    assert "labkit lab CA" in subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    assert labkit("trust", "--remove", HOME=str(tmp_path)).returncode == 0
    assert "labkit lab CA" not in subprocess.run(listed, capture_output=True, text=True, check=True).stdout
