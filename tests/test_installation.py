"""What `pip install .` brings is the library; whoever runs more without it is told what to do."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"app", "worker", "store", "dropout_core"}
# Triton comes with torch's CUDA build, scikit-learn is the demo's alone: both do without.
OPTIONAL = {"triton", "scikit-learn"}
# pydantic requires pydantic-core in the one version that it works with.
BROUGHT_BY = {"pydantic-core": "pydantic", "starlette": "fastapi", "anyio": "fastapi"}
BROUGHT_BY |= {"kombu": "celery"}


def distributions(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imported(*packages: str) -> set[str]:
    """The distributions that the sources import from, wherever in a file they do."""
    modules = set()
    for path in (path for package in packages for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add((node.module or "").partition(".")[0])
    owners = packages_distributions()
    owners["triton"] = ["triton"]
    names = {
        canonicalize_name(owners[module][0])
        for module in modules - OURS - set(sys.stdlib_module_names)
    }
    return {BROUGHT_BY.get(name, name) for name in names} - OPTIONAL


def test_the_dependencies_are_what_the_library_imports() -> None:
    extras = PROJECT["optional-dependencies"]
    of_extras = distributions([*extras["export"], *extras["sweeps"]])
    assert imported("dropout_core") == distributions(PROJECT["dependencies"]) | of_extras


def test_the_extra_brings_all_that_the_service_imports() -> None:
    extras = PROJECT["optional-dependencies"]
    service = distributions([*PROJECT["dependencies"], *extras["service"], *extras["export"]])
    assert imported("app", "worker", "store") <= service
    assert PROJECT["name"] + "[export,sweeps]" in extras["service"]


def test_every_requirement_has_a_tested_version() -> None:
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    required = set().union(*map(distributions, groups)) - {PROJECT["name"]}
    assert required <= distributions(constraints)


def run_without(package: str, statement: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{package!r}] = None; {statement}"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("package", ["typer", "pydantic_settings", "sqlalchemy"])
def test_the_command_without_the_service_says_what_to_install(package: str) -> None:
    done = run_without(package, "from app.cli.main import main; main()")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: dropout-service needs {package}")
    assert "pip install '.[service]'" in line


def test_an_onnx_file_without_onnx_says_what_to_install() -> None:
    done = run_without("onnx", "from dropout_core.export.onnx_model import write_onnx")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("run `pip install '.[export]'`")
