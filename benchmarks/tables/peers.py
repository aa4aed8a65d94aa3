"""Run the other libraries' contestants, all at their defaults.

    python -m benchmarks.tables.peers build/bench/tables build/bench/tables.jsonl --threads 2

runs in the peers' environment (benchmarks/table_peers.txt), which has no dropout service.

Linear models, the MLP of scikit-learn and the networks of pytabkit, which refuse missing numbers,
get these as medians with a column that says so; all other contestants get the tables as they are.
Words are pandas' categories.
"""

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.tables.catalogue import Table, read_tables
from benchmarks.tables.measures import Forecast
from benchmarks.tables.outcomes import Contestant, Predict, run

MISSING = "missing"


class Features:
    """Turn the features of a table into a frame of pandas, with the categories of training rows.

    Columns are named by their places: LightGBM and XGBoost refuse some characters.
    """

    def __init__(self, train: pl.DataFrame, target: str) -> None:
        self._target = target
        self._words = {
            column.name: sorted(column.drop_nulls().unique())
            for column in train.drop(target).select(pl.col(pl.String))
        }

    def __call__(self, frame: pl.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {
                f"c{place}": pd.Categorical(column.to_list(), categories=self._words[column.name])
                if column.name in self._words
                else column.cast(pl.Float64).to_numpy()
                for place, column in enumerate(frame.drop(self._target))
            }
        )


def _sklearn_like(make: Callable[[Table, int], Any]) -> Contestant:
    """Return a contestant with scikit-learn's interface."""

    def fit(table: Table, train: pl.DataFrame, seed: int) -> Predict:
        features = Features(train, table.target)
        model = make(table, seed)
        target = train[table.target].to_numpy()
        model.fit(features(train), target if table.is_regression else target.astype(str))
        return lambda test: _forecast(model, features(test), table)

    return fit


def _forecast(model: Any, rows: Any, table: Table) -> Forecast:
    if table.is_regression:
        return Forecast(np.asarray(model.predict(rows), np.float64).reshape(-1))
    probabilities = np.asarray(model.predict_proba(rows), np.float64)
    classes = tuple(map(str, model.classes_))
    return Forecast(np.array(classes)[probabilities.argmax(axis=1)], probabilities, classes)


def _pipeline(regressor: Callable[..., Any], classifier: Callable[..., Any]) -> Contestant:
    """Return a model behind the pipeline that scikit-learn documents for mixed columns."""

    def make(table: Table, seed: int) -> Any:
        numbers = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
        )
        words = OneHotEncoder(handle_unknown="ignore")
        columns = ColumnTransformer(
            [
                ("numbers", numbers, make_column_selector(dtype_include="number")),
                ("words", words, make_column_selector(dtype_include="category")),
            ]
        )
        kind = regressor if table.is_regression else classifier
        return make_pipeline(columns, kind(random_state=seed))

    return _sklearn_like(make)


def _trees(table: Table, seed: int) -> Any:
    kind = HistGradientBoostingRegressor if table.is_regression else HistGradientBoostingClassifier
    return kind(random_state=seed)


def _lightgbm(table: Table, seed: int, *, threads: int) -> Any:
    import lightgbm

    kind = lightgbm.LGBMRegressor if table.is_regression else lightgbm.LGBMClassifier
    return kind(random_state=seed, n_jobs=threads, verbosity=-1)


def _xgboost(threads: int) -> Contestant:
    """XGBoost counts classes from 0."""
    import xgboost

    def fit(table: Table, train: pl.DataFrame, seed: int) -> Predict:
        features = Features(train, table.target)
        kind = xgboost.XGBRegressor if table.is_regression else xgboost.XGBClassifier
        model = kind(random_state=seed, n_jobs=threads, enable_categorical=True)
        target = train[table.target].to_numpy()
        if table.is_regression:
            model.fit(features(train), target)
            return lambda test: _forecast(model, features(test), table)
        classes, codes = np.unique(target.astype(str), return_inverse=True)
        model.fit(features(train), codes)

        def predict(test: pl.DataFrame) -> Forecast:
            probabilities = np.asarray(model.predict_proba(features(test)), np.float64)
            return Forecast(classes[probabilities.argmax(axis=1)], probabilities, tuple(classes))

        return predict

    return fit


def _catboost(threads: int) -> Contestant:
    import catboost

    def rows(features: Features, frame: pl.DataFrame) -> pd.DataFrame:
        table = features(frame)
        for name in table.select_dtypes("category"):
            table[name] = table[name].astype(object).fillna(MISSING)
        return table

    def fit(table: Table, train: pl.DataFrame, seed: int) -> Predict:
        features = Features(train, table.target)
        kind = catboost.CatBoostRegressor if table.is_regression else catboost.CatBoostClassifier
        model = kind(
            random_seed=seed,
            thread_count=threads,
            cat_features=list(features(train).select_dtypes("category").columns),
            verbose=False,
            allow_writing_files=False,
        )
        target = train[table.target].to_numpy()
        model.fit(rows(features, train), target if table.is_regression else target.astype(str))
        return lambda test: _forecast(model, rows(features, test), table)

    return fit


def _pytabkit(name: str, *, threads: int) -> Contestant:
    from pytabkit.models.sklearn import sklearn_interfaces as interfaces

    def make(table: Table, seed: int) -> Any:
        kind = "Regressor" if table.is_regression else "Classifier"
        filled = ColumnTransformer(
            [
                (
                    "numbers",
                    SimpleImputer(strategy="median", add_indicator=True),
                    make_column_selector(dtype_include="number"),
                )
            ],
            remainder="passthrough",
        ).set_output(transform="pandas")
        model = getattr(interfaces, f"{name}_{kind}")
        return make_pipeline(filled, model(random_state=seed, n_threads=threads, device="cpu"))

    return _sklearn_like(make)


def contestants(threads: int) -> dict[str, Contestant]:
    """Return the contestants by name, in the order of their cost."""
    return {
        "linear": _pipeline(Ridge, LogisticRegression),
        "HistGradientBoosting": _sklearn_like(_trees),
        "LightGBM": _sklearn_like(partial(_lightgbm, threads=threads)),
        "XGBoost": _xgboost(threads),
        "MLP": _pipeline(MLPRegressor, MLPClassifier),
        "CatBoost": _catboost(threads),
        "RealMLP-TD-S": _pytabkit("RealMLP_TD_S", threads=threads),
        "RealMLP-TD": _pytabkit("RealMLP_TD", threads=threads),
        "TabM": _pytabkit("TabM_D", threads=threads),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", type=Path)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--contestants", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # Linear models and the MLP end at their default number of iterations, whether that is enough
    # or not, and pytabkit's trainer gives advice.
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    chosen = contestants(options.threads)
    if options.contestants is not None:
        chosen = {name: chosen[name] for name in options.contestants}
    run(
        chosen,
        read_tables(options.tables, options.only),
        options.seeds,
        options.outcomes,
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
