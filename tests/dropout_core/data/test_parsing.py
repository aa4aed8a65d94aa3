"""Numbers in text, in every format."""

import polars as pl
import pytest

from dropout_core.data.formats import NumberFormat
from dropout_core.data.parsing import FORMATS, bare_number_text, number_text, parse_numbers


def numbers_of(cells: list[str], format_: NumberFormat) -> list[float | None]:
    column = pl.DataFrame({"x": cells})
    return parse_numbers(column, {"x": format_})["x"].to_list()


@pytest.mark.parametrize("format_", FORMATS)
def test_a_unit_a_sign_and_parentheses_mean_the_same_in_every_format(format_: NumberFormat) -> None:
    half = f"0{format_.decimal}5"
    meant = {
        0.5: (half, f"+{half}", f" {half} ", f"${half}", f"{half} €", f"EUR {half}", f"US$ {half}"),
        -0.5: (f"-{half}", f"\u2212{half}", f"({half})", f"-${half}", f"$-{half}", f"(${half})"),
        0.005: (f"{half}%", f"{half} %"),
        -0.005: (f"-{half}%", f"({half}%)", f"({half})%"),
        500.0: (f"{half}e3", f"{half}E+03"),
    }
    for number, cells in meant.items():
        assert numbers_of(list(cells), format_) == [number] * len(cells)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_no_number_of_a_format_is_not_read(format_: NumberFormat) -> None:
    other = "," if format_.decimal == "." else "."
    cells = [
        "",
        "$",
        "%",
        "-",
        "(5",
        "5)",
        "-(5)",
        "--5",
        "5$€",
        "5 5",
        "5%5",
        "0x10",
        "1_000",
        "5k",
    ]
    cells += [f"1{other}5", f"1{format_.decimal}5{format_.decimal}5", "12,34,567", "1.2.3"]
    if format_.thousands:
        mark = format_.thousands
        cells += [
            f"1{mark}23",
            f"1{mark}2345",
            f"0{mark}123",
            f"1234{mark}567",
            f"1{mark}{mark}234",
        ]
    assert numbers_of(cells, format_) == [None] * len(cells)


@pytest.mark.parametrize("format_", [f for f in FORMATS if f.thousands])
def test_thousands_are_grouped_or_not(format_: NumberFormat) -> None:
    mark, point = format_.thousands, format_.decimal
    cells = [f"1{mark}234", f"1{mark}234{mark}567{point}25", f"1234{point}5", "12"]
    assert numbers_of(cells, format_) == [1234, 1234567.25, 1234.5, 12]


def test_separators_have_the_forms_that_are_typed() -> None:
    spaces = NumberFormat(decimal=",", thousands=" ")
    assert numbers_of(["1\u00a0234,5", "1\u202f234", "1\u00a0234 567"], spaces) == [
        1234.5,
        1234,
        None,
    ]
    assert numbers_of(["1'234", "1\u2019234"], NumberFormat(thousands="'")) == [1234, 1234]


@pytest.mark.parametrize("format_", FORMATS)
def test_bare_numbers_are_those_without_a_unit(format_: NumberFormat) -> None:
    point, mark = format_.decimal, format_.thousands
    bare = [f"1{mark}234{point}5", f"-0{point}25", "+7", f"{point}5"]
    cells = pl.DataFrame({"x": [*bare, f"$1{point}5", f"1{point}5%", "(3)", "x", None]})
    found = cells.select(
        bare=bare_number_text(pl.col("x"), format_).cast(pl.Float64),
        all=number_text(pl.col("x"), format_).cast(pl.Float64),
    )
    assert found["bare"].to_list() == [*found["all"][: len(bare)], *[None] * 5]
    assert found["all"].null_count() == 2
