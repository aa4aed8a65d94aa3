"""Detect the encoding, delimiter, quote and header of a text file by its beginning."""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import header as header_row
from dropout_core.data.readers.csv_structure import Records, records
from dropout_core.errors import DataError

SAMPLE_BYTES = 1 << 17
_MAX_SAMPLE_BYTES = 1 << 22  # of a file whose first two records are longer than a sample
_CHUNK_BYTES = 1 << 20
_MARK = "\ufeff"  # of the order of bytes, which codecs that name the order leave in the text
_DELIMITERS = ",;\t|"
_UNSURE = {
    True: "the first row was taken for the names of the columns; if it is data, upload the file "
    "with header=false",
    False: "the first row was taken for data; if it names the columns, upload the file with "
    "header=true",
}
_GENERATED_NAME = re.compile(r"column_[1-9][0-9]*", re.ASCII)  # of a column without a header
_BLANK_LINE = re.compile(rb"\r?\n")


@dataclass(frozen=True)
class Dialect:
    """How a text file is delimited. `names` are those of the header, if there is one.

    `is_sampled_whole` says that the sample holds all rows, unless some are malformed, and
    `begins_blank` that a blank line comes before the first row. There is a `warning` if the first
    row could be a header or not.
    """

    delimiter: str
    quote: str
    header: bool
    names: list[str] | None
    num_columns: int
    num_header_lines: int
    num_sampled_rows: int
    is_sampled_whole: bool
    begins_blank: bool
    warning: str | None = None


def settle_encoding(path: Path, declared: str | None) -> str:
    """Return the declared encoding, or else that of the byte order mark; without one, UTF-8.

    Also a file that is declared to be UTF-8 may begin with a mark.
    """
    is_utf8 = declared is not None and codecs.lookup(declared).name in ("utf-8", "utf-8-sig")
    if declared is not None and not is_utf8:
        return declared
    with path.open("rb") as file:
        start = file.read(3)
    if start == codecs.BOM_UTF8:
        return "utf-8-sig"
    has_utf16_mark = start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "utf-16" if has_utf16_mark and not is_utf8 else "utf-8"


def transcode(source: Path, target: Path, *, encoding: str) -> None:
    """Write a text file again in UTF-8, without a mark at its beginning.

    Raises DataError naming the line that cannot be read.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    num_lines, is_start = 0, True
    with source.open("rb") as file, target.open("xb") as result:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
                content = (text.removeprefix(_MARK) if is_start else text).encode()
            except UnicodeError as error:
                at = getattr(error, "start", 0)
                raise DataError(
                    f"line {num_lines + 1 + chunk[:at].count(10)} is no text in {encoding}: "
                    f"{getattr(error, 'reason', error)}"
                ) from error
            num_lines += content.count(b"\n")
            is_start = is_start and not text
            result.write(content)
            if not chunk:
                return


def drop_lines(source: Path, target: Path, options: ReadOptions) -> None:
    """Write a UTF-8 file again without the lines that the options exclude from the table.

    A comment does not begin within quotes.
    """
    quote = (options.quote if options.quote is not None else '"').encode()
    comment = None if options.comment is None else options.comment.encode()
    is_quoted = False
    with source.open("rb") as lines, target.open("xb") as kept:
        for line in itertools.islice(lines, options.skip_rows, None):
            if comment is not None and not is_quoted and line.startswith(comment):
                continue
            is_quoted ^= quote != b"" and line.count(quote) % 2 == 1
            kept.write(line)


def detect_dialect(path: Path, options: ReadOptions, names: Collection[str] = ()) -> Dialect:
    """Return the dialect of a UTF-8 file. Raises DataError if it has no records.

    A first row with all of the `names`, if there are any, is a header.
    """
    for sample, is_whole in _samples(path):
        candidates = list(_candidates(sample, options))
        found = [
            records(sample, is_whole=is_whole, delimiter=delimiter, quote=quote)
            for delimiter, quote in candidates
        ]
        scores = [
            _score(one, len(sample), may_be_decimal=delimiter == ",")
            for one, (delimiter, _) in zip(found, candidates, strict=True)
        ]
        best = max(range(len(found)), key=scores.__getitem__)
        if len(found[best].ends) >= 2 or found[best].problem is not None:
            break
    delimiter, quote = candidates[best]
    dialect = _settled(
        sample,
        found[best],
        delimiter=delimiter,
        quote=quote,
        header=options.header,
        expected=names,
    )
    return replace(dialect, is_sampled_whole=is_whole)


def _samples(path: Path) -> Iterator[tuple[bytes, bool]]:
    size_bytes = path.stat().st_size
    length = SAMPLE_BYTES
    while True:
        with path.open("rb") as file:
            yield file.read(length), length >= size_bytes
        if length >= min(size_bytes, _MAX_SAMPLE_BYTES):
            return
        length = min(8 * length, _MAX_SAMPLE_BYTES)


def _candidates(sample: bytes, options: ReadOptions) -> Iterator[tuple[str, str]]:
    """Yield each delimiter with each quote, the likeliest first."""
    for quote in ('"', "'", "") if options.quote is None else (options.quote,):
        for delimiter in _DELIMITERS if options.delimiter is None else options.delimiter:
            if options.quote is not None or quote == '"' or _may_quote(sample, delimiter, quote):
                yield delimiter, quote


def _may_quote(sample: bytes, delimiter: str, quote: str) -> bool:
    """Return whether to try another quote: only where the usual one quotes no field."""
    usual = rf'(^|[\n{re.escape(delimiter)}])"'.encode()
    return re.search(usual, sample) is None and (quote == "" or quote.encode() in sample)


def _score(
    found: Records, num_bytes: int, *, may_be_decimal: bool
) -> tuple[float, bool, bool, int, bool]:
    """Return how well the dialect fits: best if all rows are as long as the first.

    Where other delimiters fit as well as the comma, commas stand in decimal numbers.
    """
    if not len(found.ends) or found.num_fields[0] == 1:
        return 0.0, found.problem is None, False, 0, False
    first = int(found.num_fields[0])
    share = float(np.mean(found.num_fields == first)) * int(found.ends[-1]) / num_bytes
    return share, found.problem is None, not may_be_decimal, first, found.num_quotes > 0


def _settled(
    sample: bytes,
    found: Records,
    *,
    delimiter: str,
    quote: str,
    header: bool | None,
    expected: Collection[str],
) -> Dialect:
    if not len(found.ends):
        if found.problem is None and sample.strip():
            raise DataError(f"the first row is longer than {_MAX_SAMPLE_BYTES} bytes")
        raise found.problem or DataError("the file has no rows")
    record = sample[: found.ends[0]]
    cells = _cells(record.lstrip(b"\r\n"), delimiter=delimiter, quote=quote)
    warning = None
    if header is None:
        header = _has_names(cells, expected)
    if header is None:
        header, is_sure = _has_header(sample, found, cells, delimiter=delimiter, quote=quote)
        warning = None if is_sure else _UNSURE[header]
    return Dialect(
        delimiter=delimiter,
        quote=quote,
        header=header,
        names=cells if header else None,
        num_columns=int(found.num_fields[0]),
        num_header_lines=record.lstrip(b"\r\n").count(b"\n") if header else 0,
        num_sampled_rows=len(found.ends) - header,
        is_sampled_whole=False,
        begins_blank=_BLANK_LINE.match(record) is not None
        or (header and _BLANK_LINE.match(sample, int(found.ends[0])) is not None),
        warning=warning,
    )


def _has_names(cells: Sequence[str], expected: Collection[str]) -> bool | None:
    """Return whether a first row is a header if its names are known; None if that does not tell."""
    if not expected:
        return None
    if set(expected) <= set(cells):
        return True
    return False if all(map(_GENERATED_NAME.fullmatch, expected)) else None


def _has_header(
    sample: bytes, found: Records, first: list[str], *, delimiter: str, quote: str
) -> tuple[bool, bool]:
    """Return whether the first row is a header, and whether that is sure."""
    ends = found.ends[: header_row.MAX_ROWS + 1]
    rest = sample[ends[0] : ends[-1]]
    quoted_number = rf"(?:^|[\n{re.escape(delimiter)}])[ ]?{quote}[-+]?[.]?[0-9]".encode()
    is_quoted_alone = (
        quote != ""
        and re.search(quoted_number, sample[: ends[0]]) is not None
        and re.search(quoted_number, rest) is None
    )
    rows = [first, *_readable_rows(rest, delimiter=delimiter, quote=quote)]
    return header_row.has_header(rows, is_quoted_alone=is_quoted_alone)


def _cells(record: bytes, *, delimiter: str, quote: str) -> list[str]:
    try:
        return next(_rows(record.decode(), delimiter=delimiter, quote=quote))
    except UnicodeDecodeError:
        return []  # the check of the whole file finds the row
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]  # what follows is advice to programmers
        raise DataError(f"not a readable CSV: {reason}") from error


def _readable_rows(lines: bytes, *, delimiter: str, quote: str) -> Iterator[list[str]]:
    """Yield the rows up to the first that cannot be read, which is refused later."""
    try:
        yield from _rows(lines.decode(errors="replace"), delimiter=delimiter, quote=quote)
    except csv.Error:
        return


def _rows(text: str, *, delimiter: str, quote: str) -> Iterator[list[str]]:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    return ([cell.strip() for cell in row] for row in reader)
