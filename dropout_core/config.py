"""What a dropout, an MLP and its training are: frozen values, validated once, free of torch."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

Task = Literal["binary", "multiclass", "multilabel", "regression"]
FeatureType = Literal["numeric", "categorical", "boolean", "datetime", "text"]
ColumnType = Literal[FeatureType, "constant", "identifier"]
Activation = Literal["relu", "tanh", "logistic", "gelu", "maxout"]
FusedActivation = Literal["relu", "tanh", "logistic"]
"""Those whose derivative is a function of their result."""
DropoutKind = Literal["bernoulli", "gaussian", "batchwise", "dropconnect"]
Init = Literal["kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "normal"]
Device = Literal["auto", "cpu", "cuda"]

Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=65_536)]
Seed = Annotated[int, Field(ge=0, lt=2**53)]  # exact in every JSON parser


class Config(BaseModel):
    """A frozen value. Unknown fields, coerced types, NaN and Infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DropoutConfig(Config):
    """One layer's dropout: `p`, the probability to drop, or `keep`, the one to keep.

    - `bernoulli` drops single activations. `inverted` scaling multiplies what is kept by 1 / keep
      in training and leaves inference alone; `classic` leaves training alone and multiplies by keep
      at inference (Srivastava et al. 2014, section 4).
    - `gaussian` multiplies by noise of the same variance (section 10 there).
    - `batchwise` keeps an exact number of units, shared by groups of `group_size` rows, or by the
      whole batch, and multiplies only what is kept (Graham et al. 2015).
    - `dropconnect` drops the weights into the layer, with masks `per_example` or `per_batch` (Wan
      et al. 2013).
    """

    kind: DropoutKind = "bernoulli"
    p: Probability | None = Field(None, description="Probability to drop; give this or `keep`.")
    keep: Probability | None = Field(None, description="Probability to keep; give this or `p`.")
    scaling: Literal["inverted", "classic"] = "inverted"
    group_size: Count | None = Field(None, description="Of `batchwise`: rows that share a mask.")
    masks: Literal["per_example", "per_batch"] | None = Field(
        None, description="Of `dropconnect`: `per_example` if not given."
    )

    @model_validator(mode="after")
    def _exactly_one_probability(self) -> Self:
        if (self.p is None) == (self.keep is None):
            raise PydanticCustomError("p_or_keep", "give exactly one of `p` and `keep`")
        return self

    @model_validator(mode="after")
    def _options_of_its_kind(self) -> Self:
        if self.scaling == "classic" and self.kind != "bernoulli":
            raise PydanticCustomError("scaling", "`classic` scaling is of `bernoulli` alone")
        if self.group_size is not None and self.kind != "batchwise":
            raise PydanticCustomError("group_size", "`group_size` is of `batchwise` alone")
        if self.masks is not None and self.kind != "dropconnect":
            raise PydanticCustomError("masks", "`masks` is of `dropconnect` alone")
        if self.kind in ("gaussian", "batchwise") and self.drop_probability == 1:
            raise PydanticCustomError("all_dropped", "this kind cannot drop everything")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialise(self).items() if value is not None}

    @property
    def drop_probability(self) -> float:
        return self.p if self.p is not None else 1.0 - (self.keep or 0.0)


def _from_number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"p": value} if is_number else value


Dropout = Annotated[
    DropoutConfig,
    BeforeValidator(_from_number, json_schema_input_type=Probability | DropoutConfig),
]


def _one_for_each_layer(
    value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> tuple[DropoutConfig, ...]:
    hidden = info.data.get("hidden")
    dropouts: tuple[DropoutConfig, ...]
    if not isinstance(value, list | tuple):
        dropouts = validate((value,))
        return dropouts * len(hidden or ())
    dropouts = validate(value)
    if hidden is not None and len(dropouts) != len(hidden):
        raise PydanticCustomError(
            "hidden_dropout_length",
            "{given} dropouts for {layers} hidden layers: give one for all, or one for each",
            {"given": len(dropouts), "layers": len(hidden)},
        )
    return dropouts


HiddenDropout = Annotated[
    tuple[Dropout, ...],
    Field(strict=False),
    WrapValidator(
        _one_for_each_layer,
        json_schema_input_type=Probability | DropoutConfig | list[Probability | DropoutConfig],
    ),
]


class MLPConfig(Config):
    """A multilayer perceptron: its hidden layers, what they compute, how they are regularised.

    An empty `hidden` is a linear model. One `hidden_dropout` serves every hidden layer; a list
    gives one to each. `max_norm` bounds the L2 norm of each unit's incoming weights (Srivastava
    et al. 2014, section 5.1). A unit of `maxout` is the largest of `maxout_pieces` linear ones
    (Goodfellow et al. 2013). The init `normal` draws from N(0, 0.01), 0.01 being the standard
    deviation; biases start at zero under every init.
    """

    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=64)] = (256, 256)
    activation: Activation = "relu"
    maxout_pieces: Annotated[int, Field(ge=2, le=16)] = 2
    input_dropout: Dropout = DropoutConfig(p=0.0)
    hidden_dropout: HiddenDropout = Field(0.5, validate_default=True)
    batch_norm: bool = False
    max_norm: Positive | None = None
    init: Init = "xavier_uniform"

    @model_validator(mode="after")
    def _dropouts_that_go_together(self) -> Self:
        if self.input_dropout.kind == "dropconnect":
            raise PydanticCustomError(
                "input_dropconnect", "DropConnect drops weights: give it to the first hidden layer"
            )
        batchwise = self._batchwise
        if batchwise and self.batch_norm:
            raise PydanticCustomError(
                "batchwise_norm", "batchwise dropout leaves batch norm no whole layer: use one"
            )
        if len({dropout.group_size for dropout in batchwise}) > 1:
            raise PydanticCustomError(
                "group_size", "batchwise dropouts of a network share one `group_size`"
            )
        return self

    @property
    def num_pieces(self) -> int:
        """Linear units behind each hidden unit."""
        return self.maxout_pieces if self.activation == "maxout" else 1

    @property
    def allows_bfloat16(self) -> bool:
        """Whether all hidden layers are of the kind whose products can be rounded."""
        return (
            self.activation in get_args(FusedActivation)
            and not self.batch_norm
            and self.input_dropout.kind != "batchwise"  # it leaves the first layer a submatrix
            and all(dropout.kind == "bernoulli" for dropout in self.hidden_dropout)
        )

    @property
    def group_size(self) -> int | None:
        """Rows that share the masks of batchwise dropout; None is the whole batch."""
        return self._batchwise[0].group_size if self._batchwise else None

    @property
    def _batchwise(self) -> list[DropoutConfig]:
        dropouts = (self.input_dropout, *self.hidden_dropout)
        return [dropout for dropout in dropouts if dropout.kind == "batchwise"]


class SGDConfig(Config):
    name: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    momentum: Fraction = 0.0
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise PydanticCustomError("nesterov", "`nesterov` needs a `momentum` above 0")
        return self


class AdamConfig(Config):
    name: Literal["adam"] = "adam"
    lr: Positive = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class AdamWConfig(Config):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    lr: Positive = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


Optimizer = Annotated[SGDConfig | AdamConfig | AdamWConfig, Field(discriminator="name")]


class StepConfig(Config):
    """Multiply the learning rate by `gamma` every `step_size` epochs."""

    name: Literal["step"]
    step_size: Count
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1


class CosineConfig(Config):
    """Anneal the learning rate to `min_lr` along half a cosine (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"]
    min_lr: Annotated[float, Field(ge=0)] = 0.0


class LinearConfig(Config):
    """Scale the learning rate from `start_factor` to `end_factor` along a line."""

    name: Literal["linear"]
    start_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    end_factor: Annotated[float, Field(ge=0, le=1)] = 0.0


class OneCycleConfig(Config):
    """Rise to `max_lr` over `warmup` of the run, then anneal to almost zero (Smith 2018)."""

    name: Literal["one_cycle"]
    max_lr: Positive
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3


Scheduler = Annotated[
    StepConfig | CosineConfig | LinearConfig | OneCycleConfig, Field(discriminator="name")
]


class EarlyStoppingConfig(Config):
    """Stop after `patience` epochs without a validation loss lower by more than `min_delta`.

    The weights of the epoch with the lowest validation loss are restored, also when training
    runs to its last epoch.
    """

    patience: Count = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("rule")]
    | Annotated[
        tuple[Annotated[float, Field(ge=0)], ...],
        Field(strict=False, max_length=10_000),
        Tag("weights"),
    ],
    # An error is then about the one that was meant.
    Discriminator(lambda value: "rule" if isinstance(value, str) else "weights"),
]


class TrainingConfig(Config):
    """How an MLP is trained. With the same data, `seed` decides every weight to the bit.

    - `class_weights` weigh the classes in the loss: one weight for each, in the order of the sorted
      classes, or `balanced`, rows / (classes * rows of the class).
    - `label_smoothing` mixes the true class with all classes in equal parts (Szegedy et al. 2016,
      section 7); each part has the weight of its class. Class weights and smoothing shape the
      training loss alone: the validation loss stays the plain one, comparable between jobs.
    - `max_grad_norm` scales a step's gradients down to this L2 norm together (Pascanu et al. 2013).
    - `ema_decay` validates, stops early by and keeps an exponential moving average of the weights,
      which moves by 1 - `ema_decay` each step.
    - `precision` of `bfloat16` rounds the inputs of the hidden layers' products while training:
      faster where the processor has such products, slower elsewhere. It is for networks of `relu`,
      `tanh` or `logistic` units with Bernoulli dropout and without batch norm.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 50
    batch_size: Annotated[int, Field(ge=1, le=1_048_576)] = 32
    optimizer: Optimizer = AdamConfig()
    scheduler: Scheduler | None = None
    early_stopping: EarlyStoppingConfig | None = None
    class_weights: ClassWeights | None = None
    label_smoothing: Fraction = 0.0
    max_grad_norm: Positive | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    max_runtime_seconds: Positive | None = None
    seed: Seed = 0
    device: Device = "auto"


class PreprocessingConfig(Config):
    """What becomes of the features before the first layer. All of it is fitted on training rows.

    - Numbers and the parts of dates are scaled to `standard` (mean 0, variance 1) or by `quantile`
      to a normal distribution. Where one is missing, its `impute` value stands in, and an input of
      its own says so for each column that had missing values in training.
    - Categories become one input for each of up to `max_one_hot`, learned embeddings of more (Guo
      and Berkhahn 2016), `embedding_dim` numbers wide or, if none is given, about 1.6 times their
      number to the power of 0.56. Beyond the `max_categories` most frequent, a category is unknown.
    - Training replaces known categories at random by the unknown one, with `unknown_rate`, so that
      what is missing or was never seen meets weights that were trained.
    - Text is counted by words, hashed into `text_buckets` inputs (Weinberger et al. 2009).
    """

    scale: Literal["standard", "quantile"] = "standard"
    impute: Literal["mean", "median"] = "median"
    max_one_hot: Annotated[int, Field(ge=0, le=1000)] = 16
    max_categories: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    embedding_dim: Annotated[int, Field(ge=1, le=1024)] | None = None
    embedding_dropout: Fraction = 0.0
    unknown_rate: Fraction = 0.01
    text_buckets: Annotated[int, Field(ge=1, le=4096)] = 128


class SplitConfig(Config):
    """Which rows are held out of training: fractions of all, and how they are chosen.

    - `random`: any rows. `stratified`: with the classes in the proportions of the whole.
    - `grouped`: all rows with one value of `column` stay together, so that no group is both trained
      on and tested on. `time`: the latest rows by `column`, those for the test last.
    - `column`: as `column` says, in the words `train`, `validation` and `test`; the fractions do
      not count then.

    `folds` adds a cross-validation: every row that is not for the test is held out once.
    """

    kind: Literal["random", "stratified", "grouped", "time", "column"] = "random"
    column: str | None = Field(None, min_length=1, max_length=1000)
    validation: Fraction = 0.1
    test: Fraction = 0.1
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.kind != "column" and self.validation + self.test >= 1:
            raise PydanticCustomError("split", "`validation` and `test` leave no rows to train on")
        return self

    @model_validator(mode="after")
    def _a_column_where_one_is_needed(self) -> Self:
        if (self.kind in ("grouped", "time", "column")) != (self.column is not None):
            raise PydanticCustomError(
                "split_column",
                "`column` is of the kinds `grouped`, `time` and `column`, which need it",
            )
        if self.kind == "column" and self.folds is not None:
            raise PydanticCustomError("folds", "a given split has no `folds`")
        return self
