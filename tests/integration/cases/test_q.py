"""Kind Q: a folder whose name or file system won't do is refused at once, by one rule; every other one works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.common.errors import SettingsError
from labkit.config.settings import Settings
from tests.support import labkit


@pytest.mark.fault(
    "Settings", "a state folder or cache with an apostrophe, a bracket, a semicolon …", "it is refused at once, with the letter"
)
@pytest.mark.parametrize("strange", [*"'\"[]{};#%:*?!$&|<>,\\`^\n\t", "\udce4"])
@pytest.mark.parametrize("variable", ["LABKIT_HOME", "LABKIT_CACHE"])
def test_a_name_that_some_program_reads_otherwise_is_refused(tmp_path: Path, variable: str, strange: str) -> None:
    """B42: Keycloak's script, H2's address and the catalog's globs each have letters of their own."""
    environ = {"LABKIT_HOME": str(tmp_path / "home"), variable: str(tmp_path / f"anna{strange}s lab" / "x")}
    with pytest.raises(SettingsError, match="has a character in its name") as caught:
        Settings.load(environ)
    assert caught.value.what.endswith(strange.strip())
    assert variable in caught.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["My Labs (2026)", "ünï", "实验", "a=c+d@e~f", "-x", "..."])
def test_other_names_will_do(tmp_path: Path, name: str) -> None:
    """B42: spaces, umlauts and parentheses work."""
    assert Settings.load({"LABKIT_HOME": str(tmp_path / name / "home")}).folder == tmp_path / name / "home"


@pytest.mark.fault("Settings", "a state folder on a file system without programs (noexec, pretended)", "the error says so at once")
def test_a_file_system_that_runs_no_programs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B60: "kc.sh can't be run: Permission denied" named neither the folder nor noexec."""

    class Mounted:
        f_flag = os.ST_NOEXEC

    monkeypatch.setattr("os.statvfs", lambda _: Mounted)
    with pytest.raises(SettingsError, match="runs no programs") as caught:
        Settings.load({"LABKIT_HOME": str(tmp_path / "new" / "home")})
    assert "LABKIT_HOME" in caught.value.fix


def test_a_strange_folder_ends_no_verb_in_a_traceback(tmp_path: Path) -> None:
    """B42: each verb says the same."""
    for verb in ("status", "down", "up", "check"):
        done = labkit(verb, LABKIT_HOME=str(tmp_path / "anna's lab"), LABKIT_KEYCLOAK="local")
        assert (done.returncode, "Traceback" in done.stderr, "won't do: '" in done.stderr) == (1, False, True)
