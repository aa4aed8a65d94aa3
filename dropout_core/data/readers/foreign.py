"""Recognize files that are not read, and tell what to do with them."""

import re
from pathlib import Path

from dropout_core.errors import DataError

_CSV = "export the table as CSV"
_UNPACK = "unpack it first, or use gzip or zip"

# The first bytes of a file, what it is, and what to do.
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file (.xls)", "save it as .xlsx or CSV"),
    (b"RDX", "a file of R (.rda)", "use write.csv in R"),
    (b"RDA", "a file of R (.rda)", "use write.csv in R"),
    (b"X\n\0\0\0", "a file of R (.rds)", "use write.csv in R"),
    (b"\0" * 12 + b"\xc2\xea\x81\x60", "a SAS file (.sas7bdat)", _CSV),
    (b"$FL2", "an SPSS file (.sav)", _CSV),
    (b"<stata_dta>", "a Stata file (.dta)", _CSV),
    (b"MATLAB 5.0", "a MATLAB file (.mat)", "use writematrix or writetable in MATLAB"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5)", "save its arrays with numpy.savez"),
    (b"SQLite format 3\0", "an SQLite database", "export one of its tables as CSV"),
    (b"FEA1", "a Feather file of version 1", "write it again as Feather 2 or Parquet"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%PDF", "a PDF", _CSV),
    (b"\x89PNG", "an image", "images are read as arrays: NPZ, .npy or IDX"),
    (b"\xff\xd8\xff", "an image", "images are read as arrays: NPZ, .npy or IDX"),
    (b"GIF8", "an image", "images are read as arrays: NPZ, .npy or IDX"),
)
_START_BYTES = 1 << 12
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_TAR = (257, b"ustar")

# Texts that look like a table to the reader of CSV.
_TEXTS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.I), "an HTML page", _CSV),
    (re.compile(rb"<\?xml\b", re.I), "XML", _CSV),
    (
        re.compile(rb"(\s*(%[^\n]*)?\n)*\s*@relation\s", re.I),
        "an ARFF file",
        "convert it, for example with scipy.io.arff.loadarff and pandas.DataFrame.to_csv",
    ),
    (
        re.compile(rb"[-+]?\d+(\.\d+)?([ \t]+\d+:[-+.\deE]+)+[ \t]*(#[^\n]*)?\r?\n"),
        "a LIBSVM file",
        "convert it, for example with sklearn.datasets.load_svmlight_file and numpy.savez",
    ),
    (
        re.compile(rb"\[\s*[\[\"\d-][^\n]*\]\s*\Z"),
        "JSON without the names of columns",
        'write records, such as [{"x": 1, "y": "a"}]',
    ),
)


def refuse_foreign(path: Path) -> None:
    """Raise DataError for a file of a kind that is known, but not read."""
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    for signature, what, advice in _SIGNATURES:
        if start.startswith(signature):
            _refuse(what, advice)
    if _PICKLE.match(start):
        _refuse("a pickle", "loading it could run any code; write Parquet, NPZ or CSV instead")
    if start[_TAR[0] :].startswith(_TAR[1]):
        _refuse("a tar archive", _UNPACK)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, what, advice in _TEXTS:
        if pattern.match(text):
            _refuse(what, advice)


def _refuse(what: str, advice: str) -> None:
    raise DataError(f"the file is {what}, which is not read: {advice}")
