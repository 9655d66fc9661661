"""A refusal that a lab expects."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from labkit.common.errors import CheckFailed, Forbidden, NotSignedIn, SignInRefused, Unauthorized
from labkit.common.expectation import expect
from labkit.common.problems import Problem


class Dev:
    """Somebody whom the API server knows."""

    def whoami(self) -> SimpleNamespace:
        return SimpleNamespace(username="user-dev")


def test_a_refusal_is_shown_as_one_sees_it_and_held(capsys: pytest.CaptureFixture[str]) -> None:
    with expect(Unauthorized) as refused:
        raise Unauthorized(Problem("no", "no", "the issuer is another", "tell it the right one"))
    assert capsys.readouterr().out == "✔ Unauthorized, as expected:\nno\n"
    assert refused.error.fix == "tell it the right one"
    with expect(SignInRefused):
        raise SignInRefused(Problem("no", "no", "Keycloak answered 400"))
    assert capsys.readouterr().out == "✔ SignInRefused, as expected:\nno\nKeycloak answered 400\n"


@pytest.mark.parametrize(
    ("person", "said"), [(None, "nothing refused what should have ended in Forbidden"), (Dev(), "user-dev was allowed")]
)
def test_a_refusal_that_does_not_come_fails(person: Dev | None, said: str) -> None:
    with pytest.raises(CheckFailed, match=said), expect(Forbidden, person=person):
        pass


def test_a_refusal_has_to_name_the_person() -> None:
    no = Problem("no", "no")
    with expect(Forbidden, person=Dev()):
        raise Forbidden(no, user="user-dev")
    with pytest.raises(CheckFailed, match="the refusal was for nobody by name, not for user-dev"), expect(Forbidden, person=Dev()):
        raise Forbidden(no)


def test_another_error_is_no_refusal_and_stays_as_it_is() -> None:
    with pytest.raises(NotSignedIn), expect(Forbidden):
        raise NotSignedIn(Problem("nobody", "who are you?"))
