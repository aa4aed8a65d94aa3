"""The API's OpenAPI document, as text; run as a module, this writes it to `docs/openapi.json`."""

import json
import tempfile
from pathlib import Path

from app.main import create_app
from store.settings import Settings

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def text() -> str:
    """Return the document with sorted keys, and without the version of the release."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder)))
        document = app.openapi()
        app.state.context.database.close()
    document["info"]["version"] = "unreleased"
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
