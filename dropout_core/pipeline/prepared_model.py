"""Stage 3: an untrained model with fitted scales, and the data to train it on."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dropout_core.config import MLPConfig, PreprocessingConfig, Task
from dropout_core.data.encoder import Encoder
from dropout_core.model.saved_model import TabularModel, build_model
from dropout_core.nn.numbers import PiecewiseLinearEmbedding
from dropout_core.pipeline.encoded_split import EncodedRows, EncodedSplit
from dropout_core.training.feasibility import check_preprocessing
from dropout_core.training.training_data import TrainingData


@dataclass(frozen=True)
class PreparedModel:
    """A model whose scales are fitted on training rows, and whose network has its initial weights.

    `data` holds what the network itself takes and is trained towards: features after
    preprocessing, and the targets of a regression standardised.
    """

    model: TabularModel
    data: TrainingData


def prepare_model(
    split: EncodedSplit,
    config: MLPConfig,
    *,
    seed: int = 0,
    quantiles: Sequence[float] | None = None,
) -> PreparedModel:
    """Build a model for the split and scale the split's rows for it.

    `seed` decides the weights. `quantiles` are those that a regression predicts of each target.
    Raises InfeasibleError if numbers are to be embedded and the split has none.
    """
    check_preprocessing(split.preprocessing, num_numbers=len(split.encoder.number_indices))
    model = build_model(
        split.encoder,
        split.preprocessing,
        config,
        num_outputs=len(split.table.output_names) * len(quantiles or (0.5,)),
        task=split.table.task,
        seed=seed,
    )
    weights = split.weights
    if weights is not None and (weights == weights[0]).all():
        weights = None  # so that equal weights give the bits that none give
    model.fit_inputs(split.train.matrix, weights)
    if split.table.task == "regression":
        model.fit_targets(split.train.targets, weights)

    def tensors(rows: EncodedRows) -> tuple[Tensor, Tensor]:
        features = model.preprocessing.in_chunks(rows.matrix)
        if split.table.task == "regression":
            return features, model.standardise_targets(rows.targets)
        is_multilabel = split.table.task == "multilabel"
        return features, rows.targets.float() if is_multilabel else rows.targets

    validation: tuple[Tensor | None, Tensor | None] = (None, None)
    if len(split.validation):
        validation = tensors(split.validation)
    data = TrainingData(*tensors(split.train), *validation, split.weights, split.validation_weights)
    return PreparedModel(model, data)


def prepare_another(
    prepared: PreparedModel,
    config: MLPConfig,
    *,
    encoder: Encoder,
    preprocessing: PreprocessingConfig,
    task: Task,
    seed: int = 0,
) -> PreparedModel:
    """Build another model for the rows of `prepared`, which was made with the other arguments.

    It is the model that `prepare_model` would build. The data and the fitted scales are shared.
    """
    known = prepared.model
    num_outputs = known.network.out_features
    model = build_model(
        encoder, preprocessing, config, num_outputs=num_outputs, task=task, seed=seed
    )
    model.preprocessing = known.preprocessing
    if task == "regression":  # else the scale is the temperature of a calibration
        model.target_mean, model.target_scale = known.target_mean, known.target_scale
    if model.network.inputs is not None and known.network.inputs is not None:
        numbers, fitted = model.network.inputs.numbers, known.network.inputs.numbers
        if isinstance(numbers, PiecewiseLinearEmbedding):
            assert isinstance(fitted, PiecewiseLinearEmbedding)
            numbers.lower.copy_(fitted.lower)
            numbers.width.copy_(fitted.width)
    return PreparedModel(model, prepared.data)
