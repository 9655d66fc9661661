"""How results look: as text first, with HTML beside it for a notebook."""

from __future__ import annotations

import codecs
import html
import io
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest

from .problems import Problem

OK, BAD = "✔", "✘"
_PLAIN = {OK: "ok", BAD: "failed", "…": "...", "→": "->", "─": "-", "—": "-", "–": "-", "·": "-"}
_LIVE_SECONDS, _QUIET_SECONDS = 1.0, 20.0

LATE_SECONDS = 3.0
"""From when on a wait that takes a moment says what it is for."""


class Displayed:
    """Something a cell may end with: ``str()`` is its text form, ``html()`` the same for a notebook."""

    def html(self) -> str:
        """The HTML form; unless a class has its own, the text as it is."""
        # JupyterLab would break lines in the middle of words.
        style = "font-family:monospace;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"
        return f"<pre style='{style}'>{html.escape(str(self))}</pre>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        return {"text/plain": str(self), "text/html": self.html()}


def folded(title: str, inside: str) -> str:
    """Fold HTML up below a line that is tall enough to press, also where another is right below it."""
    return f"<details><summary style='padding:.3em 0'>{title}</summary>{inside}</details>"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is as it should be, what was seen, what to do when it isn't, and its id in the catalogue."""

    ok: bool
    text: str
    fix: str = ""
    problem: str = ""

    @classmethod
    def of(cls, problem: Problem) -> Finding:
        """Turn a problem into a finding."""
        return cls(False, f"{problem.what}: {problem.why}" if problem.why else problem.what, problem.fix, problem.id)

    def __str__(self) -> str:
        fix = "\n      → " + self.fix.replace("\n", "\n        ") if self.fix and not self.ok else ""
        text = self.text.replace("\n", "\n      ")
        return f"  {OK if self.ok else BAD} {text}{fix}"


@dataclass(frozen=True)
class Findings(Displayed):
    """What was looked at, under a title that holds when all of it is as it should be."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def bad(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def count(self) -> str:
        """How many are as they should be, such as ``2 of 3``."""
        return f"{len(self.findings) - len(self.bad)} of {len(self.findings)}"

    def headline(self) -> str:
        """The result in one line."""
        return f"{BAD if self.bad else OK} {self.title} ({self.count})"

    def why(self) -> str:
        """What is wrong, a line each, for an error."""
        return "\n".join(finding.text for finding in self.bad)

    def fix(self) -> str:
        """What to do about it, a line each, for an error."""
        return "\n".join(dict.fromkeys(finding.fix for finding in self.bad if finding.fix))

    def __str__(self) -> str:
        return "\n".join([self.headline(), *map(str, self.findings)])

    def html(self) -> str:
        items = "".join(f"<div style='margin-left:1.5em;white-space:pre-wrap'>{html.escape(str(f).strip())}</div>" for f in self.findings)
        return f"<div role='status'><b>{html.escape(self.headline())}</b>{items}</div>"


@dataclass(frozen=True)
class Table(Displayed):
    """A small table, with a line above and one below it; every row is as long as ``columns``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""

    def __str__(self) -> str:
        table = text_table(self.columns, self.rows)
        return "\n".join([*filter(None, [self.title]), *table, *(["", self.note] if self.note else [])])

    def records(self) -> list[dict[str, str]]:
        """The rows as mappings of column to cell, for a script."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def html(self) -> str:
        head = "".join(f"<th scope='col' style='text-align:left'>{html.escape(c)}</th>" for c in self.columns)
        cell = "<td style='text-align:left;white-space:pre-wrap'>{}</td>"
        body = "".join("<tr>" + "".join(cell.format(html.escape(each)) for each in row) + "</tr>" for row in self.rows)
        caption = f"<caption style='text-align:left;font-weight:bold'>{html.escape(self.title)}</caption>" if self.title else ""
        note = f"<p style='white-space:pre-wrap'>{html.escape(self.note)}</p>" if self.note else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


class Tabular(Displayed):
    """A result that is shown as a table."""

    def table(self) -> Table:
        """The table."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.table())

    def html(self) -> str:
        return self.table().html()


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in plain text, columns padded to their widest cell; a cell's own line breaks are kept.

    None is wider than the terminal: the widest columns' cells are wrapped.
    """
    split = [[cell.split("\n") for cell in row] for row in (columns, *rows)]
    widths = [max(len(line) for cell in column for line in cell) for column in zip(*split, strict=True)]
    room = _terminal_width() - 2 * (len(widths) - 1)
    while room > 0 and sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    head, *body = (list(_row(cells, widths)) for cells in split)
    return [*head, "  ".join("─" * w for w in widths), *(line for lines in body for line in lines)]


def _row(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [[part for line in cell for part in _wrapped(line, w)] for cell, w in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        yield "  ".join(p.ljust(w) for p, w in zip(parts, widths, strict=True)).rstrip()


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_on_hyphens=False) if len(line) > width else [line]


def _terminal_width() -> int:
    """How many letters a line of the terminal holds, or those that COLUMNS asks for; 0 where neither says."""
    return shutil.get_terminal_size((0, 0)).columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 0


def shown(value: object) -> str:
    """A value as a table cell: JSON's words for booleans, a dash for nothing, lists with commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "—"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(shown(item) for item in value) or "none"
    return str(value)


@contextmanager
def ending_with_the_reader() -> Iterator[None]:
    """End this process as other tools end when whoever reads its output is gone, such as ``head -1``: without a word, as by SIGPIPE."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written has to go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def write_plainly_where_needed() -> None:
    """Have this process write in plain letters what a terminal's or a setting's encoding lacks, where Python would end with an error."""
    codecs.register_error("plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


class Progress:
    """What a long piece of work says of itself; made by `progress`."""

    def __init__(self, text: str, ended: threading.Event | None = None) -> None:
        self._text, self._detail = text, ""
        self._started, self.ended = time.monotonic(), ended

    def update(self, detail: str) -> None:
        """Say what is going on just now.

        Raises:
            KeyboardInterrupt: The work is to end.
        """
        self._detail = detail
        if self.ended and self.ended.is_set():
            raise KeyboardInterrupt

    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._started

    def line(self) -> str:
        return f"… {self._text} ({self.seconds():.0f} s){': ' + self._detail if self._detail else ''}"

    def end(self, mark: str) -> str:
        """How it ended, and how long it took."""
        return f"{mark} {self._text} ({self.seconds():.1f} s)"


_going: list[Progress] = []


@contextmanager
def progress(text: str, *, after: float = 0, ended: threading.Event | None = None) -> Iterator[Progress]:
    """Show that work such as "building kube-apiserver" goes on: a line kept up to date in a terminal, one now and then elsewhere.

    A terminal's line is of all work that goes on just then. What is done within ``after`` seconds is not spoken of.
    Once ``ended`` is set, the work ends the next time that it says something of itself.
    """
    work, done = Progress(text, ended), threading.Event()
    stream, live = sys.stdout, sys.stdout.isatty()
    clear = "\r\x1b[K" if live else ""

    def tick() -> None:
        done.wait(after)
        # Who finds that the reader is gone is the thread that works.
        with suppress(BrokenPipeError):
            while not done.wait(_LIVE_SECONDS if live else _QUIET_SECONDS):
                # A line that the terminal breaks could not be written over.
                share = (_terminal_width() or 80) // max(1, len(_going)) - 1
                line = " ".join(each.line()[:share] for each in tuple(_going)) if live else f"{work.line()}\n"
                print(f"{clear}{line}", end="", file=stream, flush=True)

    _going.append(work)
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    mark = BAD
    try:
        yield work
        mark = OK
    finally:
        _going.remove(work)
        done.set()
        ticker.join()
        if work.seconds() >= after:
            # In one piece, as another thread may write too.
            print(f"{clear}{work.end(mark)}\n", end="", file=stream, flush=True)
