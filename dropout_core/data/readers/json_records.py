"""Read records of JSON: one object after the other (JSON Lines), or an array of objects.

Their cells are written as CSV, whose reader decides what they mean: the same words, numbers and
dates mean the same in both formats, and no digit of a number is lost on the way.
"""

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, TextIO

from dropout_core.data.readers.table import AMBIGUOUS, check_num_columns
from dropout_core.errors import DataError

_START = re.compile(rb"(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*[\"}]|(\xef\xbb\xbf)?\s*\[\s*(\]|\Z)")
_START_BYTES = 1 << 12
_CHUNK_CHARACTERS = 1 << 20
_MAX_RECORD_CHARACTERS = 1 << 25
_SPACE = re.compile(r"[ \t\r\n]*")


def _unambiguous(number: str) -> str:
    """Return the number as it is written, unless its point could separate thousands."""
    return f"{number}0" if AMBIGUOUS.fullmatch(number) else number


_DECODER = JSONDecoder(parse_int=str, parse_float=_unambiguous, parse_constant=str)


def is_json_records(path: Path) -> bool:
    with path.open("rb") as file:
        return _START.match(file.read(_START_BYTES)) is not None


def write_csv(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> None:
    """Write the records as CSV of UTF-8 with commas, double quotes and a header.

    Raises DataError naming the record that is malformed, or the value that is no cell.
    """
    names: dict[str, None] = {}
    for record in _records(source):
        names |= dict.fromkeys(record)
        check_num_columns(len(names), max_columns)
    if not names:
        raise DataError("the file has no rows")
    num_bytes = 0
    try:
        with target.open("w", encoding="utf-8", newline="") as file:
            file.write(_line(map(_quoted, names)))
            for row, record in enumerate(_records(source), start=1):
                line = _line(_cell(record.get(name), row, name) for name in names)
                num_bytes += len(line)
                if num_bytes > max_bytes:
                    raise DataError(
                        f"the records make a table of more than the {max_bytes} bytes allowed"
                    )
                file.write(line)
    except UnicodeEncodeError as error:
        raise DataError("not a readable JSON: a string holds half of a character") from error


def _line(cells: Iterator[str]) -> str:
    return ",".join(cells) + "\n"


def _cell(value: Any, row: int, name: str) -> str:
    if value is None:
        return '""'  # a line of one empty cell would be blank, which is no row
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise DataError(
            f"{kind} is no value of a cell: make it columns of their own", row=row, column=name
        )
    return _quoted(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _records(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, value in enumerate(_values(file), start=1):
                if not isinstance(value, dict):
                    raise DataError("a record is an object of names and values", row=number)
                yield value
    except UnicodeDecodeError as error:
        raise DataError("not a readable JSON: it is not UTF-8") from error
    except RecursionError as error:
        raise DataError(f"record {number + 1} is nested too deeply") from error
    except JSONDecodeError as error:
        raise DataError(f"not a readable JSON: record {number + 1}: {error.msg}") from error


def _values(file: TextIO) -> Iterator[Any]:
    """Yield the values of an array, or those that stand one after the other."""
    buffer = _Buffer(file)
    is_array = buffer.peek() == "["
    if is_array:
        buffer.skip()
    while next_ := buffer.peek():
        if is_array and next_ == "]":
            buffer.skip()
            if buffer.peek():
                raise JSONDecodeError("more follows after the end of the array", "", 0)
            return
        yield buffer.value()
        if is_array and buffer.peek() == ",":
            buffer.skip()
        elif is_array and buffer.peek() not in ("]", ""):
            raise JSONDecodeError("a comma or the end of the array is missing before it", "", 0)
    if is_array:
        raise JSONDecodeError("the array has no end", "", 0)


class _Buffer:
    """The part of a file that is being decoded."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is no white space; nothing at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text) or not self._read(_CHUNK_CHARACTERS):
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        self._at += 1

    def value(self) -> Any:
        """Decode the next value. Raises JSONDecodeError if there is none."""
        size = _CHUNK_CHARACTERS
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
            except JSONDecodeError:
                # It may go on in the file. To read twice as much each time takes linear time.
                if size > _MAX_RECORD_CHARACTERS or not self._read(size):
                    raise
                size *= 2
            else:
                return value

    def _read(self, num_characters: int) -> bool:
        more = self._file.read(num_characters)
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
