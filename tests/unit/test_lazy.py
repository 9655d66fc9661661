"""What labkit exports, and what is not loaded before somebody asks for it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

import labkit
from labkit.cli import access, labs, main, room, servers
from labkit.cli.command import Verb
from labkit.cli.verbs import VERBS
from labkit.config.settings import Settings
from labkit.identity.credential_cache import CredentialCache

HEAVY = {
    *("asyncio", "cryptography", "filelock", "ipywidgets", "jwcrypto", "keycloak", "kubernetes", "nbformat", "papermill", "psutil"),
    *("pydantic", "requests", "urllib3", "yaml", "labkit.lab", "labkit.course.steps", "labkit.workshop.workshop"),
}
"""What takes longest to load, and what of labkit loads it."""

RUN = """
import sys
from labkit.cli import main
sys.argv[1:] = {arguments}
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments: str) -> tuple[str, set[str]]:
    """What a verb prints, and the modules that its process has in the end."""
    code = RUN.format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


def test_every_export_is_there_as_type_checkers_know_it() -> None:
    stub = ast.parse(Path(labkit.__file__).with_suffix(".pyi").read_text())
    lines = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    declared = [(node.module, alias.name, str(alias.asname)) for node in lines for alias in node.names]
    assert {name for _, name, _ in declared} == set(labkit.__all__) <= set(dir(labkit))
    for module, name, known_as in declared:
        assert getattr(labkit, known_as) is getattr(import_module(f"labkit.{module}"), name)


def test_what_is_not_exported_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'labkit' has no attribute 'nothing'"):
        _ = labkit.nothing  # type: ignore[attr-defined]


def test_every_verb_is_in_the_help_and_has_one_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = {value.name for module in (access, labs, room, servers) for value in vars(module).values() if isinstance(value, Verb)}
    assert verbs == {verb.name for verb in VERBS}
    for verb in VERBS:
        with pytest.raises(SystemExit, match=r"^0$"):
            main([verb.name, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert said.startswith(f"usage: labkit {verb.name} ")
        assert " ".join((verb.runs.__doc__ or "no help").split()) in said.replace("- ", "-")


def test_help_loads_nothing_that_it_does_not_use() -> None:
    said, loaded = loaded_by("--help")
    assert said.startswith("usage: labkit")
    assert loaded & HEAVY == set()


def test_a_kept_token_is_handed_over_without_a_request_or_anything_that_could_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_KEYCLOAK", "local")
    CredentialCache(Settings.open()).keep("user-dev", "an ID token", "a refresh token", int(time.time()) + 300)
    said, loaded = loaded_by("credential", "user-dev")
    assert json.loads(said)["status"]["token"] == "an ID token"
    assert loaded & {*HEAVY, "http.client", "ssl"} == set()


def test_a_lab_that_is_made_does_no_work_before_it_is_asked_for_something(tmp_path: Path) -> None:
    settings = Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CACHE": str(tmp_path / "cache"), "LABKIT_CLUSTER": "local"})
    before = sorted(tmp_path.rglob("*"))
    lab = labkit.Lab(settings)
    assert [server.state for server in lab.status().servers] == ["stopped"] * 5
    assert sorted(tmp_path.rglob("*")) == before
    assert lab.keycloak.ca.is_file()
