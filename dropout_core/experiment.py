"""From a frame to a model: split, scale, build, train, evaluate, save.

experiment = Experiment(frame, target="label")
for metrics in experiment.training:
    print(metrics)
experiment.evaluate()["test"].metrics
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from dropout_core.config import MLPConfig, SplitConfig, Task, TrainingConfig
from dropout_core.data import prepare
from dropout_core.data.schema import describe, select
from dropout_core.data.splits import random_split
from dropout_core.inference import Predictor, fingerprint
from dropout_core.metrics import Evaluation
from dropout_core.mlp import MLP
from dropout_core.tabular import Description, Manifest, TabularModel, save_model
from dropout_core.train import TrainingData, train


class Experiment:
    """One model trained on one frame.

    `features` and `task` of None are settled by `data.schema.select`. Raises DataError if the frame
    cannot be used so.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        target: str,
        features: Sequence[str] | None = None,
        task: Task | None = None,
        split: SplitConfig | None = None,
        model: MLPConfig | None = None,
        training: TrainingConfig | None = None,
    ) -> None:
        config = training or TrainingConfig()
        if features is None or task is None:
            selection = select(describe(frame), target=target, features=features, task=task)
            features, task = selection.features, selection.task
        self.target = target
        self.features = tuple(features)
        self.task = task
        self.device = _device(config)
        self.fingerprint = fingerprint(self.device)
        self.classes, self._targets = _targets(frame, target, task)
        self._features = prepare.feature_tensor(frame, self.features)
        self._split = random_split(len(frame), split or SplitConfig())
        network = MLP(
            model or MLPConfig(),
            in_features=len(self.features),
            out_features=1 if self.classes is None else len(self.classes),
            seed=config.seed,
        )
        self.model = TabularModel(network)
        self.training = train(network, self._training_data(), config, task=self.task)

    def evaluate(self) -> dict[str, Evaluation]:
        """Score the model as it is on the rows held out: "validation" and "test", where any are."""
        predictor = Predictor(self.model, self.description)
        held_out = {"validation": self._split.validation, "test": self._split.test}
        return {
            name: predictor.evaluate(self._features[rows], self._targets[rows])
            for name, rows in held_out.items()
            if len(rows)
        }

    def save(self, folder: Path) -> Manifest:
        """Write the model for `Predictor.load`."""
        return save_model(folder, self.model, self.description)

    @property
    def description(self) -> Description:
        return Description(
            task=self.task,
            model=self.model.network.config,
            target=self.target,
            features=self.features,
            classes=self.classes,
            trained_on=self.fingerprint,
        )

    def _training_data(self) -> TrainingData:
        """Scales are fitted on the training rows alone."""
        train_rows, validation_rows = self._split.train, self._split.validation
        targets = self._targets
        if self.classes is None:
            values = self._targets[:, None]
            self.model.fit_scales(self._features[train_rows], values[train_rows])
            targets = self.model.standardise_target(values)
        else:
            self.model.fit_scales(self._features[train_rows], None)
        features = self.model.standardise(self._features)
        has_validation = len(validation_rows) > 0
        data = TrainingData(
            features[train_rows],
            targets[train_rows],
            features[validation_rows] if has_validation else None,
            targets[validation_rows] if has_validation else None,
        )
        self.model.to(self.device)
        return data.to(self.device)


def _device(config: TrainingConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def _targets(frame: pl.DataFrame, target: str, task: Task) -> tuple[prepare.Classes | None, Tensor]:
    if task == "regression":
        return None, prepare.value_tensor(frame, target)
    classes = prepare.find_classes(frame, target)
    return classes, prepare.class_tensor(frame, target, classes)
