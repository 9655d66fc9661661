"""What holds for all tests: interrupts get through, and the faults that they prove can be written down as a table."""

from __future__ import annotations

import ast
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings

from labkit.config import state_folder

TESTS = Path(__file__).parent

AREAS = (
    "Programs",
    "Workshop",
    "Settings",
    "Keycloak",
    "Realm",
    "Sign-in",
    "Tokens",
    "Access",
    "Servers",
    "Commands",
    "Clock",
    "Doctor",
    "Exposure",
    "Neighbours",
    "Room",
)

ABOUT = """\
# What can go wrong, and what happens then

Every row is a fault that a test provokes, and what that test then asserts; `make docs` writes this page from the tests' own marks.
`make test` and `make test-faults` run them all, on real servers. A test that has to pretend says so in its text.
"""

# A shell that starts a command in the background has it ignore interrupts, and its children inherit that. Some tests interrupt theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" not in os.environ:
    # The tests' state folders reserve ports among themselves only, in all of a run's processes.
    _lists = tempfile.TemporaryDirectory(prefix="state-folders-")
    os.environ["XDG_STATE_HOME"] = _lists.name


# xdist sets it; tables are as wide as they are then.
os.environ.pop("COLUMNS", None)

LAB_SECONDS = 800

# What is asked of real programs takes as long as it takes; `make fuzz` tries far more.
settings.register_profile("judged", deadline=None, max_examples=100, print_blob=True, suppress_health_check=list(HealthCheck))
settings.register_profile("fuzz", settings.get_profile("judged"), max_examples=10_000)
settings.load_profile("judged")

GROUPS = {
    "lab with portal": "kratix pages pictures portal portal_permissions portal_publishing portal_sign_in portal_tokens steps",
    "lab": "accessibility causes cli cluster external isolation keycloak seats session shortages",
    "realms": "kind oidc_styles realm render schemas",
    "other Keycloak": "hosted labs_elsewhere",
}
"""The files of tests/integration that share servers. A process begins with the group whose first test is next; the shortest is last."""

GROUP_OF = {f"tests/integration/test_{name}.py": group for group, names in GROUPS.items() for name in names.split()} | {
    f"tests/integration/cases/test_{kind}.py": group
    for group, kinds in (("lab with portal", "aeg"), ("lab", "bcdflmnopqw"), ("realms", "hjk"))
    for kind in kinds
}


@pytest.fixture
def free_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Well-known ports that are free and no other folder's, whatever else this machine and this run have."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state-folders")))
    monkeypatch.setattr(state_folder, "PORTS", dict(zip(state_folder.PORTS, state_folder._free_block(()), strict=True)))


@pytest.fixture(scope="session")
def run_lab() -> Callable[..., None]:
    """Runs a lab under nbval, which has to pass."""
    return _run_lab


def _run_lab(name: str, home: Path, variables: Mapping[str, str] | None = None) -> None:
    # Imported here, so that a run of unit tests does not pay for it.
    import nbformat

    from labkit.config.settings import find_root
    from labkit.course.steps import solved

    notebook = home / f"{name}.ipynb"
    # Exercises with their solutions, as in a headless run.
    nbformat.write(solved(nbformat.read(find_root() / "notebooks" / notebook.name, as_version=4)), notebook)
    # One run per notebook, since after a failed cell nbval goes on to the next ones.
    options = ("-p", "nbval.plugin", "--nbval-lax", "--nbval-current-env", "-x", "-q", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, str(notebook)]
    # The other plugins take longer to load than a short lab's cells.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "LABKIT_HOME": str(home), **(variables or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=LAB_SECONDS, check=False, cwd=home)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", type=Path, metavar="FILE", help="write down the faults that the collected tests prove")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # All processes of a run draw from one seed, and the report names it. A find of `make fuzz` is no news of the change that CI looks at.
    if config.getoption("hypothesis_seed", None) is None:
        fuzz = config.getoption("hypothesis_profile", None) == "fuzz"
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(2**32) if fuzz else 1)
    config.addinivalue_line("markers", "fault(area, what, outcome): what goes wrong and what becomes of it, for docs/reliability.md")


def pytest_report_header(config: pytest.Config) -> str:
    return f"generated inputs: --hypothesis-seed={config.getoption('hypothesis_seed', None)}"


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keep a file in one process, and the files of one group, so that their servers are started once.

    Used instead of xdist's own kinds of distribution (of which ``loadgroup`` does not see its marks in pytest 9.2).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByServers(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = _file(nodeid)
            return GROUP_OF.get(file, file)

    return ByServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the groups begin first, which take longest."""
    items.sort(key=lambda item: _file(item.nodeid) not in GROUP_OF)


def pytest_collection_finish(session: pytest.Session) -> None:
    file: Path | None = session.config.getoption("--faults-table")
    if file is not None:
        file.write_text(faults_table(session.items))


def faults_table(tests: list[pytest.Item]) -> str:
    """The page on faults; a row may be proven by several tests."""
    rows: dict[tuple[str, str, str], Counter[str]] = {}
    for test in tests:
        for mark in test.iter_markers("fault"):
            area, what, outcome = mark.args
            assert area in AREAS, f"{test.nodeid}: no area {area}"
            path = test.path.relative_to(test.config.rootpath)
            rows.setdefault((area, what, outcome), Counter())[f"[{path.stem.removeprefix('test_')}](../{path})"] += 1
    parts = [ABOUT]
    for area in AREAS:
        lines = [f"| {what} | {outcome} | {_proofs(by)} |" for (where, what, outcome), by in rows.items() if where == area]
        if lines:
            parts.append(
                "\n".join((f"## {area}\n", "| what goes wrong | what happens then | proven in |", "| --- | --- | --- |", *lines)) + "\n"
            )
    # Imported here, so that a run of tests does not pay for it.
    from tests import bad_inputs

    return "\n".join((*parts, kinds_table(), bad_inputs.table(), (TESTS / "fuzz.md").read_text()))


def kinds_table() -> str:
    """What people bring, by kinds: what holds, as the test's docstring has it, and the one place that sees to it."""
    rows = []
    for kind, by in yaml.safe_load((TESTS / "integration" / "cases" / "kinds.yaml").read_text()).items():
        test = TESTS / "integration" / ("test_other_workshop.py" if kind == "i" else f"cases/test_{kind}.py")
        assert (TESTS.parent / by).is_file(), by
        about = (ast.get_docstring(ast.parse(test.read_text())) or "").splitlines()[0]
        holds = re.sub(r"^(Kind )?[A-Z]: ", "", about).partition(". ")[0].removesuffix(".")
        proof = f"[{kind.upper()}](../{test.relative_to(TESTS.parent)})"
        rows.append(f"| {holds} | [{by.removeprefix('labkit/')}](../{by}) | {proof} |")
    return "\n".join(("## What people bring\n", "| what holds | where it is seen to | proven in |", "| --- | --- | --- |", *rows)) + "\n"


def _proofs(by: Counter[str]) -> str:
    return ", ".join(f"{link}{f' ({count} cases)' if count > 1 else ''}" for link, count in by.items())
