"""Pictures as SVG of our own: lines and words in the page's colour, so that they are readable on light and dark; each with a text twin."""

from __future__ import annotations

import html
import re

from .display import Displayed, folded

GOOD_COLOUR, BAD_COLOUR, QUIET_COLOUR = "#1a7f37", "#cf222e", "#59636e"
"""For areas with white marks on them. None of them says anything that a mark or a word does not say as well."""


_LETTER = 8
"""As wide as a letter is at most on average, in bold and in a wide font; how wide a text is only the browser knows."""

_WORDS = re.compile(r'<text x="(\d+)" [^>]*text-anchor="start"[^>]*>([^<]*)<')


class Drawn(Displayed):
    """A result that a notebook shows as a picture, with its text form folded up below it."""

    def picture(self) -> str:
        """The SVG."""
        raise NotImplementedError

    def html(self) -> str:
        return self.picture() + folded("as text", f"<pre>{html.escape(str(self))}</pre>")


def svg(title: str, description: str, width: float, height: float, *parts: str) -> str:
    """A whole picture, as wide as the page lets it be, of the parts that the functions below make; title and description are read aloud.

    It is wider than ``width`` where words that begin in it would be cut off.
    """
    ends = [int(x) + _LETTER * len(html.unescape(text)) for x, text in _WORDS.findall("".join(parts))]
    width = max([width, *ends])
    about = f"<title>{html.escape(title)}</title><desc>{html.escape(description)}</desc>"
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" style="max-width:100%;height:auto"'
    return f'<svg role="img" {size} font-family="sans-serif" font-size="13" fill="currentColor" stroke="none">{about}{"".join(parts)}</svg>'


def words(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", colour: str = "currentColor") -> str:
    """A line of text with its baseline at ``y``."""
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.0f}" y="{y:.0f}" {style} xml:space="preserve">{html.escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, colour: str = "") -> str:
    """A rectangle: filled with a colour, or else a frame."""
    paint = f'fill="{colour}"' if colour else 'fill="none" stroke="currentColor"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4" {paint}/>'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """An arrow, straight down or straight across."""
    line = f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="currentColor"/>'
    if x1 == x2:
        corners = ((x2, y2), (x2 - 4, y2 - 8), (x2 + 4, y2 - 8))
    else:
        back = -8 if x2 > x1 else 8
        corners = ((x2, y2), (x2 + back, y2 - 4), (x2 + back, y2 + 4))
    # No marker: that would need an id, and a page with the same picture twice would have it twice.
    return f'{line}<polygon points="{" ".join(f"{x:.0f},{y:.0f}" for x, y in corners)}"/>'
