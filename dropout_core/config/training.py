"""The training of a network: optimizer, schedule and what shapes the loss."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Count, Fraction, Positive, Seed

Device = Literal["auto", "cpu", "cuda"]


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


Monitor = Literal[
    "loss",
    "validation_loss",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "roc_auc",
    "average_precision",
    "r2",
]


class EarlyStoppingConfig(Config):
    """Stop when `monitor` has not become better by more than `min_delta` for `patience` epochs.

    The model then gets the weights of the epoch with the best value. It gets them too when training
    runs to its last epoch.

    - `monitor` is measured on the validation rows. `loss`, the default, is the loss that training
      minimises there, with its class weights, label smoothing and weights of rows. Without them it
      is `validation_loss`. The others are metrics of classes, and `r2` of a regression.
    - Small improvements add up: the value is compared with that of the last epoch that counted as
      an improvement, as in Keras.
    """

    patience: Count = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    monitor: Monitor | None = None

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
    - `precision`: `bfloat16` rounds the inputs of the hidden layers' matrix products in training.
      It is faster on processors with bfloat16 products and slower on others. It needs `relu`,
      `tanh` or `logistic` layers with Bernoulli dropout and without batch norm.
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
