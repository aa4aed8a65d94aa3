"""How much the fuzzers try, and where what they tried is written down.

`make test` tries a little; `make test-fuzz` sets FUZZ, tries so many times as much, and prints a
table.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

FUZZ = int(os.environ.get("FUZZ", "1"))
"""How many times as much as `make test`."""

SEED = int(os.environ.get("FUZZ_SEED", 1 if FUZZ == 1 else secrets.randbits(32)))
"""Of all that is drawn: a new one whenever more is tried, and FUZZ_SEED to try the same again."""

FIGURES = Path("build/fuzz.jsonl")


def record(name: str, *, inputs: int, **facts: Any) -> None:
    """Write down how many inputs of a kind were tried, and the figures."""
    if "FUZZ" in os.environ:
        FIGURES.parent.mkdir(exist_ok=True)
        with FIGURES.open("a") as file:
            file.write(json.dumps({"fuzzed": name, "inputs": inputs, **facts}) + "\n")


def main() -> None:
    """Print the sum of the figures by name."""
    totals: dict[str, dict[str, int]] = {}
    for line in FIGURES.read_text().splitlines():
        figure = json.loads(line)
        total = totals.setdefault(figure.pop("fuzzed"), {})
        for name, value in figure.items():
            if isinstance(value, int):
                total[name] = total.get(name, 0) + value
    for name, total in totals.items():
        facts = ", ".join(f"{fact}: {value}" for fact, value in total.items())
        print(f"{name}: {facts}")  # noqa: T201


if __name__ == "__main__":
    main()
