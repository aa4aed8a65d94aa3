"""From a frame to a model: split, encode, scale, build, train, evaluate, save.

experiment = Experiment(frame, target="label")
for metrics in experiment.training:
    print(metrics)
experiment.evaluate()["test"].metrics
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from dropout_core.config import (
    FeatureType,
    MLPConfig,
    PreprocessingConfig,
    SplitConfig,
    Task,
    TrainingConfig,
)
from dropout_core.data import splits
from dropout_core.data.columns import Selection, describe, select
from dropout_core.data.encoder import Encoder
from dropout_core.data.readers.table import as_stored
from dropout_core.data.splits import Split
from dropout_core.data.targets import find_classes, target_tensor, with_targets
from dropout_core.errors import DataError
from dropout_core.evaluation.evaluator import Evaluation, score
from dropout_core.model.predictor import Predictor, fingerprint
from dropout_core.model.saved_model import (
    Description,
    Manifest,
    TabularModel,
    build_model,
    save_model,
)
from dropout_core.training.loop import Training, TrainingData, train


class Experiment:
    """One model trained on one frame, whose columns count as those of a stored table.

    `features`, their `types` and `task` of None are settled by `data.schema.select`; `weight` names
    a column that weighs the rows. Rows without a target are left out. Raises DataError if the frame
    cannot be used so.
    """

    training: Training
    model: TabularModel

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        types: Mapping[str, FeatureType] | None = None,
        task: Task | None = None,
        split: SplitConfig | None = None,
        weight: str | None = None,
        preprocessing: PreprocessingConfig | None = None,
        model: MLPConfig | None = None,
        training: TrainingConfig | None = None,
    ) -> None:
        self._split_config = split or SplitConfig()
        self._preprocessing_config = preprocessing or PreprocessingConfig()
        self._model_config = model or MLPConfig()
        self._training_config = training or TrainingConfig()
        frame = as_stored(frame.lazy(), frame.schema).collect()
        frame = frame.with_columns(pl.col(pl.Float64).fill_nan(None))
        self._selection = select(
            describe(frame),
            target=target,
            features=features,
            types=types,
            weight=weight,
            split=self._split_config,
            task=task,
        )
        self.device = _device(self._training_config)
        self.fingerprint = fingerprint(self.device)
        targets = self._selection.targets
        self._frame = with_targets(frame, targets)
        self.classes = find_classes(self._frame, targets, self.task)
        self._targets = target_tensor(self._frame, targets, self.task, self.classes)
        self._weights = _weights(self._frame, self._selection)
        split_config = self._split_config
        # Found impossible now, and not after the training that comes first.
        self._folds = (
            splits.folds(self._frame, split_config, **self._strata) if split_config.folds else []
        )
        self._begin(splits.split_rows(self._frame, split_config, **self._strata))

    @property
    def task(self) -> Task:
        return self._selection.task

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self._selection.features)

    @property
    def targets(self) -> tuple[str, ...]:
        return self._selection.targets

    def fold(self, number: int) -> "Experiment":
        """An untrained experiment that holds another part of the rows out as its `test`.

        The folds 0, 1, ... of the split's config cover together every row that is not for this
        experiment's test, and each fits everything anew on the rows it trains on.
        """
        fold = copy.copy(self)
        fold._begin(self._folds[number])
        return fold

    def evaluate(self) -> dict[str, Evaluation]:
        """Score the model as it is on the rows held out: "validation" and "test", where any are."""
        description = self.description
        predictor = Predictor(self.model, description)
        return {
            name: score(
                predictor.outputs(matrix), targets, task=self.task, names=description.output_names
            )
            for name, (matrix, targets) in self._held_out.items()
            if len(targets)
        }

    def save(self, folder: Path) -> Manifest:
        """Write the model for `Predictor.load`."""
        return save_model(folder, self.model, self.description)

    @property
    def description(self) -> Description:
        return Description(
            task=self.task,
            model=self._model_config,
            preprocessing=self._preprocessing_config,
            encoder=self._encoder,
            targets=self.targets,
            classes=self.classes,
            trained_on=self.fingerprint,
        )

    def _begin(self, split: Split) -> None:
        """Build a model for the split; what is fitted is fitted on its training rows."""
        columns = self._frame.drop(self.targets)
        self._encoder = Encoder.fit(
            columns[split.train.numpy()], self._selection.features, self._preprocessing_config
        )
        # What is held out may lack values that training never lacks: those are imputed here.
        matrix = torch.from_numpy(self._encoder.encode(self._frame, refuse_missing=False))
        self.model = build_model(
            self._encoder,
            self._preprocessing_config,
            self._model_config,
            num_outputs=len(self.targets if self.classes is None else self.classes),
            seed=self._training_config.seed,
        )
        self._held_out = {
            name: (matrix[rows], self._targets[rows])
            for name, rows in (("validation", split.validation), ("test", split.test))
        }
        data = self._training_data(matrix[split.train], split).to(self.device)
        self.model.to(self.device)
        self.training = train(self.model.network, data, self._training_config, task=self.task)

    def _training_data(self, matrix: Tensor, split: Split) -> TrainingData:
        preprocessing = self.model.preprocessing
        preprocessing.fit(matrix)
        targets = self._targets
        if self.task == "regression":
            self.model.fit_targets(targets[split.train])
            targets = self.model.standardise_targets(targets)
        elif self.task == "multilabel":
            targets = targets.float()
        weights = None if self._weights is None else self._weights[split.train]
        if weights is not None and not weights.max() > 0:
            raise DataError("all rows to train on weigh nothing", field="weight")
        validation, _ = self._held_out["validation"]
        has_validation = len(validation) > 0
        return TrainingData(
            preprocessing.in_chunks(matrix),
            targets[split.train],
            preprocessing.in_chunks(validation) if has_validation else None,
            targets[split.validation] if has_validation else None,
            None if weights is None else _relative(weights),
        )

    @property
    def _strata(self) -> dict[str, Any]:
        """The classes whose proportions a stratified split keeps."""
        if self.task not in ("binary", "multiclass"):
            return {}
        return {"target": self._targets, "classes": self.classes}


def _device(config: TrainingConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def _weights(frame: pl.DataFrame, selection: Selection) -> Tensor | None:
    """What each row weighs: (N) float64."""
    if selection.weight is None:
        return None
    return torch.from_numpy(frame[selection.weight].cast(pl.Float64).to_numpy().copy())


def _relative(weights: Tensor) -> Tensor:
    """Weights of mean 1: (N) float64 -> (N) float32."""
    finite = weights / weights.max()  # as is their sum
    return (finite / finite.mean()).float()
