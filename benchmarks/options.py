"""Options and reports of the benchmarks."""

import argparse
import json
from pathlib import Path
from typing import Any


def option_parser(documentation: str | None, *, png: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with the option `--json`, and `--png` if that has a help text."""
    assert documentation is not None
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the report here")
    if png is not None:
        parser.add_argument("--png", type=Path, help=png)
    return parser


def write_report(report: Any, options: argparse.Namespace) -> None:
    """Write the report as JSON, and as a picture, to the paths that were given."""
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        print(f"\n{options.json}")
    if getattr(options, "png", None):
        from benchmarks.plot import draw

        draw(report, options.png)
        print(options.png)
