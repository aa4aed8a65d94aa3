"""All stages in one: a table in, a trained, scored and saved model out.

table = resolve_table(frame, ProblemConfig(target="label"))
run = TabularRun(table, training=TrainingConfig(epochs=10))
for metrics in run.training:
    print(metrics)
print(run.evaluate()["test"].metrics)
"""

import copy
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import torch

from dropout_core.config import MLPConfig, PreprocessingConfig, TrainingConfig
from dropout_core.data.splits import Split
from dropout_core.errors import require_type
from dropout_core.evaluation.coverage import reported
from dropout_core.evaluation.evaluator import Evaluation, score
from dropout_core.model.predictor import Predictor, fingerprint
from dropout_core.model.saved_model import Description, Manifest, TabularModel, save_model
from dropout_core.pipeline.calibration import calibrate
from dropout_core.pipeline.encoded_split import EncodedRows, encode_split
from dropout_core.pipeline.prepared_model import (
    PreparedModel,
    prepare_another,
    prepare_model,
)
from dropout_core.pipeline.resolved_table import ResolvedTable
from dropout_core.training.feasibility import InfeasibleError
from dropout_core.training.loop import Length, Training, train

Part = Literal["validation", "test"]


class TabularRun:
    """One model trained on one split of a table: iterate over `training` to train `model`.

    `split` is the table's own by default, and `length` follows `training`. Raises DataError if the
    table cannot be encoded, and InfeasibleError if it cannot be trained on as `training` says.
    `on_step` is called before rows are encoded, and before they are scaled: both take seconds if
    there are many. `like` is a run on the same table and split with the same preprocessing and
    quantiles: its encoded and scaled rows are shared, which changes no bit.
    """

    def __init__(
        self,
        table: ResolvedTable,
        *,
        split: Split | None = None,
        preprocessing: PreprocessingConfig | None = None,
        model: MLPConfig | None = None,
        training: TrainingConfig | None = None,
        length: Length | None = None,
        on_step: Callable[[Literal["encoding", "scaling"]], None] = lambda _: None,
        like: "TabularRun | None" = None,
    ) -> None:
        hint = "pass the frame through resolve_table(frame, ProblemConfig(target=...)) first"
        require_type(table, ResolvedTable, name="table", hint=hint)
        self.table = table
        self._split = split or table.split
        self._preprocessing_config = preprocessing or PreprocessingConfig()
        self._model_config = model or MLPConfig()
        self._training_config = training or TrainingConfig()
        quantiles = self._training_config.quantiles if table.task == "regression" else None
        seed = self._training_config.seed
        if like is None:
            on_step("encoding")
            encoded = encode_split(table, self._split, self._preprocessing_config)
            on_step("scaling")
            prepared = prepare_model(encoded, self._model_config, seed=seed, quantiles=quantiles)
            encoder = encoded.encoder
            # The matrix of the training rows, which is large, is not kept.
            self._held_out: dict[Part, EncodedRows] = {
                "validation": encoded.validation,
                "test": encoded.test,
            }
        else:
            encoder = like.description.encoder
            prepared = prepare_another(
                PreparedModel(like.model, like.training.data),
                self._model_config,
                encoder=encoder,
                preprocessing=self._preprocessing_config,
                task=table.task,
                seed=seed,
            )
            self._held_out = like._held_out
        device = _device(self._training_config)
        self.model: TabularModel = prepared.model.to(device)
        self.training: Training = train(
            self.model.network,
            prepared.data.to(device),
            self._training_config,
            task=table.task,
            length=length,
        )
        self.description: Description = Description(
            task=table.task,
            model=self._model_config,
            preprocessing=self._preprocessing_config,
            encoder=encoder,
            targets=table.selection.targets,
            classes=table.classes,
            trained_on=fingerprint(device),
            target_formats={
                name: format_
                for name in table.selection.targets
                if (format_ := table.reading.number_format(name)) is not None
            },
            label_column=table.label_column,
            quantiles=quantiles,
        )

    def as_if_over(self) -> "TabularRun":
        """Return a copy whose model has the weights that it would have if training ended now.

        Calibrate and evaluate it while this run goes on. Raises Diverged if outputs are not finite.
        """
        run = copy.copy(self)
        run.model = copy.deepcopy(self.model)
        self.training.settle(run.model.network)
        return run

    def fold(self, number: int) -> "TabularRun":
        """Return an untrained run that holds out fold 0, 1, ... of the table as its `test`.

        Everything is fitted anew on the training rows of the fold.
        """
        return TabularRun(
            self.table,
            split=self.table.folds[number],
            preprocessing=self._preprocessing_config,
            model=self._model_config,
            training=self._training_config,
        )

    def calibrate(self) -> None:
        """Fit the temperature and the conformal scores of the trained model; see `Calibration`.

        Raises InfeasibleError without validation rows.
        """
        rows = self._held_out["validation"]
        if len(rows) == 0:
            raise InfeasibleError(
                ("training", "calibrate"), "calibration needs validation rows: split some off"
            )
        self.description = calibrate(self.model, self.description, rows)

    def calibrate_as(self, other: "TabularRun") -> None:
        """Take the temperature and the scores of another run, such as the one before a refit."""
        if self.table.task != "regression":
            self.model.target_scale = other.model.target_scale.to(self.model.target_scale.device)
        self.model.scores = other.model.scores
        calibration = {"calibration": other.description.calibration}
        self.description = self.description.model_copy(update=calibration)

    def refit(self) -> "TabularRun":
        """Return an untrained run on the training and validation rows of this one, which is over.

        Everything is fitted anew on them. It takes as many steps as led this run to its best epoch,
        on the same schedules, and has no validation rows of its own.
        """
        rows = torch.cat([self._split.train, self._split.validation]).sort().values
        without = {"early_stopping": None, "calibrate": False}
        return TabularRun(
            self.table,
            split=Split(rows, self._split.validation[:0], self._split.test),
            preprocessing=self._preprocessing_config,
            model=self._model_config,
            training=self._training_config.model_copy(update=without),
            length=self.training.refit_length,
        )

    def evaluate(self, parts: Collection[Part] = ("validation", "test")) -> dict[str, Evaluation]:
        """Score the model as it is on these parts, each only if it has rows.

        Conformal predictions are scored on "test" alone: the validation rows decide their size.
        """
        predictor = Predictor(self.model, self.description)
        return {
            part: score(
                predictor.outputs(rows.matrix),
                rows.targets,
                task=self.table.task,
                names=self.table.output_names,
                quantiles=self.description.quantiles,
                conformal=reported(predictor) if part == "test" else (),
            )
            for part, rows in self._held_out.items()
            if len(rows) and part in parts
        }

    def save(self, folder: Path) -> Manifest:
        """Write the model for `Predictor.load`."""
        return save_model(folder, self.model, self.description)


def _device(config: TrainingConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)
