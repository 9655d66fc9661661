"""Each bad input of ``tests/bad_inputs.yaml`` has one clear error, and takes nothing from anybody."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from string import Template

import pytest

import labkit
from labkit.cli.verbs import main
from labkit.common.errors import LabkitError
from labkit.common.platform_folder import OWN
from labkit.config.state_folder import open_state_folder
from labkit.kratix.promise import Promise
from labkit.lab import Lab
from labkit.portal.answers import read_template
from labkit.toolchain import Toolchain
from tests.bad_inputs import LOOKING, Case, cases, pattern

CASES = list(cases())
LABKIT = {name: getattr(labkit, name) for name in labkit.__all__}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a state folder on ports of its own, and an environment that says nothing else."""
    for name in [name for name in os.environ if name.startswith("LABKIT_")]:
        monkeypatch.delenv(name)
    folders = {"HOME": "", "LABKIT_HOME": "home", "LABKIT_CACHE": "cache", "LABKIT_WORKSHOP": "workshop", "KUBECONFIG": "kubeconfig"}
    folders["XDG_STATE_HOME"] = "state"
    for name, folder in folders.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name, value in {"LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}.items():
        monkeypatch.setenv(name, value)
    # What is wrong is found before any program is needed.
    monkeypatch.setattr(Toolchain, "ensure", lambda *names: pytest.fail(f"{names[1:]} would be made"))
    (tmp_path / "workshop").mkdir()
    open_state_folder(tmp_path / "home", environ={}, free_ports=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_two_hundred_and_no_two_are_the_same() -> None:
    """Each is another input."""
    assert len(CASES) >= 200
    assert [given for given, count in Counter((case.file, str(case.change), case.does) for case in CASES).items() if count > 1] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.problem}: {case.given}"[:80])
def test_a_bad_input_has_one_clear_error(
    case: Case, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what, why and the fix, names what is wrong, and what was there stays as it was."""
    for name, value in case.variables.items():
        monkeypatch.setenv(name, Template(value).safe_substitute(TMP=place))
    if case.file:
        spoil(place / case.file, **case.change)
    before = snapshot(place)
    code, said = outcome(case, place, capsys)
    assert "Traceback" not in said
    assert case.names in said
    if case.problem == "usage":
        assert (code, said.startswith("usage: labkit") or "there are: " in said) == (2, True)
    else:
        assert code == 1
        assert pattern(case.problem).search(said), said
    after = snapshot(place)
    assert {file: after.get(file) for file in before} == before
    if " ".join(case.arguments or ()).startswith(LOOKING):
        assert after == before


def spoil(file: Path, put: str | None = None, replace: dict[str, str] | None = None, make: str = "") -> None:
    """Put a file there, change what labkit has under that name, or make what can't be read as one: a folder, or a link to itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if make == "folder":
        file.unlink(missing_ok=True)
        file.mkdir()
    elif make == "loop":
        file.unlink(missing_ok=True)
        file.symlink_to(file)
    elif make == "bytes":
        file.write_bytes(b"\xff\xfe\x00\xd8")
    elif replace is None:
        file.write_text(put or "")
    else:
        text = (file if file.exists() else OWN / Path(*file.parts[file.parts.index("workshop") + 1 :])).read_text()
        for old, new in replace.items():
            assert old in text, old
            text = text.replace(old, new, 1)
        file.write_text(text)


def snapshot(place: Path) -> dict[str, bytes | str]:
    """What lies there, but for locks."""
    files = [file for file in place.rglob("*") if file.suffix != ".lock" and "cache" not in file.parts[len(place.parts) :][:1]]
    return {str(file): str(file.readlink()) if file.is_symlink() else file.read_bytes() if file.is_file() else "folder" for file in files}


def outcome(case: Case, place: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The exit code, and what is said."""
    if case.arguments is None:
        try:
            # As a cell of a notebook has it.
            eval(case.does, {"lab": Lab.open(), "place": place, "Promise": Promise, "read_template": read_template, **LABKIT})  # noqa: S307
        except LabkitError as error:
            return 1, str(error)
        return 0, ""
    try:
        code: object = main([Template(word).safe_substitute(TMP=place) for word in case.arguments])
    except SystemExit as ended:
        code = ended.code
    return code, capsys.readouterr().err
