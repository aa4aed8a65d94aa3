import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dropout_core

PUBLIC = [
    "DropoutConfig",
    "MLPConfig",
    "PreprocessingConfig",
    "ProblemConfig",
    "SplitConfig",
    "TrainingConfig",
    "Recipe",
    "settled",
    "SweepConfig",
    "SweepResult",
    "sweep",
    "ingest",
    "read",
    "split_rows",
    "DataError",
    "ModelError",
    "Reliability",
    "expected_calibration_error",
    "Evaluation",
    "evaluate",
    "permutation_importance",
    "Predictions",
    "Predictor",
    "load_model",
    "save_model",
    "BatchwiseDropout",
    "DropConnectLinear",
    "Dropout",
    "GaussianDropout",
    "MLP",
    "EncodedSplit",
    "encode_split",
    "PreparedModel",
    "prepare_model",
    "ResolvedTable",
    "resolve_table",
    "TabularRun",
    "Diverged",
    "EpochMetrics",
    "Training",
    "TrainingData",
    "train",
]


def test_the_public_names_are_these() -> None:
    assert sorted(dropout_core.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(dropout_core))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    value = getattr(dropout_core, name)
    assert value.__name__ == name
    assert value.__module__.startswith("dropout_core.")
    assert getattr(import_module(value.__module__), name) is value
    assert value.__doc__


def test_types_are_imported_from_where_values_are() -> None:
    tree = ast.parse(Path(dropout_core.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(imported) == sorted(PUBLIC)
    for name, module in imported.items():
        assert getattr(import_module(str(module)), name) is getattr(dropout_core, name)


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="'dropout_core' has no attribute 'dropuot'"):
        dropout_core.dropuot  # noqa: B018


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (Path(dropout_core.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    "statement",
    [
        "import dropout_core",
        "from dropout_core import DataError, MLPConfig, ProblemConfig, TrainingConfig",
    ],
)
def test_what_needs_no_torch_does_not_import_it(statement: str) -> None:
    script = f"{statement}; import sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]
