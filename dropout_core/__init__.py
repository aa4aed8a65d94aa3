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
        SplitConfig,
        TrainingConfig,
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
    from dropout_core.training.loop import Diverged, EpochMetrics, Training, TrainingData, train

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
    "Reliability",
    "ResolvedTable",
    "SplitConfig",
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
    "split_rows",
    "train",
]

_MODULES = {
    "BatchwiseDropout": "nn.layers",
    "DataError": "errors",
    "Diverged": "training.loop",
    "DropConnectLinear": "nn.layers",
    "Dropout": "nn.layers",
    "DropoutConfig": "config",
    "EncodedSplit": "pipeline.encoded_split",
    "EpochMetrics": "training.loop",
    "Evaluation": "evaluation.evaluator",
    "GaussianDropout": "nn.layers",
    "MLP": "nn.mlp",
    "MLPConfig": "config",
    "ModelError": "errors",
    "Predictions": "model.predictor",
    "Predictor": "model.predictor",
    "PreparedModel": "pipeline.prepared_model",
    "PreprocessingConfig": "config",
    "ProblemConfig": "config",
    "Reliability": "evaluation.calibration",
    "ResolvedTable": "pipeline.resolved_table",
    "SplitConfig": "config",
    "TabularRun": "pipeline.tabular_run",
    "Training": "training.loop",
    "TrainingConfig": "config",
    "TrainingData": "training.loop",
    "encode_split": "pipeline.encoded_split",
    "evaluate": "evaluation.evaluator",
    "expected_calibration_error": "evaluation.calibration",
    "ingest": "data.ingest",
    "load_model": "model.saved_model",
    "permutation_importance": "evaluation.importance",
    "prepare_model": "pipeline.prepared_model",
    "read": "data.readers",
    "resolve_table": "pipeline.resolved_table",
    "save_model": "model.saved_model",
    "split_rows": "data.splits",
    "train": "training.loop",
}


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
