"""The project's own files agree with one another."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from labkit.cluster.access import LIST_BINDINGS
from labkit.common.problems import catalogue, problem
from labkit.course.glossary import glossary as terms
from labkit.course.steps import STEPS
from tests import glossary, troubleshooting

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMED_BY_THE_MISSION = {"jupyterlab", "papermill", "nbval", "kubernetes", "python-keycloak", "requests", "ipywidgets"}
GROUPS = {"site.lock": "site", "deploy/kubernetes.lock": "kubernetes"}
LOCKS = ["requirements.lock", *GROUPS]
COPIED = ["Makefile", "pyproject.toml", "requirements.lock"]

DIALECT = yaml.safe_load((Path(__file__).parent / "dialect.yaml").read_text())
COVERED = sorted(
    str(file.relative_to(ROOT)) for pattern in DIALECT["covered"] for file in ROOT.glob(pattern) if "node_modules" not in file.parts
)
GLOSSARY = "## Words\n"

PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("docs/*.md"))]
PAGES += [f"notebooks/{file.name}" for file in NOTEBOOKS]

MADE = {f"docs/{name}.md" for name in ("glossary", "reliability", "troubleshooting")}

PUBLIC = r"^(from|import) (keycloak|kubernetes|requests)\b"

every_lab = pytest.mark.parametrize("notebook", NOTEBOOKS[1:-1], ids=lambda path: path.name)
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)


def test_there_are_notebooks_in_an_order_given_by_their_numbers() -> None:
    assert [path.name for path in NOTEBOOKS if not re.fullmatch(r"\d\d-[a-z-]+\.ipynb", path.name)] == []
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers, "no notebook found"
    assert len(set(numbers)) == len(numbers)


@every_notebook
def test_a_notebook_holds_no_outputs(notebook: Path) -> None:
    with_outputs = [index for index, cell in _code_cells(notebook) if cell["outputs"] or cell["execution_count"] is not None]
    assert with_outputs == [], "cells with stored outputs or counts; clear them before committing"


@every_notebook
def test_a_notebook_runs_no_shell_lines_because_their_failure_goes_unseen(notebook: Path) -> None:
    lines = [line for _, cell in _code_cells(notebook) for line in _source(cell).splitlines()]
    assert [line for line in lines if re.match(r"\s*(!|%%?(bash|sh|script|system|sx)\b|[\w, ]+=\s*!)", line)] == []


@every_notebook
def test_a_notebook_asserts_its_errors_instead_of_tagging_them(notebook: Path) -> None:
    tagged = [index for index, cell in _code_cells(notebook) if "raises-exception" in cell["metadata"].get("tags", [])]
    assert tagged == [], "papermill passes a tagged cell that does not raise"


@every_notebook
def test_a_notebook_asks_for_the_kernel_python3(notebook: Path) -> None:
    assert _notebook(notebook)["metadata"]["kernelspec"]["name"] == "python3"


@every_notebook
def test_cell_ids_are_the_labs_number_and_the_cells_in_order(notebook: Path) -> None:
    ids = [cell["id"] for cell in _notebook(notebook)["cells"]]
    assert len(set(ids)) == len(ids)
    assert ids == [f"{notebook.name[:2]}-{number:02}" for number in range(1, len(ids) + 1)]


@pytest.mark.parametrize("name", [name for name in PAGES if name not in {*MADE, "docs/architecture.md"}])
def test_each_sentence_has_a_line_of_its_own(name: str) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", _prose(ROOT / name), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in text.splitlines() if not line.startswith("|")]
    assert [line for line in lines if re.search(r"[a-z`][.?!][)*_]* +[(*`]*[A-Z]", line)] == []


@every_notebook
def test_a_notebook_imports_labkit_itself_or_a_public_library(notebook: Path) -> None:
    told = [_source(cell) for cell in _notebook(notebook)["cells"]]
    assert [line for source in told for line in source.splitlines() if re.search(r"\b(from|import) labkit\.", line)] == []


def test_a_solution_imports_labkit_itself_or_a_public_library() -> None:
    code = {step.path: step.solution_code() for step in STEPS.values() if step.exercise}
    assert {path for path, source in code.items() if re.search(r"\b(from|import) labkit\.", source)} == set()


@every_lab
def test_a_lab_does_its_thing_by_a_public_library_alone_in_a_short_cell(notebook: Path) -> None:
    cells = [_source(cell) for _, cell in _code_cells(notebook) if re.search(PUBLIC, _source(cell), re.MULTILINE)]
    lines = [[line for line in source.splitlines() if line] for source in cells]
    assert [source for source in lines if len(source) <= 8 and any(line.strip().startswith("assert ") for line in source)]


@every_notebook
def test_a_notebook_expects_refusals_in_one_way(notebook: Path) -> None:
    assert [index for index, cell in _code_cells(notebook) if "AssertionError" in _source(cell)] == [], "with expect(…) says it"


def test_the_packages_that_the_labs_are_about_are_dependencies() -> None:
    declared = {canonicalize_name(requirement.name) for requirement in _declared("test")}
    assert NAMED_BY_THE_MISSION - declared == set()


def test_whatever_labkit_imports_is_a_dependency_of_its_own() -> None:
    declared = {canonicalize_name(requirement.name) for requirement in _declared("room")}
    # pydantic alone says which pydantic_core it works with; the image alone has kubespawner.
    not_wanted = {*sys.stdlib_module_names, "labkit", "pydantic_core", "kubespawner"}
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        module
        for file in (ROOT / "labkit").rglob("*.py")
        for module in _imported_packages(file) - not_wanted
        if not declared & {canonicalize_name(name) for name in distributions.get(module, [module])}
    }
    assert undeclared == set(), "add them to pyproject.toml and environment.yml, then run make lock"


def test_every_dependency_has_a_tested_lower_and_a_guarded_upper_bound() -> None:
    grouped = (requirement for group in GROUPS.values() for requirement in _grouped(group))
    operators = {str(r): {spec.operator for spec in r.specifier} for r in (*_declared("room", "test", "dev"), *grouped)}
    assert {name: found for name, found in operators.items() if found != {">=", "<"}} == {}


def test_the_environment_for_conda_names_the_same_packages_and_ranges() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    listed = [str(Requirement(line)) for line in pip if not line.startswith("-")]
    assert sorted(listed) == sorted(map(str, _declared("room", "test")))
    assert [line for line in pip if line.startswith("-")] == ["--editable ."]


def test_the_environment_for_conda_asks_for_the_same_python() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert f"python{_project()['project']['requires-python']}" in environment["dependencies"]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_pins_every_dependency_within_its_range(lock: str) -> None:
    locked = _locked(lock)
    ours = [*_declared("room", "test", "dev"), *map(Requirement, _project()["build-system"]["requires"])]
    wanted = _grouped(GROUPS[lock]) if lock in GROUPS else ours
    outside = {
        str(requirement): locked.get(canonicalize_name(requirement.name), "missing")
        for requirement in wanted
        if not any(requirement.specifier.contains(version) for version in locked.get(canonicalize_name(requirement.name), []))
    }
    assert outside == {}, "run make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_the_lock_is_an_exact_version_with_its_hashes(lock: str) -> None:
    for entry in _lock_entries(lock):
        requirement, *hashes = entry.split(" --hash=")
        assert re.fullmatch(r"[a-z0-9.-]+==[^\s;*]+( ; .+)?", requirement), requirement
        assert hashes, f"{requirement} has no hash"
        assert [h for h in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", h)] == []


def test_the_image_has_one_version_of_each_package() -> None:
    """What its second lock names of the first is the same there."""
    everybodys, ours = _locked(LOCKS[0]), _locked("deploy/kubernetes.lock")
    assert {name: ours[name] for name in ours.keys() & everybodys} == {name: everybodys[name] for name in ours.keys() & everybodys}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r".*(?:://|--index|--extra-index|--find-links| @ ).*", text) == []


@pytest.mark.parametrize("status", [0, 3])
def test_the_ci_command_has_a_browser_and_is_make_test_from_anywhere_with_its_exit_status(status: int, tmp_path: Path) -> None:
    # A stand-in for make: the real one would start this very test again.
    stand_in = tmp_path / "make"
    stand_in.write_text(f'#!/bin/sh\necho "$PWD" "$@" >> "{tmp_path}/calls"\n[ "$1" = browser ] || exit {status}\n')
    stand_in.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([ROOT / ".ci" / "run"], cwd=tmp_path, env={**os.environ, "PATH": path}, check=False)
    assert done.returncode == status
    assert (tmp_path / "calls").read_text() == f"{ROOT} browser\n{ROOT} test\n"


def test_the_github_workflow_runs_the_labs_and_the_ci_command_and_may_only_read() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert [command for command in commands if command.startswith("make ")] == [
        "make run-labs",
        "make coverage",
        "make test",
        "make test-faults",
        "make test-kind",
    ]
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []


def test_every_action_is_named_by_its_commit_with_its_version_beside_it() -> None:
    text = "".join(file.read_text() for file in (ROOT / ".github" / "workflows").iterdir())
    used = re.findall(r"\buses: (.*)", text)
    assert len(used) >= 7
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_dependabot_folders() -> None:
    """Dependabot looks at every folder that has an npm lock, and at the root for actions and Python packages."""
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    folders = {update["package-ecosystem"]: update.get("directories", [update.get("directory")]) for update in updates}
    locks = {
        f"/{file.parent.relative_to(ROOT)}" for file in (ROOT / "labkit").glob("**/package-lock.json") if "node_modules" not in file.parts
    }
    assert folders == {"github-actions": ["/"], "pip": ["/"], "npm": sorted(locks)}


def test_the_page_on_faults_is_what_the_tests_say(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    quick = ["-p", "no:nbval", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", *quick, "--faults-table", str(page), "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert page.read_text() == (ROOT / "docs" / "reliability.md").read_text(), "it has gone stale: make docs"


@pytest.mark.parametrize(("name", "page"), [("troubleshooting", troubleshooting.page), ("glossary", glossary.page)])
def test_a_page_that_is_made_is_up_to_date(name: str, page: Callable[[], str]) -> None:
    assert page() == (ROOT / "docs" / f"{name}.md").read_text(), "it has gone stale: make docs"


def test_a_term_has_two_sentences_each_on_its_line() -> None:
    assert {term: text for term, text in terms().items() if not re.fullmatch(r"(.+[^.]\.\n){2}", text)} == {}
    assert list(terms()) == sorted(terms(), key=str.casefold)


def test_what_the_doctor_goes_by_leads_to_causes_that_it_knows_and_its_command_is_the_one_that_labs_name() -> None:
    signs = yaml.safe_load((ROOT / "labkit" / "doctor" / "signs.yaml").read_text())
    assert {cause for names in signs.values() for cause in names.values()} <= {name for area in catalogue().values() for name in area}
    assert LIST_BINDINGS in problem("more-than-expected").fix


@pytest.mark.parametrize("name", COVERED)
def test_plain_words(name: str) -> None:
    """A page uses no word of the old dialect, but for the glossary, which explains them."""
    found = [
        f"{line.strip()}\n  {word!r}: write {entry['plain']!r}"
        for line in _prose(ROOT / name).splitlines()
        for word, entry in DIALECT["words"].items()
        if re.search(entry["pattern"], line)
    ]
    assert found == [], "see CONTRIBUTING.md, Words; the patterns are in tests/unit/dialect.yaml"


@pytest.mark.parametrize("name", PAGES)
def test_paths_in_pages(name: str) -> None:
    """A page names and links files and headings that exist; placeholders (NAME, NN), the example's lab and a label's name are none."""
    page = ROOT / name
    text = _prose(page) if page.suffix == ".ipynb" else page.read_text()
    named = {ROOT / path for path in re.findall(r"`((?:labkit|tests|notebooks|docs|\.github)/[^`\s*]*)`", text)}
    linked = {
        (page.parent / path if path else page, heading) for path, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)", text)
    }
    shown = {page.parent / path for path in re.findall(r'\bsrc(?:set)?="([^"]+)"', text)}
    missing = [str(path) for path in named | shown | {path for path, _ in linked} if not path.exists()]
    assert [path for path in missing if not re.search("NAME|NN|lab_10_quota|labkit/home$", path)] == []
    assert [f"{path}#{heading}" for path, heading in linked if heading and heading not in _headings(path)] == []


def test_the_readme_is_short_and_has_no_figure_that_ages_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    assert [line for line in text.splitlines() if len(line) > 160 and not line.startswith("|")] == []
    assert re.findall(r"\b[\d.]+ ?(?:s|min|MB|GB)\b", text) == []
    assert {page for page in PAGES[1:] if page.endswith(".md")} - set(re.findall(r"\]\(([^)#]+)", text)) == set()


def test_the_operators_guide_has_every_variable() -> None:
    code = "".join(
        file.read_text() for pattern in ("*.py", "*.yaml") for file in (ROOT / "labkit").rglob(pattern) if "node_modules" not in file.parts
    )
    name = r"\bLABKIT_[A-Z_]+\b"
    assert set(re.findall(name, code)) - set(re.findall(name, (ROOT / "docs" / "operator.md").read_text())) == set()


def test_glossary_is_whole() -> None:
    """CONTRIBUTING.md explains each word that the check on plain words looks for."""
    glossary = (ROOT / "CONTRIBUTING.md").read_text().partition(GLOSSARY)[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", glossary, re.MULTILINE))
    assert {word: entry["plain"] for word, entry in DIALECT["words"].items()}.items() <= rows.items()


def test_the_commit_hooks_need_no_outside_address() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]


def test_make_without_a_target_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    targets = re.findall(r"^([a-z][\w-]*):(?!=)", makefile, flags=re.MULTILINE)
    listed = re.findall(r"^  make ([a-z-]+) +\S", _make(ROOT).stdout, flags=re.MULTILINE)
    assert sorted(listed) == sorted(targets) == sorted(phony)


def test_make_says_which_python_it_needs_when_it_is_given_none(checkout: Path) -> None:
    done = _make(checkout, "setup", f"PYTHON={checkout}/no-such-python")
    assert done.returncode != 0
    assert "labkit needs Python 3.11 or newer" in done.stdout
    assert not (checkout / ".venv").exists()


def test_cleaning_stops_the_servers_of_each_lab_and_keeps_the_learners_copy(checkout: Path) -> None:
    _set_up(checkout, labkit='echo "$LABKIT_HOME" "$@" >> calls')
    done = _make(checkout, "clean")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / "calls").read_text().splitlines() == [".labkit/practice down", ".labkit down", "build/run-home down"]
    assert sorted(path.name for path in checkout.iterdir()) == sorted([*COPIED, "calls", "work"])


def test_cleaning_removes_nothing_when_a_server_could_not_be_stopped(checkout: Path) -> None:
    _set_up(checkout, labkit='[ "$LABKIT_HOME" != .labkit ]')
    assert _make(checkout, "clean").returncode != 0
    assert (checkout / ".labkit" / "run" / "etcd.json").exists()
    assert (checkout / ".venv").exists()


def test_a_run_of_the_labs_is_on_the_cluster_that_make_names(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_CLUSTER", raising=False)
    monkeypatch.setenv("CLUSTER", "production")
    _set_up(checkout, labkit='echo "$@" on "${LABKIT_CLUSTER-none}" >> calls')
    for told in ((), ("CLUSTER=kind",), ("CLUSTER=external",)):
        assert _make(checkout, "run-labs", *told).returncode == 0
    assert (checkout / "calls").read_text().splitlines() == ["run on none", "run on kind", "run on external"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the files that make itself reads; its path holds a space."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in COPIED:
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def _set_up(checkout: Path, *, labkit: str) -> None:
    """As after set-up and a run in two state folders, but with a shell line in labkit's place: no server can be made to refuse to stop."""
    for folder in (".venv/bin", ".labkit/run", ".labkit/practice/run", "build/run-home/run", "work"):
        (checkout / folder).mkdir(parents=True)
    (checkout / ".labkit/run/etcd.json").touch()
    (checkout / ".labkit/practice/run/etcd.json").touch()
    (checkout / "build/run-home/run/keycloak.json").touch()
    stand_in = checkout / ".venv/bin/labkit"
    stand_in.write_text(f"#!/bin/sh\n{labkit}\n")
    stand_in.chmod(0o755)
    assert _make(checkout, "--touch", "setup").returncode == 0


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell: without what a make above this test hands to the makes below it."""
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}}
    return subprocess.run(["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


def _imported_packages(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    absolute = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module]
    return {name.split(".", maxsplit=1)[0] for name in plain + absolute}


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _declared(*extras: str) -> list[Requirement]:
    project = _project()["project"]
    return [Requirement(text) for text in project["dependencies"] + [t for e in extras for t in project["optional-dependencies"][e]]]


def _grouped(name: str) -> list[Requirement]:
    return [Requirement(text) for text in _project()["dependency-groups"][name]]


def _lock_entries(lock: str) -> list[str]:
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _locked(lock: str) -> dict[str, list[str]]:
    """Versions by package name; a package has several when its version depends on the Python."""
    found: dict[str, list[str]] = {}
    for entry in _lock_entries(lock):
        name, version = entry.split()[0].split("==")
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def _prose(path: Path) -> str:
    """A page's text without the glossary, the Markdown of a notebook, or a module's comments, docstrings and tests' names."""
    if path.suffix == ".py":
        return "\n".join(_module_prose(path))
    if path.suffix == ".ipynb":
        return "\n".join(_source(cell) for cell in _notebook(path)["cells"] if cell["cell_type"] == "markdown")
    before, _, after = path.read_text().partition(GLOSSARY)
    return before + after.partition("\n## ")[2]


def _headings(page: Path) -> set[str]:
    """What a link can name of a page, in the form that GitHub gives its headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _module_prose(path: Path) -> Iterator[str]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
                yield token.string
            elif token.type == tokenize.NAME and token.string.startswith("test_"):
                yield token.string.replace("_", " ")


def _notebook(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text())
    return notebook


def _code_cells(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((index, cell) for index, cell in enumerate(_notebook(path)["cells"]) if cell["cell_type"] == "code")


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)
