"""Multilayer perceptrons with dropout: a table and configs in, a trained model out.

Names are imported when they are first used, so `import dropout_core` and its configs do not import
torch. What is not here is imported from its module, such as `dropout_core.config.SGDConfig` or
`dropout_core.nn.functional`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropout_core.config import (
        DropoutConfig,
        MLPConfig,
        PreprocessingConfig,
        ProblemConfig,
        Recipe,
        SplitConfig,
        SweepConfig,
        TrainingConfig,
        settled,
    )
    from dropout_core.data.ingest import ingest
    from dropout_core.data.readers import read
    from dropout_core.data.splits import split_rows
    from dropout_core.errors import DataError, ModelError
    from dropout_core.evaluation.calibration import Reliability, expected_calibration_error
    from dropout_core.evaluation.evaluator import Evaluation, evaluate
    from dropout_core.evaluation.importance import permutation_importance
    from dropout_core.model.predictor import Predictions, Predictor
    from dropout_core.model.saved_model import load_model, save_model
    from dropout_core.nn.layers import BatchwiseDropout, DropConnectLinear, Dropout, GaussianDropout
    from dropout_core.nn.mlp import MLP
    from dropout_core.pipeline.encoded_split import EncodedSplit, encode_split
    from dropout_core.pipeline.prepared_model import PreparedModel, prepare_model
    from dropout_core.pipeline.resolved_table import ResolvedTable, resolve_table
    from dropout_core.pipeline.tabular_run import TabularRun
    from dropout_core.sweeps.tabular_sweep import SweepResult, sweep
    from dropout_core.training.loop import Diverged, Training, train
    from dropout_core.training.state import EpochMetrics
    from dropout_core.training.training_data import TrainingData

__all__ = [
    "MLP",
    "BatchwiseDropout",
    "DataError",
    "Diverged",
    "DropConnectLinear",
    "Dropout",
    "DropoutConfig",
    "EncodedSplit",
    "EpochMetrics",
    "Evaluation",
    "GaussianDropout",
    "MLPConfig",
    "ModelError",
    "Predictions",
    "Predictor",
    "PreparedModel",
    "PreprocessingConfig",
    "ProblemConfig",
    "Recipe",
    "Reliability",
    "ResolvedTable",
    "SplitConfig",
    "SweepConfig",
    "SweepResult",
    "TabularRun",
    "Training",
    "TrainingConfig",
    "TrainingData",
    "encode_split",
    "evaluate",
    "expected_calibration_error",
    "ingest",
    "load_model",
    "permutation_importance",
    "prepare_model",
    "read",
    "resolve_table",
    "save_model",
    "settled",
    "split_rows",
    "sweep",
    "train",
]

_NAMES = {
    "config": "DropoutConfig MLPConfig TrainingConfig "
    "ProblemConfig SplitConfig PreprocessingConfig Recipe SweepConfig settled",
    "data.ingest": "ingest",
    "data.readers": "read",
    "data.splits": "split_rows",
    "errors": "DataError ModelError",
    "evaluation.calibration": "Reliability expected_calibration_error",
    "evaluation.evaluator": "Evaluation evaluate",
    "evaluation.importance": "permutation_importance",
    "model.predictor": "Predictions Predictor",
    "model.saved_model": "load_model save_model",
    "nn.layers": "BatchwiseDropout DropConnectLinear Dropout GaussianDropout",
    "nn.mlp": "MLP",
    "pipeline.encoded_split": "EncodedSplit encode_split",
    "pipeline.prepared_model": "PreparedModel prepare_model",
    "pipeline.resolved_table": "ResolvedTable resolve_table",
    "pipeline.tabular_run": "TabularRun",
    "sweeps.tabular_sweep": "SweepResult sweep",
    "training.loop": "Diverged Training train",
    "training.state": "EpochMetrics",
    "training.training_data": "TrainingData",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts any name

    def __getattr__(name: str) -> Any:
        """Import a public name from its module, once."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
