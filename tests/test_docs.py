"""What the documents name exists: files, folders, modules, links, decisions and make targets."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PACKAGES = ("app", "worker", "store", "dropout_core", "tests", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

CODE = re.compile(r"^```.*?^```|`[^`]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FULL_PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)}|docs)/[\w./*-]*[\w/]")
FILE_NAME = re.compile(r"(?<![\w./*-])[\w.-]+(?:/[\w.-]+)*\.(?:py|md|toml|txt|yml)(?![\w/])")
MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
TARGET = re.compile(r"(?<![\w-])make ([a-z][a-z-]*)")
DECISION = re.compile(r"docs/decisions/(\d{4})(?!\d)")


def faults_of(text: str, *, folder: Path = ROOT) -> Iterator[str]:
    """Yield what the document `text`, which lies in `folder`, names and the repository lacks."""
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        path = folder / target
        if "://" not in link and not (path.exists() if target else anchor in _anchors(text)):
            yield f"link {link}"
    for block in _blocks(text):
        code = "\n".join(CODE.findall(block))
        paths = FULL_PATH.findall(code)
        yield from (f"path {path}" for path in paths if not _found(path))
        # A bare file name is of a folder that the same paragraph or row of a table names.
        folders = {ROOT, *(folder for path in paths for folder in _folders(path))}
        for name in set(FILE_NAME.findall(code)) - set(paths):
            if not any((folder / name).is_file() for folder in folders):
                yield f"file {name}"
        yield from (f"module {name}" for name in MODULE.findall(code) if not _is_defined(name))
        yield from (f"make {name}" for name in TARGET.findall(code) if name not in _targets())


def _blocks(text: str) -> list[str]:
    """Return the paragraphs, the rows of tables and the blocks of code."""
    fenced = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    return [
        block
        for index, part in enumerate(fenced)
        for block in ([part] if index % 2 else re.split(r"\n\s*\n|\n(?=\|)", part))
    ]


def _found(path: str) -> bool:
    if DECISION.fullmatch(path):
        path += "-*.md"
    return any(ROOT.glob(path.rstrip("/")))


def _folders(path: str) -> list[Path]:
    found = list(ROOT.glob(path.rstrip("/")))
    return [each if each.is_dir() else each.parent for each in found]


def _is_defined(name: str) -> bool:
    """Return whether it is a module or package, or a name that one defines."""
    parts = name.split(".")
    if _module(parts) is not None:
        return True
    module = _module(parts[:-1])
    return module is not None and re.search(rf"\b{parts[-1]}\b", module.read_text()) is not None


def _module(parts: list[str]) -> Path | None:
    path = ROOT.joinpath(*parts)
    files = (path.with_suffix(".py"), path / "__init__.py", path / "__main__.py")
    return next((file for file in files if file.is_file()), None)


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_that_a_document_names_exists(document: Path) -> None:
    assert list(faults_of(document.read_text(), folder=document.parent)) == []


@pytest.mark.parametrize(
    "text",
    [
        "see [the map](docs/map.md)",
        "see [above](#nowhere)",
        "`app/http/nowhere.py`",
        "`dropout_core/nowhere/`",
        "```\nstore/nowhere.py ---> worker\n```",
        "`tests/nowhere_*.py`",
        "`dropout_core/nn/`: `loop.py`",
        "`nowhere.py`",
        "`docs/decisions/9999`",
        "`dropout_core.nn.nowhere`",
        "`dropout_core.nn.mlp.Nowhere`",
        "`python -m tests.support.nowhere`",
        "`make nowhere`",
    ],
)
def test_what_does_not_exist_is_found(text: str) -> None:
    assert len(list(faults_of(text))) == 1


def test_every_decision_that_the_sources_name_exists() -> None:
    named = {
        (path, number) for path in SOURCES for number in DECISION.findall(path.read_text())
    } - {(Path(__file__), "9999")}
    assert len(named) > 5
    assert [(path, n) for path, n in named if not _found(f"docs/decisions/{n}")] == []


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert names == [f"{number:04}" for number in range(1, len(names) + 1)]
