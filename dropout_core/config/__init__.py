"""The configs of a learning problem, a network and its training. Free of torch."""

from dropout_core.config.base import Config, Count, Seed, added
from dropout_core.config.network import Activation, DropoutConfig, FusedActivation, Init, MLPConfig
from dropout_core.config.problem import (
    ColumnType,
    FeatureType,
    PreprocessingConfig,
    ProblemConfig,
    SplitConfig,
    TableConfig,
    Task,
)
from dropout_core.config.training import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    EarlyStoppingConfig,
    LinearConfig,
    Monitor,
    OneCycleConfig,
    Optimizer,
    Scheduler,
    SGDConfig,
    StepConfig,
    TrainingConfig,
)

__all__ = [
    "Activation",
    "AdamConfig",
    "AdamWConfig",
    "ColumnType",
    "Config",
    "CosineConfig",
    "Count",
    "DropoutConfig",
    "EarlyStoppingConfig",
    "FeatureType",
    "FusedActivation",
    "Init",
    "LinearConfig",
    "MLPConfig",
    "Monitor",
    "OneCycleConfig",
    "Optimizer",
    "PreprocessingConfig",
    "ProblemConfig",
    "SGDConfig",
    "Scheduler",
    "Seed",
    "SplitConfig",
    "StepConfig",
    "TableConfig",
    "Task",
    "TrainingConfig",
    "added",
]
