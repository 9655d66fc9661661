"""Everything labkit raises, in one tree: an error says what failed, why as far as known, and the fix."""

from __future__ import annotations

from typing import Any

from .problems import Problem
from .problems import problem as described


class LabkitError(Exception):
    """The base of all of labkit's errors.

    Args:
        problem: What is wrong: an id of the catalogue, or a problem that is described already.
        evidence: What was seen: values for the catalogue's text, and for the attributes that the class declares.

    Attributes:
        problem: The problem, with its id. Its words are the error's; whoever knows more of the cause puts another in its place.
    """

    def __init__(self, problem: str | Problem, /, **evidence: Any) -> None:
        self.problem = described(problem, **evidence) if isinstance(problem, str) else problem
        for name in evidence.keys() & (set(dir(type(self))) - set(dir(LabkitError))):
            setattr(self, name, evidence[name])
        super().__init__(self.problem)

    @property
    def what(self) -> str:
        """One sentence on what failed."""
        return self.problem.what

    @property
    def why(self) -> str:
        """What is known of the cause; may hold several lines."""
        return self.problem.why

    @property
    def fix(self) -> str:
        """What to do about it, as far as possible a command."""
        return self.problem.fix

    def __str__(self) -> str:
        parts = [self.what]
        for label, text in (("why", self.why), ("fix", self.fix)):
            if text:
                first, *rest = text.splitlines()
                parts.append(f"  {label}: {first}")
                parts.extend(f"       {line}" for line in rest)
        return "\n".join(parts)

    def _render_traceback_(self) -> list[str]:
        """Show the message alone in a notebook; IPython calls this instead of printing the whole stack."""
        return [f"✘ {type(self).__name__}: {self}"]


def first_cause(error: BaseException) -> BaseException:
    """The error that came first, of which others were made: the system's own, where a library says only that a connection failed."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def why_failed(error: BaseException) -> str:
    """Why something failed, in the words of the error that came first; a library's own words name its objects, not the matter."""
    first = first_cause(error)
    return str(getattr(first, "strerror", None) or first).strip() or type(first).__name__


class SettingsError(LabkitError):
    """A LABKIT_* variable or the state folder is unusable."""


class WorkshopError(LabkitError):
    """A platform file says something that can't be done."""


class ToolchainError(LabkitError):
    """A program can't be found, fetched or built; ``ways`` has the fixes one by one where there are several."""

    ways: tuple[str, ...] = ()


class ServerError(LabkitError):
    """A server died or did not become ready; ``why`` ends with its last log lines."""


class PortInUse(ServerError):
    """Somebody else listens where a server of ours should."""


class IdentityError(LabkitError):
    """Keycloak answered, but not as hoped."""


class KeycloakUnreachable(IdentityError):
    """Nothing answers at the issuer's address."""


class ForeignIssuer(IdentityError):
    """The realm names another issuer than the one it was asked as."""


class SignInRefused(IdentityError):
    """The token endpoint refused a grant; ``error`` is its code, such as ``invalid_grant`` (RFC 6749, section 5.2)."""

    error: str = ""


class TokenInvalid(IdentityError):
    """A token's signature, issuer, audience or expiry is wrong."""


class ClusterError(LabkitError):
    """The API server or kubectl answered, but not as hoped."""


class ApiUnreachable(ClusterError):
    """Nothing answers at the API server's address."""


class Unauthorized(ClusterError):
    """401: the API server does not know who is asking; ``lasting`` when asking again with the same token can't help."""

    lasting: bool = False


class Forbidden(ClusterError):
    """403: the API server knows who is asking, and says no; ``user`` is whom RBAC's answer names, if it is RBAC's."""

    status = 403
    user: str = ""


class PortalError(LabkitError):
    """The portal answered, but not as hoped."""


class PortalUnreachable(PortalError):
    """Nothing answers at the portal's address."""


class NotSignedIn(PortalError):
    """The portal has no token of who is asking, or none that holds: a guest, a session that has ended, a portal that was restarted."""


class NotPermitted(PortalError):
    """The portal's own rules forbid it, whatever the API server would say."""


class TemplateUnknown(PortalError):
    """No such template is registered."""


class InvalidValues(PortalError):
    """A template's form does not take these values; ``problems`` has a sentence each."""

    problems: tuple[str, ...] = ()


class TaskFailed(PortalError):
    """A template's task came to a bad end; ``log`` has what it said, a line each."""

    log: tuple[str, ...] = ()


class KratixError(LabkitError):
    """Kratix answered, but not as hoped."""


class KratixUnavailable(KratixError):
    """Kratix can't be had on this machine; its fix names the ways out."""


class TrustError(LabkitError):
    """A browser's certificate store can't be read or changed."""


class NoTerminal(LabkitError):
    """A password is asked for where it would be kept: in a notebook, a file, a pipe."""


class PracticeError(LabkitError):
    """The practice lab is not in the state that this asks for: another fault is on, or it does not run."""


class CheckFailed(LabkitError):
    """A step's check found something missing or wrong."""


class EarlierLabMissing(LabkitError):
    """A lab needs what an earlier one leaves behind."""


class LabRunFailed(LabkitError):
    """A headless run stopped at a cell."""


class RoomError(LabkitError):
    """A room can't be run so, or has no such person."""
