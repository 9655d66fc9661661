"""Other libraries' errors in a notebook's kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit.course.foreign_errors import show_shortly

KEYCLOAK = """\
from keycloak.exceptions import KeycloakPostError
body = b'{"errorMessage": "Group name is missing", "sent": "hunter2"}'
raise KeycloakPostError("…", 400, body)"""
KUBERNETES = """\
from kubernetes.client.exceptions import ApiException
error = ApiException(status=403, reason="Forbidden")
error.body = '{"message": "pods is forbidden"}'
raise error"""
UNREACHED = 'import requests\nrequests.get("https://localhost:1/")'


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """What runs a notebook's cells."""
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    show_shortly()
    yield shell
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("cell", "said", "line"),
    [
        (KEYCLOAK, "✘ KeycloakPostError: it answered 400: Group name is missing", "in line 3: raise Keycloak"),
        (KUBERNETES, "✘ ApiException: it answered 403: pods is forbidden", "in line 4: raise error"),
        (UNREACHED, "Connection refused", "in line 2: requests.get("),
    ],
)
def test_an_error_of_a_library_is_shown_short_with_the_learners_line_and_whole_when_asked_for(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str, said: str, line: str
) -> None:
    shell.run_cell(cell)  # type: ignore[no-untyped-call]
    shown = capsys.readouterr().out
    assert said in shown
    assert line in shown
    assert "%tb" in shown
    assert len(shown.splitlines()) == 3
    assert "hunter2" not in shown
    shell.run_cell("%tb")  # type: ignore[no-untyped-call]
    assert "Traceback" in capsys.readouterr().out


def test_an_error_of_the_learners_own_is_shown_as_python_does(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("wide = 1\nwide / 0")  # type: ignore[no-untyped-call]
    assert "----> 2 wide / 0" in capsys.readouterr().out
