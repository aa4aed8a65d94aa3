"""The API's OpenAPI document, as text; run as a module, this writes it to `docs/openapi.json`."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from app.main import create_app
from store.settings import Settings

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


@cache
def document() -> dict[str, Any]:
    """Return the document, the same one every time: to make it takes half a second."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder)))
        made = app.openapi()
        app.state.context.database.close()
    return made


def text() -> str:
    """Return the document with sorted keys, and without the version of the release."""
    told = document() | {"info": document()["info"] | {"version": "unreleased"}}
    return json.dumps(told, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
