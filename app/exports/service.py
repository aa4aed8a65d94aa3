"""A model as a file, written anew for every request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.context import PLACE_SECONDS, Context
from app.http.errors import RequestError, invalid
from dropout_core.export.process import MAX_ONNX_BYTES, SUFFIXES, Format, export
from dropout_core.model.saved_model import MANIFEST, WEIGHTS
from store.errors import ModelNotFound
from store.models import Model

MAX_EXPORTS = 2  # at a time: each takes a core, and several times the memory of the model

_slots = threading.BoundedSemaphore(MAX_EXPORTS)


def write(context: Context, model: Model, chosen: Format, *, folder: Path) -> Path:
    """Write the model to a file in `folder` and return its path.

    Raises RequestError: 422 for a model too large for the format, 503 if no slot comes free in
    time; ModelNotFound, ModelError and OSError.
    """
    if chosen == "onnx" and model.size_bytes > MAX_ONNX_BYTES:
        detail = f"an ONNX file ends at 2 GiB, and this model has {model.size_bytes} bytes"
        raise invalid("format", detail)
    target = folder / f"{model.id}{SUFFIXES[chosen]}"
    with _slot():
        context.predictors.get(model)  # raises ModelError unless the files are as recorded
        try:
            manifest, _ = (
                context.artifacts.fetch(f"{model.artifact}/{name}") for name in (MANIFEST, WEIGHTS)
            )
            export(manifest.parent, target, chosen)
        except FileNotFoundError as error:  # deleted after its record was read
            raise ModelNotFound(model.id) from error
    return target


@contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=PLACE_SECONDS):
        detail = f"{MAX_EXPORTS} exports are under way here; try again"
        raise RequestError(503, "busy", detail)
    try:
        yield
    finally:
        _slots.release()
