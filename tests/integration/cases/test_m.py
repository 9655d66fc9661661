"""Kind M: a terminal's or a locale's encoding fails no command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.common.errors import WorkshopError
from labkit.common.platform_folder import OWN
from labkit.config.settings import find_root
from labkit.workshop.workshop import Workshop


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-16", "ascii:strict"])
@pytest.mark.parametrize("verb", ["down", "status", "agenda", "--help"])
def test_a_verb_says_what_it_did_in_any_encoding(tmp_path: Path, encoding: str, verb: str) -> None:
    """B10: ✔ ended a command with a traceback after its work was done."""
    env = {"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local", "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "labkit", verb], capture_output=True, env={"PATH": "/usr/bin:/bin", **env}, timeout=120, check=False
    )
    assert b"Traceback" not in done.stderr
    assert (done.returncode, bool(done.stdout)) == (3 if verb == "status" else 0, True)


def test_a_locale_that_is_not_utf_8_changes_no_file(tmp_path: Path) -> None:
    """B10: whoever has LANG=C and no UTF-8 mode reads the same files."""
    # In a folder with an umlaut Python itself would not find its .venv so.
    begin = "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); from labkit.cli.verbs import main; sys.exit(main())"
    here = os.pathsep.join([str(find_root()), *sys.path])
    env = {**os.environ, "LABKIT_HOME": str(tmp_path), "LABKIT_KEYCLOAK": "local", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", begin, here, "realm", "terraform"],
        env={**env, "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.startswith("#"), done.stderr


@pytest.mark.fault("Workshop", "a file of a workshop's folder that is no text in UTF-8", "it is named by every verb, with the encoding")
@pytest.mark.parametrize("name", sorted(str(file.relative_to(OWN)) for file in OWN.rglob("*") if file.suffix in (".yaml", ".tf")))
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_each_file_of_a_workshop_is_named_if_it_is_not_utf_8(tmp_path: Path, name: str, encoding: str) -> None:
    """M: a Latin-1 app-config.yaml, template or keycloak.tf ended in a UnicodeDecodeError that named no file."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes("# ü\n".encode(encoding))
    with pytest.raises(WorkshopError, match=re.escape(str(tmp_path / name))) as caught:
        Workshop.load(tmp_path)
    assert "UTF-8" in caught.value.why
