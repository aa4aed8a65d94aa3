"""A date means the same in an upload, in a file to predict and in a JSON row."""

import datetime as dt
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropout_core.config import PreprocessingConfig
from dropout_core.data.dates import parse_dates, settle_dates, with_settled_dates
from dropout_core.data.encoder import Encoder
from dropout_core.data.formats import DateFormat
from dropout_core.data.ingest import Limits, ingest
from dropout_core.data.readers import convert
from dropout_core.errors import DataError

EPOCH = dt.datetime(1970, 1, 1)
ONE_READING = (
    "{y:04}-{m:02}-{d:02}",
    "{y:04}-{m}-{d}",
    "{y:04}/{m:02}/{d:02}",
    "{d:02}.{m}.{y:04}",
)
TWO_READINGS = ("{d:02}/{m:02}/{y:04}", "{m}/{d}/{y:04}")
MARKS = ("T", "t", " ")
CLOCKS = ("{H:02}:{M:02}", "{H}:{M:02}", "{H:02}:{M:02}:{S:02}", "{H:02}:{M:02}:{S:02}.{f:06}")
ZONES = ("", "Z", "z", " Z", " z", "+00", "-0000", "+01:00", " +01:00", "-0330", " +14")
LIMITS = Limits(max_bytes=2**20, memory_bytes=2**30, seconds=60, max_columns=10_000)

ENCODER = Encoder.fit(
    pl.DataFrame({"when": [EPOCH, None]}), {"when": "datetime"}, PreprocessingConfig()
)


def offset_of(zone: str) -> dt.timedelta:
    digits = zone.strip("Zz +-").replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return dt.timedelta(minutes=-minutes if "-" in zone else minutes)


def forms(moment: dt.datetime, dates: tuple[str, ...]) -> dict[str, dt.datetime]:
    """Every way to write the moment, and the instant in UTC that each stands for."""
    written = {date: moment.replace(hour=0, minute=0, second=0, microsecond=0) for date in dates}
    for date, mark, clock, zone in product(dates, MARKS, CLOCKS, ZONES):
        local = moment.replace(
            second=moment.second if "{S" in clock else 0,
            microsecond=moment.microsecond if "{f" in clock else 0,
        )
        written[f"{date}{mark}{clock}{zone}"] = local - offset_of(zone)
    parts = {
        "y": moment.year,
        "m": moment.month,
        "d": moment.day,
        "H": moment.hour,
        "M": moment.minute,
        "S": moment.second,
        "f": moment.microsecond,
    }
    return {form.format(**parts): instant for form, instant in written.items()}


def uploaded(path: Path, columns: list[list[str]]) -> pl.DataFrame:
    """The stored table of a CSV with these columns, ingested as an upload is."""
    rows = [",".join(f'"{cell}"' for cell in row) for row in zip(*columns, strict=True)]
    header = ",".join(f"c{index}" for index in range(len(columns)))
    path.write_text("\n".join([header, *rows]) + "\n")
    ingest([path], path.with_suffix(".table"), limits=LIMITS)
    return pl.read_parquet(path.with_suffix(".table"), glob=False)


def days(instants: list[dt.datetime]) -> list[float]:
    # As NumPy divides: the microseconds are rounded to a Float64 first.
    microseconds = [(instant - EPOCH) // dt.timedelta(microseconds=1) for instant in instants]
    return [float(count) / 86_400_000_000 for count in microseconds]


def encoded(frame: pl.DataFrame) -> list[float]:
    column: list[float] = ENCODER.encode(frame)[:, 0].tolist()
    return column


MOMENTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31))


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moment=MOMENTS)
def test_every_form_is_the_same_instant_in_every_way_in(
    tmp_path: Path, moment: dt.datetime
) -> None:
    columns = [forms(moment, (date,)) for date in ONE_READING]
    table = uploaded(tmp_path / "a.csv", [list(column) for column in columns])
    for stored, column in zip(table, columns, strict=True):
        texts, instants = list(column), list(column.values())
        assert stored.dtype == pl.Datetime("us")
        assert stored.to_list() == instants
        assert encoded(pl.DataFrame({"when": texts})) == days(instants)
        assert encoded(ENCODER.frame_of([[text] for text in texts])) == days(instants)
        assert encoded(ENCODER.frame_of([{"when": text} for text in texts])) == days(instants)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moment=MOMENTS, other=MOMENTS)
def test_a_date_with_slashes_is_the_same_instant_in_every_file(
    tmp_path: Path, moment: dt.datetime, other: dt.datetime
) -> None:
    files = []
    for date in TWO_READINGS:
        written = forms(moment, (date,))
        last = forms(other.replace(day=13), (date,))  # tells whether the day comes first
        files.append((written, [*written, *last], [*written.values(), *last.values()]))
    table = uploaded(tmp_path / "a.csv", [texts for _, texts, _ in files])
    for stored, (written, texts, instants) in zip(table, files, strict=True):
        assert stored.dtype == pl.Datetime("us")
        assert stored.to_list() == instants
        assert encoded(pl.DataFrame({"when": texts})) == days(instants)
        # A batch of a file to predict does not see the last rows.
        file = pl.DataFrame({"when": texts})
        settled = settle_dates(file.lazy(), ENCODER.unsettled_dates, missing=())
        batch = with_settled_dates(file[: len(written)], settled)
        assert encoded(batch) == days(list(written.values()))


@pytest.mark.parametrize("cell", ["02/03/2024", "2/3/2024 10:00Z"])
def test_a_date_with_two_readings_is_settled_by_its_column_alone(tmp_path: Path, cell: str) -> None:
    assert uploaded(tmp_path / "a.csv", [[cell]]).row(0) == (cell,)
    with pytest.raises(DataError, match=r"row 1, column 'when': .* may be day/month or month/day"):
        ENCODER.encode(pl.DataFrame({"when": [cell]}))
    with pytest.raises(DataError, match=r"row 1, column 'when': .* is no date"):
        ENCODER.frame_of([[cell]])


def test_a_date_whose_two_readings_agree_is_read(tmp_path: Path) -> None:
    table = uploaded(tmp_path / "a.csv", [["02/02/2024", "03/03/2024"]])
    assert table["c0"].to_list() == [dt.datetime(2024, 2, 2), dt.datetime(2024, 3, 3)]
    assert parse_dates(pl.Series(["02/02/2024", "03/03/2024"])).equals(table["c0"])


@pytest.mark.parametrize(
    "rows",
    [
        # The sample of the first rows would take these for dates with the day first.
        ["02/02/2024"] * 20_000 + ["12/31/2024"],
        ["02/02/2024"] * 20_000 + ["31/12/2024"],
    ],
    ids=["month first", "day first"],
)
def test_a_late_row_settles_the_order(tmp_path: Path, rows: list[str]) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["when,x", *(f"{row},1" for row in rows)]))
    convert([tmp_path / "a.csv"], tmp_path / "table")
    when = pl.read_parquet(tmp_path / "table", glob=False)["when"]
    assert when[0] == dt.datetime(2024, 2, 2)
    assert when[-1] == dt.datetime(2024, 12, 31)


@pytest.mark.parametrize(
    "cell",
    [
        "2024-02-30",
        "2024-12-31T24:00",
        "2024-12-31T23:60",
        "2024-12-31T23:59:61",
        "2024-12-31 10:00 +24:00",
        "2024-12-31 10:00+01:60",
        "2024-12-31  10:00",
        "2024-12-31 10:00  Z",
        "2024-12-31 10:00CET",
        "2024-12-31Z",
        "0001-01-01T00:30+01:00",
        "9999-12-31T23:59:60",
        "31.12.4",
        "Dec 2024",
        "2024-12",
        "10:00",
    ],
)
def test_what_the_grammar_does_not_have_is_text_and_no_date(tmp_path: Path, cell: str) -> None:
    assert uploaded(tmp_path / "a.csv", [[cell]]).row(0) == (cell,)

    with pytest.raises(DataError, match=r"row 1, column 'when': .* is no date"):
        ENCODER.encode(pl.DataFrame({"when": [cell]}))
    with pytest.raises(DataError, match=r"row 1, column 'when': .* is no date"):
        ENCODER.frame_of([[cell]])


@pytest.mark.parametrize("first", ["2024/12/31 10:00Z", "31.12.2024 10:00+01:00", "31.12.2024"])
def test_a_first_row_with_a_date_is_no_header(tmp_path: Path, first: str) -> None:
    (tmp_path / "a.csv").write_text(f"x,{first}\ny,{first}\n")
    convert([tmp_path / "a.csv"], tmp_path / "table")
    assert len(pl.read_parquet(tmp_path / "table", glob=False)) == 2


@pytest.mark.parametrize(
    ("pattern", "readings"),
    [
        ("day first", {"25/12/2023": 25, "2/3/24": 2, "2023-12-25": 25, "12/25/2023": None}),
        ("month first", {"12/25/2023": 25, "2/3/24": 3, "2023-12-25": 25, "25/12/2023": None}),
        ("dots", {"25.12.2023": 25, "2/3/24": None, "2 Mar 2024": 2}),
        ("%d/%m/%y", {"25/12/23": 25, "2/3/24": 2, "25/12/2023": None, "2023-12-25": None}),
        ("%Y%m%d %H:%M%z", {"20231225 10:00+0000": 25, "20231225": None, "2023-12-25": None}),
    ],
)
def test_a_format_reads_each_cell_alone_and_in_one_way(
    pattern: str, readings: dict[str, int | None]
) -> None:
    days = parse_dates(pl.Series(list(readings)), DateFormat(pattern=pattern)).dt.day()
    assert days.to_list() == list(readings.values())


@pytest.mark.parametrize("cell", ["31 Dec 2024", "Dec 31, 2024 00:00", "31.12.24", "2024.12.31"])
def test_what_has_one_reading_is_read_in_json_too(cell: str) -> None:
    assert encoded(ENCODER.frame_of([[cell]])) == days([dt.datetime(2024, 12, 31)])
