"""Kind P: a person's own Jupyter, IPython and Python settings stay out of the labs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labkit.cli.verbs import main
from labkit.common.environment import with_jupyter_of_its_own
from labkit.common.ownership import make_private
from labkit.lab import Lab
from labkit.toolchain import Toolchain
from tests.support import labkit


@pytest.fixture
def persons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings for other work: a kernel that is called python3, libraries, a start-up file that fails, a JupyterLab elsewhere."""
    folder = tmp_path / "own"
    kernel = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "Mine", "language": "python"}))
    for library in ("yaml", "requests", "psutil"):
        (folder / "libraries" / library).mkdir(parents=True)
        (folder / "libraries" / library / "__init__.py").write_text("raise ImportError('another version')")
    start_up = folder / "ipython" / "profile_default" / "startup" / "00.py"
    start_up.parent.mkdir(parents=True)
    start_up.write_text("import os; os._exit(3)")
    (folder / "jupyter_server_config.py").write_text(
        "c.ServerApp.root_dir = '/srv'; c.ServerApp.preferred_dir = '/srv/x'; c.ServerApp.ip = '0.0.0.0'"
    )
    values = {"JUPYTER_PATH": "jupyter", "JUPYTER_DATA_DIR": "jupyter", "JUPYTER_CONFIG_DIR": "", "IPYTHONDIR": "ipython"}
    for name, below in {**values, "PYTHONPATH": "libraries", "PYTHONSTARTUP": "none.py", "JUPYTERLAB_DIR": "nowhere"}.items():
        monkeypatch.setenv(name, str(folder / below))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/proc/nowhere")
    return folder


@pytest.mark.fault(
    "Neighbours", "a kernel python3, IPython start-up files and libraries of a person's own", "a headless run uses none of them"
)
@pytest.mark.usefixtures("persons_own")
def test_a_headless_run_has_this_pythons_kernel(tmp_path: Path) -> None:
    """B26, B68: another kernel, start-up file or yaml ended the run with a traceback."""
    make_private(tmp_path / "checkout" / "notebooks")
    cell = (
        f"import os, sys, yaml, requests\nassert sys.prefix == {sys.prefix!r}\nassert not any(n.startswith('PYTHON') for n in os.environ)"
    )
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), tmp_path / "checkout" / "notebooks" / "00-start-here.ipynb"
    )
    done = labkit("run", "00-start-here", cwd=tmp_path / "checkout")
    assert done.returncode == 0, done.stderr


@pytest.mark.fault("Neighbours", "PYTHONPATH names other versions of labkit's libraries", "labkit's own come first")
@pytest.mark.usefixtures("persons_own")
@pytest.mark.parametrize("program", [[sys.executable, "-P", "-m", "labkit"], [str(Path(sys.executable).with_name("labkit"))]])
def test_pythonpath_comes_last(tmp_path: Path, program: list[str]) -> None:
    """B68: `labkit status`, and kubectl's plugin, ended in an ImportError."""
    env = {**os.environ, "LABKIT_HOME": str(tmp_path / "home"), "LABKIT_KEYCLOAK": "local", "LABKIT_CLUSTER": "local"}
    done = subprocess.run([*program, "status"], capture_output=True, text=True, env=env, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.usefixtures("persons_own")
def test_jupyterlab_is_started_with_settings_of_the_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B55: JUPYTERLAB_DIR, and root_dir, preferred_dir, base_url and ip of a person's own, broke JupyterLab or opened it to others."""
    started: list[tuple[list[str], dict[str, str]]] = []

    def execve(_: object, argv: list[str], env: dict[str, str]) -> None:
        started.append((argv, env))
        raise KeyboardInterrupt

    make_private(tmp_path / "checkout" / "notebooks")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "checkout" / "notebooks" / "00-start-here.ipynb")
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Lab, "setup", lambda *_, **__: None)
    monkeypatch.setattr(Toolchain, "ensure", lambda self, *_: {"kubectl": self.find("kubectl")})
    monkeypatch.setattr("os.execve", execve)
    # In a terminal of somebody's JupyterHub: it is no room of labkit's, and this JupyterLab none of its servers.
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of-another-hub")
    main(["lab"])
    ((argv, env),) = started
    assert "JUPYTERHUB_API_TOKEN" not in env
    assert {name for name, value in env.items() if str(tmp_path / "own") in value} == set()
    # Read by the server itself: what it would go by.
    shown = subprocess.run([*argv, "--show-config-json"], capture_output=True, text=True, env=env, timeout=120, check=True, cwd=tmp_path)
    settings = json.loads(shown.stdout)["ServerApp"]
    work = str(tmp_path / "checkout" / "work")
    assert {name: settings[name] for name in ("root_dir", "preferred_dir", "base_url", "ip")} == {
        "root_dir": work,
        "preferred_dir": work,
        "base_url": "/",
        "ip": "localhost",
    }


def test_what_is_for_other_programs_stays_in_a_terminal_of_jupyterlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B55: a person's editor and agent are of use there."""
    monkeypatch.setenv("EDITOR", "ed")
    assert with_jupyter_of_its_own(tmp_path)["EDITOR"] == "ed"
