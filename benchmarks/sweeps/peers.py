"""Search with Optuna and Ray Tune around a loop in torch, each in its own process.

    python -m benchmarks.sweeps.peers ray --threads 2

runs in the peers' environment (benchmarks/sweep_peers.txt). It prints {"ready": VERSIONS}. Then it
reads a `Run` as JSON from each line, makes the search and prints {"curve": [[SECONDS, LOSS], ...],
"seconds": SECONDS}: the validation loss of every epoch of every trial, when it was known. The other
end is `peer_process.Peer`.

The clock starts when rows are in memory, libraries are imported, and Ray's cluster and Optuna's
worker processes are waiting. Optuna samples by TPE, its default, and prunes by its
SuccessiveHalvingPruner; Ray Tune samples at random, its default, and schedules by ASHA.
"""

import argparse
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.sweeps.task import EPOCHS, REDUCTION, SPACE, TRIALS
from benchmarks.sweeps.torch_loop import Rows, losses, read_rows

Curve = list[tuple[float, float]]
"""The moment and the validation loss of every epoch; the moment is that of `time.time`."""


class Run(NamedTuple):
    """What to search on: a file that `torch_loop.read_rows` reads."""

    rows: str
    batch_size: int
    seed: int


Search = Callable[[Run], tuple[float, float, Curve]]
"""Make a search; return when it began and ended, and the curve."""

NUM_WORKERS = 2


def _study(seed: int, storage: Any = None) -> dict[str, Any]:
    """Return the arguments of a study."""
    import optuna

    return {
        "study_name": "benchmark",
        "storage": storage,
        "sampler": optuna.samplers.TPESampler(seed=seed),
        "pruner": optuna.pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=REDUCTION
        ),
    }


def _objective(rows: Rows, run: Run, curve: Curve) -> Callable[[Any], float]:
    import optuna

    def objective(trial: Any) -> float:
        config = {
            pointer: trial.suggest_float(pointer, *bounds, log=form == "log_uniform")
            for pointer, parameter in SPACE.items()
            for form, bounds in parameter.items()
        }
        best = float("inf")
        for epoch, loss in enumerate(
            losses(rows, config, batch_size=run.batch_size, seed=run.seed + trial.number), 1
        ):
            curve.append((time.time(), loss))
            best = min(best, loss)
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    return objective


def _optuna(num_threads: int, num_jobs: int) -> Search:
    """Return a search in one process: a loop, or `n_jobs` threads."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(num_threads)

    def search(run: Run) -> tuple[float, float, Curve]:
        rows, curve = read_rows(Path(run.rows)), Curve()
        torch.manual_seed(run.seed)
        started = time.time()
        study = optuna.create_study(**_study(run.seed))
        study.optimize(_objective(rows, run, curve), n_trials=TRIALS, n_jobs=num_jobs)
        return started, time.time(), curve

    return search


def _optuna_processes(num_threads: int) -> Search:
    """Return a search of processes that share a journal, Optuna's storage in a file."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    context = multiprocessing.get_context("spawn")

    def search(run: Run) -> tuple[float, float, Curve]:
        with tempfile.TemporaryDirectory() as folder:
            journal, ends = Path(folder) / "journal", []
            for number in range(NUM_WORKERS):
                ours, theirs = context.Pipe()
                arguments = (theirs, run, journal, number, num_threads)
                context.Process(target=_work, args=arguments, daemon=True).start()
                ends.append(ours)
            for end in ends:
                end.recv()
            started = time.time()
            optuna.create_study(**_study(run.seed, _journal(journal)))
            for end in ends:
                end.send("begin")
            curve = [point for end in ends for point in end.recv()]
            return started, time.time(), curve

    return search


def _journal(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _work(end: Connection, run: Run, journal: Path, number: int, num_threads: int) -> None:
    """Work on a study that another process makes after a message from this one."""
    import optuna
    from optuna.study import MaxTrialsCallback

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(num_threads)
    torch.manual_seed(1000 * number + run.seed)
    rows, curve = read_rows(Path(run.rows)), Curve()
    end.send("ready")
    end.recv()
    study = optuna.load_study(**_study(1000 * number + run.seed, _journal(journal)))
    study.optimize(_objective(rows, run, curve), callbacks=[MaxTrialsCallback(TRIALS, None)])
    end.send(curve)


def _ray(num_threads: int) -> Search:
    """Return a search of Ray Tune, whose trials have a core each."""
    os.environ |= {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    forms = {"uniform": tune.uniform, "log_uniform": tune.loguniform}
    space = {
        pointer: forms[form](*bounds)
        for pointer, parameter in SPACE.items()
        for form, bounds in parameter.items()
    } | {"seed": tune.randint(0, 2**31)}

    def train(config: Mapping[str, Any], rows: tuple[Any, ...], batch_size: int) -> None:
        torch.set_num_threads(num_threads)
        torch.manual_seed(config["seed"])
        for loss in losses(
            Rows(*map(torch.from_numpy, rows)), config, batch_size=batch_size, seed=config["seed"]
        ):
            tune.report({"loss": loss})

    class Clock(tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.curve = Curve()

        def on_trial_result(self, *_: Any, result: Mapping[str, Any], **__: Any) -> None:
            self.curve.append((time.time(), result["loss"]))

    def search(run: Run) -> tuple[float, float, Curve]:
        rows = tuple(part.numpy() for part in read_rows(Path(run.rows)))
        ray.init(
            num_cpus=NUM_WORKERS,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        clock = Clock()
        try:
            started = time.time()
            with tempfile.TemporaryDirectory() as folder:
                tuner = tune.Tuner(
                    tune.with_resources(
                        tune.with_parameters(train, rows=rows, batch_size=run.batch_size),
                        {"cpu": 1},
                    ),
                    param_space=space,
                    tune_config=tune.TuneConfig(
                        metric="loss",
                        mode="min",
                        num_samples=TRIALS,
                        scheduler=ASHAScheduler(
                            max_t=EPOCHS, grace_period=1, reduction_factor=REDUCTION
                        ),
                        search_alg=BasicVariantGenerator(random_state=run.seed),
                        reuse_actors=True,
                    ),
                    run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[clock]),
                )
                results = tuner.fit()
                ended = time.time()
            if results.errors:
                raise results.errors[0]
        finally:
            ray.shutdown()
        return started, ended, clock.curve

    return search


PEERS: dict[str, Callable[[int], Search]] = {
    "optuna-loop": lambda threads: _optuna(threads, 1),
    "optuna-threads": lambda threads: _optuna(threads // NUM_WORKERS, NUM_WORKERS),
    "optuna-processes": lambda threads: _optuna_processes(threads // NUM_WORKERS),
    "ray": lambda threads: _ray(threads // NUM_WORKERS),
}


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # all other output is standard error's
    try:
        search = PEERS[options.name](options.threads)
        modules = ("torch", "optuna", "ray")
        found = {name: sys.modules[name].__version__ for name in modules if name in sys.modules}
        print(json.dumps({"ready": found}), file=answers)
        for line in sys.stdin:
            started, ended, curve = search(Run(**json.loads(line)))
            timed = [(moment - started, loss) for moment, loss in curve]
            print(json.dumps({"curve": timed, "seconds": ended - started}), file=answers)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), file=answers)


if __name__ == "__main__":
    main()
