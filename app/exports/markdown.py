"""Markdown (CommonMark, with GitHub's tables) that is safe in a web page, with any text in it."""

import json
import math
import string
from collections.abc import Iterable, Sequence
from typing import Any

_SHOWN_CHARACTERS = 60
_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 40

# Every mark is escaped: which marks have a meaning depends on the context and the program.
_ESCAPES = str.maketrans(
    {mark: f"\\{mark}" for mark in string.punctuation}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
)


def text(value: object, *, max_characters: int = _SHOWN_CHARACTERS) -> str:
    """Escape a user's text: one line, cut if it is long, without any markup.

    Characters that do not print, such as those that reverse the writing direction, are replaced.
    """
    marks = (mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in str(value))
    shown = "".join(marks)
    end = "…" if len(shown) > max_characters else ""
    return shown[:max_characters].translate(_ESCAPES) + end


def texts(values: Sequence[object], *, limit: int) -> str:
    """List the first values, and say how many more there are."""
    shown = ", ".join(text(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(value: Any) -> str:
    """Return JSON as a block of code that has no tags, even if it is read as HTML."""
    plain = json.dumps(value, indent=2)  # ASCII, and nothing in it begins a line with a fence
    for mark in "<>&":
        plain = plain.replace(mark, f"\\u{ord(mark):04x}")
    return f"```json\n{plain}\n```"


def sparkline(values: Sequence[float | None]) -> str:
    """Draw up to forty of the values as bars from the lowest to the highest, None as a blank."""
    chosen = [values[index] for index in spread(len(values), _SPARKS)]
    known = [value for value in chosen if value is not None and math.isfinite(value)]
    if not known:
        return ""
    lowest, highest = min(known), max(known)
    return "".join(_bar(value, lowest, highest) for value in chosen)


def _bar(value: float | None, lowest: float, highest: float) -> str:
    if value is None or not math.isfinite(value):
        return " "
    share = (value / 2 - lowest / 2) / (highest / 2 - lowest / 2) if highest > lowest else 0.5
    return _BARS[round(share * (len(_BARS) - 1))]


def spread(num_items: int, limit: int) -> list[int]:
    """Return up to `limit` indices, evenly spaced, with the first and the last."""
    if num_items <= limit:
        return list(range(num_items))
    return [index * (num_items - 1) // (limit - 1) for index in range(limit)]
