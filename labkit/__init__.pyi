# What labkit exports, in one list: type checkers read it, and labkit's own lazy import. Each name has a line of its own.

from .cluster.person import Person as Person
from .common.errors import CheckFailed as CheckFailed
from .common.errors import ClusterError as ClusterError
from .common.errors import Forbidden as Forbidden
from .common.errors import InvalidValues as InvalidValues
from .common.errors import KeycloakUnreachable as KeycloakUnreachable
from .common.errors import NotPermitted as NotPermitted
from .common.errors import NotSignedIn as NotSignedIn
from .common.errors import SignInRefused as SignInRefused
from .common.errors import TaskFailed as TaskFailed
from .common.errors import Unauthorized as Unauthorized
from .common.expectation import expect as expect
from .common.widgets import Again as Again
from .common.widgets import Switcher as Switcher
from .course.faults import FAULTS as FAULTS
from .course.pictures.chain import trust_chain as trust_chain
from .course.pictures.timeline import timeline as timeline
from .course.pictures.token import lifetime as lifetime
from .course.pictures.token import taken_apart as taken_apart
from .course.practice import Practice as Practice
from .course.questions import question as question
from .course.steps import attempt as attempt
from .course.steps import begin as begin
from .course.steps import check as check
from .course.steps import overview as overview
from .course.steps.lab_05_access import newcomer as newcomer
from .course.steps.lab_05_access import one_right_too_many as one_right_too_many
from .course.steps.lab_07_break_and_fix import take_by as take_by
from .identity.session import side_by_side as side_by_side
from .kratix.promise import RequestStatus as RequestStatus
from .kratix.promise import wait_until_taken as wait_until_taken
from .lab import Lab as Lab

__all__: list[str]
