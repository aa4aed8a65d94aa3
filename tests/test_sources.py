"""What no source of the service does, and what tests may import from each other."""

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


def patterns_of(source: str) -> Iterator[str]:
    """Yield the `pl.col(...)` of a source whose argument is a value: polars reads it as a pattern.

    Names in quotes and dtypes are no values. `data.by_name` and `pl.nth` take columns exactly.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="col" | "exclude"), args=args):
                if not all(_is_exact(argument) for argument in args):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


def _is_exact(argument: ast.expr) -> bool:
    if isinstance(argument, ast.Constant | ast.JoinedStr):
        return True
    return isinstance(argument, ast.Attribute) and ast.unparse(argument.value) == "pl"


def test_no_source_takes_the_name_of_a_column_for_a_pattern() -> None:
    faults = {str(path.relative_to(ROOT)): list(patterns_of(path.read_text())) for path in SOURCES}
    assert {path: found for path, found in faults.items() if found} == {}


def test_a_pattern_would_be_found() -> None:
    assert len(list(patterns_of("pl.col(name); pl.col([name]); pl.all().exclude(name)"))) == 3
    assert not list(patterns_of('pl.col("name"); pl.col(pl.String); pl.col(f"{index} parsed")'))


TESTS = sorted((ROOT / "tests").rglob("*.py"))


def imports_of_tests(source: str) -> Iterator[str]:
    """Yield the modules of `tests` that a source imports."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if a.name.startswith("tests."))
            case ast.ImportFrom(module="tests", names=names):
                yield from (f"tests.{alias.name}" for alias in names)
            case ast.ImportFrom(module=str(module)) if module.startswith("tests."):
                yield module


def is_shared(module: str, folder: str) -> bool:
    """Return whether sources of a folder may import a module: of `support`, or beside them."""
    package, _, name = module.rpartition(".")
    if module.startswith("tests.support"):
        return True
    beside = package == folder and not name.startswith(("test_", "conftest"))
    return beside or module == folder


def test_what_tests_share_is_in_support() -> None:
    assert len(TESTS) > 100
    wrong = {
        str(path.relative_to(ROOT)): taken
        for path in TESTS
        if (
            taken := [
                module
                for module in imports_of_tests(path.read_text())
                if not is_shared(module, ".".join(path.relative_to(ROOT).parts[:-1]))
            ]
        )
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("from tests.app.test_busy import client", "tests.app"),
        ("from tests.app.conftest import service", "tests.app"),
        ("from tests.faults.stand import Stand", "tests.app"),
        ("import tests.store.test_jobs", "tests.worker"),
    ],
)
def test_another_import_would_be_found(source: str, folder: str) -> None:
    [module] = imports_of_tests(source)
    assert not is_shared(module, folder)
