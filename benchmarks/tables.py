"""Compare the scores of the default job on tables with those of scikit-learn, over seeds.

    python -m benchmarks.tables --json build/bench/tables.json

Each seed holds out other rows and draws other weights; all contestants get the same rows. `MLP` is
scikit-learn's MLPClassifier or MLPRegressor behind the pipeline that its documentation shows for
mixed columns, and `trees` its HistGradientBoosting. None is tuned.
"""

import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn import datasets as shipped
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run
from dropout_core.config import ProblemConfig, SplitConfig, TrainingConfig
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun

HELD_OUT = 0.25
SEEDS = 5
THREADS = 2


@dataclass(frozen=True)
class Table:
    """A frame and its `target`, which is predicted from the other columns."""

    frame: pl.DataFrame
    target: str
    is_regression: bool

    @property
    def measures(self) -> tuple[str, str]:
        """Return the names of the score, of which higher is better, and of the loss."""
        return ("r2", "rmse") if self.is_regression else ("accuracy", "log_loss")


@dataclass(frozen=True)
class Outcome:
    """The results of one contestant on one table: a score and a loss for every seed."""

    table: str
    contestant: str
    scores: list[float]
    losses: list[float]


def tables() -> dict[str, Callable[[], Table]]:
    """Return the tables by name, each made when it is called."""
    return {
        "iris": lambda: _shipped(shipped.load_iris()),
        "wine": lambda: _shipped(shipped.load_wine()),
        "breast cancer": lambda: _shipped(shipped.load_breast_cancer()),
        "digits": lambda: _shipped(shipped.load_digits()),
        "diabetes": lambda: _shipped(shipped.load_diabetes(), is_regression=True),
        "customers": lambda: _customers(4000),
        "customers, 400 rows": lambda: _customers(400),
        "rents": lambda: _rents(4000),
        "moons and noise": _moons,
    }


def _shipped(bunch: Any, *, is_regression: bool = False) -> Table:
    frame = pl.DataFrame(bunch.data, schema=[str(name) for name in bunch.feature_names])
    target = pl.Series("target", bunch.target)
    return Table(frame.with_columns(target), "target", is_regression)


def _customers(num_rows: int) -> Table:
    """Return customers who leave or stay: numbers of several scales, words, many towns, and
    missing values that carry information."""
    chance = np.random.default_rng(0)
    age = chance.integers(18, 90, num_rows)
    income = chance.lognormal(10, 0.7, num_rows)
    months = chance.exponential(30, num_rows).round()
    plan = chance.choice(
        ["basic", "plus", "family", "business"], num_rows, p=[0.5, 0.3, 0.15, 0.05]
    )
    pays = chance.choice(["card", "transfer", "cash"], num_rows)
    town = chance.integers(0, 120, num_rows)
    of_town = chance.normal(0, 0.8, 120)
    of_plan = {"basic": 0.6, "plus": -0.2, "family": -0.9, "business": -0.4}
    unknown = chance.random(num_rows) < 0.15
    drive = (
        0.9 * np.sin(age / 12)
        - 0.5 * np.log(income / 22_000)
        - 0.03 * np.minimum(months, 40)
        + np.vectorize(of_plan.get)(plan)
        + of_town[town]
        + 0.7 * ((pays == "cash") & (plan == "basic"))
        + 0.8 * unknown
    )
    leaves = chance.random(num_rows) < 1 / (1 + np.exp(-1.5 * (drive - np.median(drive))))
    frame = pl.DataFrame(
        {
            "age": age,
            "income": np.where(unknown, np.nan, income.round(2)),
            "months": months,
            "plan": plan,
            "pays": pays,
            "town": [f"town {index}" for index in town],
            "leaves": np.where(leaves, "yes", "no"),
        }
    ).with_columns(pl.col("income").fill_nan(None), _with_holes("pays", num_rows, chance))
    return Table(frame, "leaves", is_regression=False)


def _rents(num_rows: int) -> Table:
    """Return rents of flats: products of numbers, words, and some heavy tails."""
    chance = np.random.default_rng(1)
    area = chance.gamma(4, 18, num_rows) + 12
    year = chance.integers(1890, 2025, num_rows)
    floor = chance.integers(0, 9, num_rows)
    lift = chance.random(num_rows) < 0.4
    heating = chance.choice(["gas", "district", "oil", "heat pump"], num_rows)
    district = chance.integers(0, 40, num_rows)
    per_metre = 9 + 5 * chance.random(40)
    rent = area * per_metre[district] * (1 + 0.003 * np.maximum(year - 1980, 0))
    rent *= 1 - 0.02 * floor * ~lift + 0.06 * (heating == "heat pump")
    rent *= chance.lognormal(0, 0.08, num_rows)
    frame = pl.DataFrame(
        {
            "area": area.round(1),
            "year": year,
            "floor": floor,
            "lift": lift,
            "heating": heating,
            "district": [f"D{index:02}" for index in district],
            "rent": rent.round(2),
        }
    ).with_columns(_with_holes("year", num_rows, chance))
    return Table(frame, "rent", is_regression=True)


def _with_holes(name: str, num_rows: int, chance: np.random.Generator) -> pl.Expr:
    """Return the column without a tenth of its values."""
    is_hole = pl.Series(chance.random(num_rows) < 0.1)
    return pl.when(is_hole).then(None).otherwise(pl.col(name)).alias(name)


def _moons() -> Table:
    """Return two half moons among columns of noise."""
    points, kind = shipped.make_moons(1500, noise=0.25, random_state=0)
    noise = np.random.default_rng(2).normal(size=(1500, 8))
    frame = pl.DataFrame(np.hstack([points, noise]), schema=[f"x{i}" for i in range(10)])
    return Table(frame.with_columns(pl.Series("kind", kind)), "kind", is_regression=False)


def _by_service(table: Table, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> Any:
    """Train the default job. The test rows are held out already; it chooses its validation rows."""
    problem = ProblemConfig(target=table.target, split=SplitConfig(test=0.0, seed=seed))
    run = TabularRun(
        resolve_table(train, problem), training=TrainingConfig(seed=seed, device="cpu")
    )
    for _ in run.training:
        pass
    predictions = Predictor(run.model, run.description).predict(test)
    return predictions.values, predictions.probabilities


def _by_mlp(table: Table, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> Any:
    numbers, words = _columns(train, table.target)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = ColumnTransformer(
        [("numbers", scaled, numbers), ("words", OneHotEncoder(handle_unknown="ignore"), words)]
    )
    kind = MLPRegressor if table.is_regression else MLPClassifier
    return _by_sklearn(make_pipeline(columns, kind(random_state=seed)), table, train, test)


def _by_trees(table: Table, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> Any:
    numbers, words = _columns(train, table.target)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("words", codes, words), ("numbers", "passthrough", numbers)])
    kind = HistGradientBoostingRegressor if table.is_regression else HistGradientBoostingClassifier
    trees = kind(random_state=seed, categorical_features=range(len(words)))
    return _by_sklearn(make_pipeline(columns, trees), table, train, test)


def _columns(frame: pl.DataFrame, target: str) -> tuple[list[str], list[str]]:
    """Return the features that are numbers, and those that are words."""
    features = frame.drop(target)
    words = features.select(pl.col(pl.String)).columns
    return [name for name in features.columns if name not in words], words


def _by_sklearn(model: Any, table: Table, train: pl.DataFrame, test: pl.DataFrame) -> Any:
    given, asked = (
        frame.drop(table.target).with_columns(
            pl.col(pl.Float64, pl.Int64, pl.Boolean).cast(pl.Float64).fill_null(np.nan)
        )
        for frame in (train, test)
    )
    with warnings.catch_warnings():
        # 200 iterations is its default, and defaults are compared.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(given, train[table.target].to_numpy())
    if table.is_regression:
        return model.predict(asked), None
    return model.predict(asked), model.predict_proba(asked)


CONTESTANTS: dict[str, Callable[[Table, pl.DataFrame, pl.DataFrame, int], Any]] = {
    "service": _by_service,
    "MLP": _by_mlp,
    "trees": _by_trees,
}
"""By name: (table, training rows, rows to predict, seed) -> (predictions, probabilities)."""


def run(table: Table, name: str, num_seeds: int) -> Iterator[Outcome]:
    """Yield every contestant's outcome on the table."""
    for contestant, predict in CONTESTANTS.items():
        scores, losses = [], []
        for seed in range(num_seeds):
            order = np.random.default_rng(seed).permutation(len(table.frame))
            num_test = round(len(order) * HELD_OUT)
            train, test = table.frame[order[num_test:]], table.frame[order[:num_test]]
            values, probabilities = predict(table, train, test, seed)
            score, loss = _measure(table, test[table.target].to_numpy(), values, probabilities)
            scores.append(score)
            losses.append(loss)
        yield Outcome(name, contestant, scores, losses)


def _measure(table: Table, true: Any, values: Any, probabilities: Any) -> tuple[float, float]:
    if table.is_regression:
        return float(r2_score(true, values)), float(root_mean_squared_error(true, values))
    classes = np.unique(table.frame[table.target].to_numpy())
    return (
        float(accuracy_score(true, np.asarray(values))),
        float(log_loss(true, np.asarray(probabilities), labels=classes)),
    )


def _report(table: Table, outcomes: list[Outcome]) -> bool:
    """Print a table's line. Return False if the service is worse than the MLP beyond the error."""
    service, mlp, _ = outcomes
    differences = [a - b for a, b in zip(service.scores, mlp.scores, strict=True)]
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5
    score, loss = table.measures
    cells = [
        f"{o.contestant} {statistics.fmean(o.scores):.4f} ({statistics.fmean(o.losses):.4g})"
        for o in outcomes
    ]
    holds = mean >= -error
    print(
        f"{service.table:22} {score} ({loss}): {'   '.join(cells)}   "
        f"service - MLP {mean:+.4f} +- {error:.4f} {'' if holds else '  WORSE'}",
        flush=True,
    )
    return holds


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", help="name of one table")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    outcomes: list[Outcome] = []
    worse = []
    for name, make in tables().items():
        if arguments.only in (None, name):
            table = make()
            of_table = list(run(table, name, arguments.seeds))
            outcomes += of_table
            if not _report(table, of_table):
                worse.append(name)
    print(f"more than one standard error below the MLP: {', '.join(worse) or 'no table'}")
    write_report([asdict(outcome) for outcome in outcomes], arguments)


if __name__ == "__main__":
    with benchmark_run():
        main()
