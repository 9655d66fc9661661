"""A command line whose verbs are functions: a docstring is a verb's help, and its decorator names the arguments.

Modules of verbs import labkit's heavy parts within their functions, so that ``labkit --help`` and ``labkit credential`` wait for nothing
that they don't use.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ..common.display import BAD, progress

if TYPE_CHECKING:
    from ..lab import Lab

Argument = tuple[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    """A verb: what it runs, which gives the exit code (0 when None), its arguments, and options of which one may be given."""

    runs: Callable[[argparse.Namespace], int | None]
    arguments: tuple[Argument, ...]
    one_of: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.runs.__name__.strip("_").replace("_", "-")

    def enter(self, verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Have the command line know it; after parsing, what it runs is in ``runs``."""
        text = " ".join((self.runs.__doc__ or "").split())
        first = text.partition(". ")[0].removesuffix(".")
        parser = verbs.add_parser(self.name, help=first[0].lower() + first[1:], description=text)
        parser.set_defaults(runs=self.runs)
        for names, options in self.arguments:
            parser.add_argument(*names, **options)
        if self.one_of:
            group = parser.add_mutually_exclusive_group()
            for names, options in self.one_of:
                group.add_argument(*names, **options)


def verb(*arguments: Argument, one_of: tuple[Argument, ...] = ()) -> Callable[[Callable[[argparse.Namespace], int | None]], Verb]:
    """Make a function a verb of its name."""
    return lambda function: Verb(function, arguments, one_of)


def argument(*names: str, **options: Any) -> Argument:
    """An argument, as `argparse.ArgumentParser.add_argument` takes it."""
    return names, options


def flag(name: str, text: str) -> Argument:
    """An option that is given or not."""
    return argument(name, action="store_true", help=text)


JSON = flag("--json", "print the result as JSON")
"""For a verb that ends with `show`."""


def open_lab(*, to_look: bool = False) -> Lab:
    """Open the lab that is meant; to look at it, without making its folder."""
    from ..lab import Lab

    return Lab.load() if to_look else Lab.open()


def show(args: argparse.Namespace, text: object, value: object) -> None:
    """Print a result: its text, or with ``--json`` its value for a script."""
    print(json.dumps(value, indent=1, default=str) if args.json else text)


def working(args: argparse.Namespace, text: str) -> AbstractContextManager[object]:
    """Show in a terminal that a verb works; what is piped, and JSON, is the result alone: what is said meanwhile is on stderr."""
    return progress(text) if sys.stdout.isatty() and not args.json else redirect_stdout(sys.stderr)


def no_such(kind: str, name: str, there: Iterable[str]) -> NoReturn:
    """End with exit code 2, as for any wrong command line, naming what there is."""
    print(f"{BAD} there is no {kind} {name!r}; there are: {', '.join(there)}", file=sys.stderr)
    raise SystemExit(2)
