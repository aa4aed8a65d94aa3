"""Decide whether the first row of a text file names the columns or is data."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import polars as pl

from dropout_core.data.dates import looks_like_date
from dropout_core.data.parsing import may_be_numbers
from dropout_core.data.read_options import MISSING_WORDS

Kind = Literal["missing", "number", "date", "word"]
Evidence = Literal["names", "maybe names", "data", "nothing"]

MAX_ROWS = 1000  # enough to tell what a column holds
_MOST = 0.9
_MIN_WORDS = 5  # in fewer rows than this, no column is known to have few words
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


def has_header(rows: Sequence[Sequence[str]], *, is_quoted_alone: bool) -> tuple[bool, bool]:
    """Return whether the first row names the columns, and whether that is sure.

    A name differs from the cells below it: a word above numbers or dates, a number above words, a
    whole number above fractions, a word that its column of few words does not hold again, nothing
    above an index. Numbers that count up are names too. Where nothing tells, a row with a number or
    a date is data.
    `is_quoted_alone` says that numbers are quoted in the first row, and nowhere else.
    """
    kinds = _kinds({cell for row in rows for cell in row})
    first, below = rows[0], rows[1:]
    found = [
        _evidence(cell, [row[index] for row in below if index < len(row)], kinds)
        for index, cell in enumerate(first)
    ]
    values = [cell for cell in first if kinds[cell] in ("number", "date")]
    if "names" in found or (is_quoted_alone and values):
        return True, True
    is_known_data = "data" in found
    if not values:
        # All are words: data if most of them are found again below.
        num_words = sum(kinds[cell] == "word" for cell in first)
        return 2 * found.count("data") <= num_words, not is_known_data
    if is_known_data:
        new_words = ("word", "maybe names")
        return False, all((kinds[c], e) != new_words for c, e in zip(first, found, strict=True))
    count_up = len(values) > 2 and _count_up(values) and not any(map(_count_up, below[:1]))
    are_names = count_up or "maybe names" in found
    return are_names and len(set(values)) == len(values), False


def _evidence(first: str, below: Sequence[str], kinds: dict[str, Kind]) -> Evidence:
    """Return what a column says about its first cell."""
    present = [cell for cell in below if kinds[cell] != "missing"]
    kind = kinds[first]
    if first == "" and len(below) > 1 and _count_up(below):
        return "names"
    if not present or kind == "missing":
        return "nothing"
    num_same = sum(kinds[cell] == kind for cell in present)
    num_words = sum(kinds[cell] == "word" for cell in present)
    if kind != "word":
        if num_words == len(present) or (num_same == 0 and num_words == 0):
            return "names"
        if _WHOLE.fullmatch(first) is None:
            return "data"
        are_fractions = not any(map(_WHOLE.fullmatch, present))
        return "maybe names" if are_fractions and len(present) > 1 else "nothing"
    if num_words <= (1 - _MOST) * len(present):
        return "names"
    if first in present:
        return "data"
    has_few_words = 2 * len(set(present)) <= len(present) >= _MIN_WORDS
    return "maybe names" if has_few_words else "nothing"


def _kinds(cells: set[str]) -> dict[str, Kind]:
    text = pl.Series("cell", sorted(cells), dtype=pl.String)
    kinds: dict[str, Kind] = {}
    for cell, is_number in zip(text, may_be_numbers(text), strict=True):
        if is_number:
            kinds[cell] = "number"
        elif looks_like_date(cell):
            kinds[cell] = "date"
        else:
            kinds[cell] = "missing" if cell in MISSING_WORDS else "word"
    return kinds


def _count_up(cells: Sequence[str]) -> bool:
    """Return whether the cells are whole numbers in steps of one, as 2019, 2020, 2021."""
    return all(map(_WHOLE.fullmatch, cells)) and all(
        int(b) - int(a) == 1 for a, b in pairwise(cells)
    )
