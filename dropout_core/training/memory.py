"""Estimates of the memory that training will take."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from dropout_core.config import MLPConfig, PreprocessingConfig, TrainingConfig
from dropout_core.data.columns import Column
from dropout_core.data.features import DATE_PARTS
from dropout_core.data.selection import Selection
from dropout_core.nn.inputs import category_widths
from dropout_core.nn.numbers import num_entries, num_parameters_of_each
from dropout_core.training.optimizers import STATE_TENSORS
from dropout_core.training.validation import BATCH_SIZE

_FLOAT = 4
_DOUBLE = 8
_MASK = 3  # bytes of an element and of the random bits that it is drawn from


@dataclass(frozen=True)
class InputSizes:
    """The numbers of a network's inputs, by where they come from.

    `num_numbers` counts the values that are numbers and parts of dates, which can be embedded.
    `cardinalities` has one entry for each categorical feature, its unknown category counted.
    """

    num_values: int
    num_indicators: int = 0
    cardinalities: tuple[int, ...] = ()
    num_numbers: int = 0

    def widths(self, config: PreprocessingConfig) -> list[int]:
        """Return the number of inputs for each categorical feature."""
        return category_widths(config, self.cardinalities)

    def in_features(self, config: PreprocessingConfig) -> int:
        """Return the number of inputs of the first layer."""
        embedding = config.number_embedding
        added = 0 if embedding is None else self.num_numbers * (embedding.dim - 1)
        return self.num_values + added + self.num_indicators + sum(self.widths(config))

    def num_embedded(self, config: PreprocessingConfig) -> int:
        """Return the number of parameters in the embeddings of categories and numbers."""
        pairs = zip(self.cardinalities, self.widths(config), strict=True)
        of_categories = sum(size * width for size, width in pairs if width != size)
        embedding = config.number_embedding
        each = 0 if embedding is None else num_parameters_of_each(embedding)
        return of_categories + self.num_numbers * each

    def num_entries(self, config: PreprocessingConfig) -> int:
        """Return the number of entries that encode the numbers of a row for their embeddings."""
        embedding = config.number_embedding
        return 0 if embedding is None else self.num_numbers * num_entries(embedding)


def input_sizes(
    columns: Iterable[Column], selection: Selection, config: PreprocessingConfig
) -> InputSizes:
    """Return an upper bound of the input sizes of these features, from their columns alone."""
    widths = {"datetime": len(DATE_PARTS), "text": config.text_buckets}
    num_values = num_numbers = num_indicators = 0
    cardinalities = []
    by_name = {column.name: column for column in columns}
    for name, feature_type in selection.features.items():
        column = by_name[name]
        if feature_type == "categorical":
            cardinalities.append(min(column.num_distinct, config.max_categories) + 1)
            continue
        num_values += widths.get(feature_type, 1)
        num_numbers += widths.get(feature_type, 1) if feature_type in ("numeric", "datetime") else 0
        is_forced = column.stored_as == "text"  # cells that cannot be read are missing
        num_indicators += feature_type != "text" and (column.num_missing > 0 or is_forced)
    return InputSizes(num_values, num_indicators, tuple(cardinalities), num_numbers)


def num_parameters(
    config: MLPConfig, *, in_features: int, out_features: int, num_embedded: int = 0
) -> int:
    """Return the number of parameters of the MLP that `config` builds, with its embeddings."""
    widths, members = (in_features, *config.hidden), config.members
    hidden = 0
    for fan_in, num_units in itertools.pairwise(widths):
        fan_out = config.num_pieces * num_units
        shared = fan_in * fan_out * (1 if config.has_backbone else members)
        own = (2 if config.batch_norm or config.has_backbone else 1) * fan_out  # bias and scale
        own += fan_in if config.has_backbone else 0
        own += num_units if config.parametric_activation else 0
        hidden += shared + members * own
    scales = in_features * (1 if config.has_backbone else members) if config.input_scaling else 0
    return num_embedded + scales + hidden + members * (widths[-1] + 1) * out_features


def training_bytes(
    model: MLPConfig,
    training: TrainingConfig,
    *,
    in_features: int,
    out_features: int,
    num_rows: int,
    num_columns: int | None = None,
    num_embedded: int = 0,
    num_entries: int = 0,
    cross_validates: bool = False,
) -> int:
    """Estimate the peak in bytes: the data, the parameters, and the activations of a batch.

    The data is in memory three times: scaled, and as the `num_columns` float64 columns of the
    encoder (by default as many as inputs), whole and split. Cross-validation keeps the first model
    and its data beside those of a fold, and a refit those of the run before it. An activation
    counts four times: before and after its nonlinearity, its mask, its gradient. So do the
    `num_entries` that encode a row's numbers for their embeddings. DropConnect with `per_example`
    masks has a mask of all its weights for every row of a batch. Of members all of this counts for
    each. Members and embeddings of numbers also count for the rows that are validated at once.
    A network of a stack has its gradients twice; a stack has the data once, and the rest for each.
    """
    parameters = num_parameters(
        model, in_features=in_features, out_features=out_features, num_embedded=num_embedded
    )
    copies = 2 + STATE_TENSORS[training.optimizer.name]
    copies += (training.early_stopping is not None) + (training.ema_decay is not None)
    copies += training.stacked
    batch_rows = min(training.batch_size, num_rows)
    width = model.num_pieces * sum(model.hidden)
    of_member = in_features + 4 * width + 2 * out_features
    activations = batch_rows * (model.members * of_member + 4 * num_entries)
    if model.members > 1 or num_entries > 0:
        activations += _validated(model, num_rows=num_rows, num_entries=num_entries)
    columns = in_features if num_columns is None else num_columns
    data = num_rows * (columns * (_FLOAT + 2 * _DOUBLE) + 2 * _FLOAT * out_features)
    if model.has_backbone:
        # A step multiplies the scales of each member into the weights, and their gradients.
        layers = itertools.pairwise((in_features, *model.hidden))
        activations += 2 * model.members * model.num_pieces * sum(a * b for a, b in layers)
    masks = batch_rows * _weights_masked_by_example(model, in_features=in_features)
    kept = data + _FLOAT * copies * parameters
    stopping = training.early_stopping
    runs = (1 + cross_validates) * (1 + (stopping is not None and stopping.refit))
    return runs * kept + _FLOAT * activations + _MASK * masks


def _validated(model: MLPConfig, *, num_rows: int, num_entries: int) -> int:
    """Return the numbers that validation has at once: a layer's input and output, or encodings."""
    widest = model.num_pieces * max(model.hidden, default=0)
    return min(num_rows, BATCH_SIZE) * 2 * max(model.members * widest, num_entries)


def _weights_masked_by_example(config: MLPConfig, *, in_features: int) -> int:
    layers = itertools.pairwise((in_features, *config.hidden))
    return config.num_pieces * sum(
        fan_in * fan_out
        for (fan_in, fan_out), dropout in zip(layers, config.hidden_dropout, strict=True)
        if dropout.kind == "dropconnect" and dropout.masks != "per_batch"
    )
