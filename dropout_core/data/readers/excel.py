"""Read the first sheet of an Excel workbook, with polars' calamine engine."""

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from dropout_core.data.parsing import may_be_numbers
from dropout_core.data.readers.table import AMBIGUOUS, check_num_cells, check_num_columns
from dropout_core.errors import DataError

_SHEETS = "xl/worksheets/"


def write_csv(source: Path, target: Path, *, max_bytes: int, max_columns: int) -> list[str]:
    """Write the first sheet as CSV of UTF-8 with commas, double quotes and a header.

    The reader of CSV decides what its text means, as for any file. Returns warnings. Raises
    DataError if the workbook would unpack to more than `max_bytes`, or no library reads it.
    """
    if importlib.util.find_spec("fastexcel") is None:
        raise DataError(
            "Excel files are read if the service is installed with `dropout-service[excel]`; "
            "otherwise save the sheet as CSV"
        )
    try:
        with zipfile.ZipFile(source) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            names = [name for name in archive.namelist() if name.startswith(_SHEETS)]
    except Exception as error:  # zipfile raises many
        raise DataError(f"not a readable Excel file: {error}") from error
    if unpacked > max_bytes:
        raise DataError(f"the file unpacks to {unpacked} bytes, {max_bytes} are allowed")
    named = target.with_name("workbook.xlsx")  # calamine goes by the name
    named.symlink_to(source.absolute())
    try:
        sheet = pl.read_excel(
            named, engine="calamine", infer_schema_length=None, raise_if_empty=False
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # fastexcel raises its own errors, and its own panic
        reason = (str(error) or "it is damaged").splitlines()[0].removeprefix("calamine error: ")
        raise DataError(f"not a readable Excel file: {reason}") from error
    check_num_columns(sheet.width, max_columns)
    check_num_cells(sheet.height, sheet.width, max_bytes)
    if not sheet.height:
        raise DataError("the first sheet has no rows")
    numbers = pl.col(pl.Float64).cast(pl.String)
    sheet = sheet.with_columns(numbers.str.replace(f"^({AMBIGUOUS.pattern})$", "${1}0"))
    # A line of one empty cell would be blank, which is no row.
    sheet.write_csv(target, quote_style="always" if sheet.width == 1 else "necessary")
    warnings = []
    if may_be_numbers(pl.Series(sheet.columns)).any():
        warnings.append(
            "the first row of the sheet was taken for the names of the columns; if it is data, "
            "write names above it"
        )
    sheets = sum(name.endswith(".xml") for name in names)
    return [*warnings, f"the first of {sheets} sheets is read"] if sheets > 1 else warnings
