"""The training of a network: optimizer, schedule and what shapes the loss."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Count, Fraction, Positive, Seed, added

Device = Literal["auto", "cpu", "cuda"]
Level = Annotated[float, Field(gt=0, lt=1)]


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


class Coslog4Config(Config):
    """Fall and rise four times: lr (1 - cos(2 pi log2(1 + 15 t))) / 2 at the share t of the run.

    It touches zero at t = 1/15, 3/15, 7/15 and 1. Holzmueller et al. 2024, section 3.
    """

    name: Literal["coslog4"]


class FlatCosineConfig(Config):
    """Stay at the value for the share `flat` of the run, then anneal to 0 along half a cosine.

    The `flat_cos` of Holzmueller et al. 2024, table A.1.
    """

    name: Literal["flat_cosine"] = "flat_cosine"
    flat: Fraction = 0.5


Scheduler = Annotated[
    StepConfig | CosineConfig | LinearConfig | OneCycleConfig | Coslog4Config | FlatCosineConfig,
    Field(discriminator="name"),
]


Monitor = Literal[
    "loss",
    "validation_loss",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "roc_auc",
    "average_precision",
    "r2",
    "mae",
]


class EarlyStoppingConfig(Config):
    """Stop when `monitor` has not become better by more than `min_delta` for `patience` epochs.

    The model then gets the weights of the epoch with the best value. It gets them too when training
    runs to its last epoch.

    - `monitor` is measured on the validation rows. `loss`, the default, is the loss that training
      minimises there, with its class weights, label smoothing and weights of rows. Without them it
      is `validation_loss`. The others are metrics of classes, and `r2` and `mae` of a regression;
      `mae` is that of the standardised targets.
    - Small improvements add up: the value is compared with that of the last epoch that counted as
      an improvement, as in Keras.
    - `ties`: of epochs with equal best values, the model gets the weights of the `first` or `last`.
    - `tolerance`: of epochs that are worse than the best by at most so many standard errors of the
      difference, the model gets the weights of the last. Few validation rows say little of single
      epochs, and the last one has the smallest learning rate (compare the one-standard-error rule,
      Breiman et al. 1984). Training stops when no epoch was so near for `patience` epochs, and
      `min_delta` and `ties` have no effect.
    - `refit`: afterwards train anew on the training and validation rows together, for as many steps
      as lead to the best epoch.
    """

    patience: Count = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    monitor: Monitor | None = None
    ties: Literal["first", "last"] = added("first")
    tolerance: Annotated[float, Field(ge=0, le=10)] = added(0.0)
    refit: bool = added(False)

    @model_serializer(mode="wrap")
    def _without_absent_monitor(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialise(self).items() if value is not None}


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("rule")]
    | Annotated[
        tuple[Annotated[float, Field(ge=0)], ...],
        Field(strict=False, max_length=10_000, fail_fast=True),
        Tag("weights"),
    ],
    # So that an error is about the form that was meant.
    Discriminator(lambda value: "rule" if isinstance(value, str) else "weights"),
]


class TrainingConfig(Config):
    """How an MLP is trained. With the same data, `seed` decides every bit of the weights.

    - `class_weights` are the weights of the classes in the loss: one for each class, in the order
      of the sorted classes, or `balanced`, which is rows / (classes * rows of the class).
    - `label_smoothing` is the share of the target that is spread evenly over all classes (Szegedy
      et al. 2016, section 7); each share has the weight of its class. Class weights and smoothing
      change the training loss, not `validation_loss`, which stays comparable between jobs.
    - `max_grad_norm` clips the L2 norm of all gradients of a step together (Pascanu et al. 2013).
    - `ema_decay` keeps an exponential moving average of the weights, which moves by 1 - `ema_decay`
      at each step. Validation and early stopping look at the average, and the model keeps it.
    - `weight_decay_schedule` and `dropout_schedule` anneal the weight decay and all dropout
      probabilities, step by step. On a GPU such dropout is trained without a CUDA graph.
    - `layer_rates`: the learning rate is the same for `all` parameters, or that of the neural
      tangent parametrisation (`ntk`): the weights of a layer have lr / sqrt(fan-in) (with `sgd`
      lr / fan-in) and a weight decay that shrinks them as before; biases have lr / 10 and do not
      decay; embeddings of numbers and parametric activations have lr / 10, learned input scales
      6 lr (Holzmueller et al. 2024, section 3 and table A.1).
    - `loss` of a regression: `squared` error or `absolute` error. With `quantiles`, which ascend,
      the model predicts these quantiles of each target, and training minimises the pinball loss
      (Koenker and Bassett 1978). `validation_loss` is always that of the squared error of the value
      that is predicted, here of the quantile nearest to the median.
    - `calibrate`: after training, fit on the validation rows the temperature of the probabilities
      (Guo et al. 2017) and the scores of conformal predictions (Vovk et al. 2005).
    - `precision`: `bfloat16` rounds the inputs of the hidden layers' matrix products in training.
      It is faster on processors with bfloat16 products and slower on others. It needs `relu`,
      `tanh` or `logistic` layers with Bernoulli dropout, no batch norm, no members and no
      parametric activation.
    - `stacked`: compute the steps in a stack, which trains several networks as one (on a CPU, if
      the network can be stacked). The result depends on this setting by rounding, and not on which
      networks are in the stack: alone it has the same bits.
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
    weight_decay_schedule: FlatCosineConfig | None = added(None)
    dropout_schedule: FlatCosineConfig | None = added(None)
    layer_rates: Literal["all", "ntk"] = added("all")
    loss: Literal["squared", "absolute"] = added("squared")
    quantiles: (
        Annotated[
            tuple[Level, ...], Field(strict=False, min_length=1, max_length=99, fail_fast=True)
        ]
        | None
    ) = added(None)
    calibrate: bool = added(False)
    precision: Literal["float32", "bfloat16"] = "float32"
    stacked: bool = added(False)
    max_runtime_seconds: Positive | None = None
    seed: Seed = 0
    device: Device = "auto"

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, quantiles: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if quantiles is not None and any(a >= b for a, b in pairwise(quantiles)):
            raise PydanticCustomError(
                "quantiles", "give the quantiles in ascending order, each of them once"
            )
        return quantiles
