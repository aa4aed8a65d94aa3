"""A job as asked for becomes a job that can be run: every choice made, every impossibility told."""

from dataclasses import dataclass

import torch
from sqlalchemy import Connection

from app.errors import invalid
from dropout_core import memory
from dropout_core.config import Task
from dropout_core.data.errors import DataError
from dropout_core.data.schema import Column, select
from dropout_core.data.splits import split_sizes
from store import datasets
from store.errors import DatasetNotFound
from store.settings import Settings
from store.spec import JobSpec


@dataclass(frozen=True)
class ResolvedJob:
    spec: JobSpec
    queue: str
    num_parameters: int
    estimated_bytes: int


def resolve(transaction: Connection, spec: JobSpec, settings: Settings) -> ResolvedJob:
    """Settle features, task and queue against the dataset, which stays until the transaction ends.

    Raises RequestError (422) naming the field that makes the job impossible.
    """
    try:
        dataset = datasets.get(transaction, spec.dataset.id, lock=True)
    except DatasetNotFound as error:
        raise invalid("/dataset/id", str(error)) from error
    columns = [Column.model_validate(column) for column in dataset.columns]
    try:
        selection = select(
            columns,
            target=spec.dataset.target,
            features=spec.dataset.features,
            task=None if spec.task == "auto" else spec.task,
        )
        num_train, _, _ = split_sizes(dataset.num_rows, spec.dataset.split)
    except DataError as error:
        raise invalid(f"/dataset/{error.field}", str(error)) from error
    num_outputs = (
        1
        if selection.task == "regression"
        else next(c.num_distinct for c in columns if c.name == selection.target)
    )
    _check_training(spec, selection.task, num_train=num_train, num_outputs=num_outputs)
    sizes = {"in_features": len(selection.features), "out_features": num_outputs}
    estimated = memory.training_bytes(spec.model, spec.training, num_rows=dataset.num_rows, **sizes)
    if estimated > settings.max_training_bytes:
        raise invalid(
            "/model/hidden",
            f"training would take about {estimated} bytes, {settings.max_training_bytes} are "
            "allowed: fewer or narrower layers, or a smaller batch, take less",
        )
    chosen = spec.dataset.model_copy(update={"features": selection.features})
    return ResolvedJob(
        spec=spec.model_copy(update={"dataset": chosen, "task": selection.task}),
        queue=_queue(spec, settings),
        num_parameters=memory.num_parameters(spec.model, **sizes),
        estimated_bytes=estimated,
    )


def _check_training(spec: JobSpec, task: Task, *, num_train: int, num_outputs: int) -> None:
    training = spec.training
    if task == "regression" and training.class_weights is not None:
        raise invalid("/training/class_weights", "a regression has no classes")
    if task == "regression" and training.label_smoothing:
        raise invalid("/training/label_smoothing", "a regression has no classes")
    if isinstance(training.class_weights, tuple) and len(training.class_weights) != num_outputs:
        raise invalid(
            "/training/class_weights",
            f"{len(training.class_weights)} weights for {num_outputs} classes",
        )
    if training.precision == "bfloat16" and not spec.model.allows_bfloat16:
        raise invalid(
            "/training/precision",
            "bfloat16 is for relu, tanh and logistic layers with bernoulli dropout, no batch norm",
        )
    if training.early_stopping and spec.dataset.split.validation == 0:
        raise invalid(
            "/training/early_stopping", "early stopping needs validation rows: split some off"
        )
    if spec.model.batch_norm and min(num_train, training.batch_size) < 2:
        raise invalid("/model/batch_norm", "batch norm needs batches of at least 2 rows")


def _queue(spec: JobSpec, settings: Settings) -> str:
    match spec.training.device:
        case "cpu":
            return "cpu"
        case "auto":
            return settings.auto_device_queue
        case "cuda":
            # Without a broker the worker is on this machine, so it is known what it can do.
            if settings.redis_url is None and not torch.cuda.is_available():
                raise invalid("/training/device", "this machine has no CUDA device")
            return "gpu"
