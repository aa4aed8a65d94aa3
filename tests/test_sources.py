"""What no source of the service does, whoever asks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("app", "worker", "store", "dropout_core")
    for path in (ROOT / folder).rglob("*.py")
)

# What runs what it reads, or believes what it says of other files.
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("torch.load", "torch.save", "torch.jit.load", "np.load", "numpy.load", "np.save"),
    *("os.system", "os.popen", "tempfile.mktemp"),
}
FORBIDDEN_METHODS = {"extractall", "read_pickle", "to_pickle"}


def faults_of(source: str) -> Iterator[str]:
    """What a source does that it must not, with the line."""
    for node in ast.walk(ast.parse(source)):
        for name in sorted(_names(node)):
            yield f"line {node.lineno}: {name}"  # type: ignore[attr-defined]


def _names(node: ast.AST) -> set[str]:
    match node:
        case ast.Import(names=names):
            return {alias.name for alias in names} & FORBIDDEN_MODULES
        case ast.ImportFrom(module=str(module), names=names):
            imported = {module, *(f"{module}.{alias.name}" for alias in names)}
            return imported & (FORBIDDEN_MODULES | FORBIDDEN_CALLS)
        case ast.Call(func=function, keywords=keywords):
            called = ast.unparse(function)
            found = {called} & FORBIDDEN_CALLS
            found |= {called.rpartition(".")[2]} & FORBIDDEN_METHODS if "." in called else set()
            told = {(keyword.arg, ast.unparse(keyword.value)) for keyword in keywords}
            return found | {
                f"{name}={value}"
                for name, value in told & {("shell", "True"), ("allow_pickle", "True")}
            }
    return set()


def test_no_source_runs_what_it_reads() -> None:
    assert len(SOURCES) > 100
    faults = {str(path.relative_to(ROOT)): list(faults_of(path.read_text())) for path in SOURCES}
    assert {path: found for path, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "from yaml import load",
        "def f(path):\n    return torch.load(path, weights_only=True)",
        "np.load(path)",
        "read(path, allow_pickle=True)",
        "eval(text)",
        "tar.extractall(folder)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_one_that_did_would_be_found(source: str) -> None:
    assert len(list(faults_of(source))) == 1
