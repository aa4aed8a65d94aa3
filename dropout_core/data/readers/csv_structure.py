"""Check the rows and fields of a delimited text file, by its bytes, many at a time.

The parser pads short rows, and so accepts damaged files. This check refuses them. It is exact for
files in which quotes enclose whole fields and are doubled inside (RFC 4180), and refuses all
others. It keeps one window of the file in memory.
"""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dropout_core.errors import DataError

WINDOW_BYTES = 3 << 15  # so that a window and its masks stay in the cache, and in the heap
_NEWLINE, _RETURN, _BLANK, _TAB, _ZERO = b"\n\r \t0"
_BEFORE, _AFTER = 2, 3  # bytes that a window shows of its neighbours
_NO_END = "not a readable CSV: a quoted field has no end"
_NUL = "the file is binary or not UTF-8 text: it holds a NUL byte"

Bytes = NDArray[np.uint8]
Positions = NDArray[np.intp]


class StrayQuote(DataError):
    """A quote that neither opens nor closes a whole field."""


@dataclass(frozen=True)
class Structure:
    """The structure of a file whose rows all have the same number of fields.

    `num_rows` counts the header. `padded` are the watched columns with a cell that begins with
    white space, or with a zero before another digit: number parsers overlook both.
    """

    num_rows: int
    has_blank_lines: bool
    padded: frozenset[int]


class Records:
    """The records in the bytes of a file that were fed so far.

    `num_fields` and `ends`, in bytes, are those of each record that ended in the last window,
    before its first `problem`. A problem is raised if `num_columns` is known.
    """

    def __init__(
        self,
        delimiter: str,
        quote: str,
        *,
        num_columns: int | None = None,
        first_row: int = 0,
        watched: Sequence[int] = (),
    ) -> None:
        self.num_fields = np.empty(0, np.intp)
        self.ends = np.empty(0, np.intp)
        self.problem: DataError | None = None
        self.num_rows = 0
        self.num_blank_lines = 0
        self.num_quotes = 0
        self.padded: set[int] = set()
        self.is_quoted = False  # whether the next byte is within a quoted field
        self.blank = np.empty(0, np.intp)
        self._delimiter = ord(delimiter)
        self._quote = ord(quote) if quote else None
        self._num_columns = num_columns
        self._first_row = first_row
        self._num_open = 0  # fields that ended in the record in progress
        self._watched = set(watched)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, window: Bytes, stop: int) -> None:
        """Take the next bytes, from _BEFORE to `stop` of a window."""
        core = window[_BEFORE:stop]
        content = core.tobytes()
        is_newline = core == _NEWLINE
        quotes, within = self._quotes(core, content)
        was_quoted = self.is_quoted
        if within is not None:
            is_newline &= ~within
            self.is_quoted = bool((len(quotes) + was_quoted) % 2)
        problems = (
            self._text_problems(content)
            + self._return_problems(window, content, within)
            + self._quote_problems(window, quotes, was_quoted)
        )
        is_separator = core == self._delimiter
        if within is not None:
            is_separator &= ~within
        is_separator |= is_newline
        if problems:
            position, self.problem = min(problems, key=lambda problem: problem[0])
            is_separator[position:] = is_newline[position:] = False
        self.num_quotes += len(quotes)
        newlines = np.flatnonzero(is_newline)
        self._find_blank_lines(window, newlines + _BEFORE)
        if len(self.blank):
            is_separator[self.blank - _BEFORE] = is_newline[self.blank - _BEFORE] = False
            newlines = np.flatnonzero(is_newline)
        separators = np.flatnonzero(is_separator)
        self._count_fields(separators, newlines)
        if self._num_columns is not None:
            self._check_rows()
            if self.problem is not None:
                raise type(self.problem)(str(self.problem), row=self.row(self.num_rows))
            self._find_padded(window, separators + _BEFORE)

    def row(self, index: int) -> int | None:
        """Return the number of the record with this index; None for the header."""
        return index + self._first_row or None

    def _quotes(self, core: Bytes, content: bytes) -> tuple[Positions, NDArray[np.bool_] | None]:
        """Return the positions of quotes, and which bytes are within them."""
        none = np.empty(0, np.intp)
        if self._quote is None:
            return none, None
        if self._quote not in content:
            return none, np.ones(len(core), bool) if self.is_quoted else None
        is_quote = core == self._quote
        # Modulo 256, because only whether their number is odd matters.
        parity = np.cumsum(is_quote, dtype=np.uint8)
        if self.is_quoted:
            parity += np.uint8(1)
        parity &= 1
        return np.flatnonzero(is_quote), parity.view(np.bool_)

    def _text_problems(self, content: bytes) -> list[tuple[int, DataError]]:
        problems = []
        nul = content.find(0)
        if nul >= 0:
            problems.append((nul, DataError(_NUL)))
        pending = self._decoder.getstate()[0]
        if pending or not content.isascii():
            try:
                self._decoder.decode(content)
            except UnicodeDecodeError as error:
                problems.append((max(0, error.start - len(pending)), _not_utf8(error)))
        return problems

    def _return_problems(
        self, window: Bytes, content: bytes, within: NDArray[np.bool_] | None
    ) -> list[tuple[int, DataError]]:
        if _RETURN not in content:
            return []
        stop = _BEFORE + len(content)
        is_return = window[_BEFORE:stop] == _RETURN
        is_return &= window[_BEFORE + 1 : stop + 1] != _NEWLINE
        if within is not None:
            is_return &= ~within
        if not is_return.any():
            return []
        message = "not a readable CSV: a carriage return stands within a line, outside of quotes"
        return [(int(is_return.argmax()), DataError(message))]

    def _quote_problems(
        self, window: Bytes, quotes: Positions, was_quoted: bool
    ) -> list[tuple[int, DataError]]:
        if not len(quotes):
            return []
        positions = quotes + _BEFORE
        opens = (np.arange(len(quotes)) + was_quoted) % 2 == 0
        before, after = window[positions - 1], window[positions + 1]
        edges = (self._delimiter, _NEWLINE, window[positions[0]])
        opens_well = np.isin(before, edges)
        closes_well = np.isin(after, edges) | (
            (after == _RETURN) & (window[positions + 2] == _NEWLINE)
        )
        is_stray = ~np.where(opens, opens_well, closes_well)
        if not is_stray.any():
            return []
        message = (
            "not a readable CSV: a quote stands within a field; where quotes have no meaning, "
            "give an empty `quote`"
        )
        return [(int(quotes[is_stray.argmax()]), StrayQuote(message))]

    def _find_blank_lines(self, window: Bytes, newlines: Positions) -> None:
        before = window[newlines - 1]
        is_blank = before == _NEWLINE
        is_blank |= (before == _RETURN) & (window[newlines - 2] == _NEWLINE)
        self.blank = newlines[is_blank]
        self.num_blank_lines += len(self.blank)

    def _count_fields(self, separators: Positions, newlines: Positions) -> None:
        self.ends = newlines + 1
        self.num_rows += len(newlines)
        self._open_before = self._num_open
        if not len(newlines):
            self.num_fields = np.empty(0, np.intp)
            self._num_open += len(separators)
            return
        if self._num_columns is not None and self._num_open < self._num_columns:
            # If all rows have `num_columns` fields, every `num_columns`-th separator ends one.
            ends = separators[self._num_columns - 1 - self._num_open :: self._num_columns]
            if np.array_equal(ends, newlines):
                self.num_fields = np.full(len(newlines), self._num_columns)
                self._num_open = (self._num_open + len(separators)) % self._num_columns
                return
        ranks = np.searchsorted(separators, newlines)
        self.num_fields = np.diff(ranks, prepend=-1)
        self.num_fields[0] += self._num_open
        self._num_open = len(separators) - 1 - int(ranks[-1])

    def _check_rows(self) -> None:
        is_other = self.num_fields != self._num_columns
        if is_other.any():
            index = int(is_other.argmax())
            raise DataError(
                f"{self.num_fields[index]} fields where the first row has {self._num_columns}",
                row=self.row(self.num_rows - len(self.num_fields) + index),
            )

    def _find_padded(self, window: Bytes, separators: Positions) -> None:
        assert self._num_columns is not None
        for column in self._watched - self.padded:
            # In a rectangle of n columns, the i-th separator precedes a cell of column i + 1 mod n.
            first = (column - 1 - self._open_before) % self._num_columns
            starts = separators[first :: self._num_columns] + 1
            if self._quote is not None:
                starts = starts + (window[starts] == self._quote)
            is_zero = window[starts] == _ZERO
            has_digit = window[starts[is_zero] + 1] - np.uint8(_ZERO) <= 9
            is_blank = window[starts] == _BLANK
            if self._delimiter != _TAB:
                is_blank |= window[starts] == _TAB
            if has_digit.any() or is_blank.any():
                self.padded.add(column)


def check_structure(
    file: BinaryIO,
    *,
    delimiter: str,
    quote: str,
    num_columns: int,
    header: bool,
    watched: Sequence[int] = (),
) -> Structure:
    """Read a UTF-8 file to its end. Raises DataError naming the first malformed row.

    Rows are counted from 1 after the `header`; blank lines are no rows. The columns to be `watched`
    are counted from 0.
    """
    scan = Records(
        delimiter, quote, num_columns=num_columns, first_row=0 if header else 1, watched=watched
    )
    for window, stop in _windows(file):
        scan.feed(window, stop)
    if scan.is_quoted:
        raise StrayQuote(_NO_END, row=scan.row(scan.num_rows))
    return Structure(scan.num_rows, scan.num_blank_lines > 0, frozenset(scan.padded))


def records(sample: bytes, *, is_whole: bool, delimiter: str, quote: str) -> Records:
    """Find the records of a file's beginning."""
    found = Records(delimiter, quote)
    if is_whole and not sample.endswith(b"\n"):
        sample += b"\n"
    window = np.frombuffer(b"\n" * _BEFORE + sample + b"\n" * _AFTER, np.uint8)
    found.feed(window, len(window) - _AFTER)
    if found.problem is None and is_whole and found.is_quoted:
        found.problem = StrayQuote(_NO_END)
    return found


def without_blank_lines(source: BinaryIO, target: BinaryIO, *, delimiter: str, quote: str) -> None:
    """Copy a file that `check_structure` has found good."""
    scan = Records(delimiter, quote)
    for window, stop in _windows(source):
        scan.feed(window, stop)
        kept = np.ones(stop, bool)
        kept[:_BEFORE] = False
        kept[scan.blank] = False
        kept[scan.blank[window[scan.blank - 1] == _RETURN] - 1] = False
        target.write(window[:stop][kept].tobytes())


def starts_a_field(file: BinaryIO, *, delimiter: str, quote: str) -> bool:
    """Return whether a quote ever stands where a quoted field would begin."""
    mark, comma = ord(quote), ord(delimiter)
    for window, stop in _windows(file):
        before = window[_BEFORE - 1 : stop - 1]
        starts = (window[_BEFORE:stop] == mark) & ((before == comma) | (before == _NEWLINE))
        if starts.any():
            return True
    return False


def _windows(file: BinaryIO) -> Iterator[tuple[Bytes, int]]:
    """Yield windows of the file as (bytes, stop). The bytes from _BEFORE to stop are the new ones.

    The last line ends with a newline, whether the file's does or not.
    """
    kept, is_new = b"\n" * _BEFORE, False
    while data := file.read(WINDOW_BYTES):
        is_new = True
        buffer = kept + data
        stop = len(buffer) - _AFTER
        if stop > _BEFORE:
            yield np.frombuffer(buffer, np.uint8), stop
            kept = buffer[stop - _BEFORE :]
        else:
            kept = buffer
    if is_new:
        end = b"" if kept.endswith(b"\n") else b"\n"
        buffer = kept + end + b"\n" * _AFTER
        yield np.frombuffer(buffer, np.uint8), len(buffer) - _AFTER


def _not_utf8(error: UnicodeDecodeError) -> DataError:
    return DataError(
        f"the file is binary or not UTF-8 text: it holds the byte 0x{error.object[error.start]:02x}"
        "; if it is text, give its `encoding`, such as 'cp1252'"
    )
