"""The outcome of each fault, which `make test-faults` writes down and prints."""

import json
import os
from pathlib import Path
from typing import Any

FIGURES = Path("build/faults.jsonl")


def record(name: str, *, runs: int, **facts: Any) -> None:
    """Write down how often a fault was tried, and the figures, if FAULTS is set."""
    if "FAULTS" in os.environ:
        FIGURES.parent.mkdir(exist_ok=True)
        with FIGURES.open("a") as file:
            file.write(json.dumps({"fault": name, "runs": runs, **facts}) + "\n")


def main() -> None:
    """Print a line for each fault that was tried to its end."""
    written = FIGURES.read_text() if FIGURES.exists() else ""
    for line in written.splitlines():
        figure = json.loads(line)
        name, runs = figure.pop("fault"), figure.pop("runs")
        facts = ", ".join(f"{fact.replace('_', ' ')}: {value}" for fact, value in figure.items())
        print(f"{name} | {runs} runs | {facts}")  # noqa: T201


if __name__ == "__main__":
    main()
