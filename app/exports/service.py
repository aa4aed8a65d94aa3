"""A model as a file, made anew for whoever asks."""

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

MAX_EXPORTS = 2  # at a time: each takes a core, and the model's size several times

_places = threading.BoundedSemaphore(MAX_EXPORTS)


def write(context: Context, model: Model, chosen: Format, *, folder: Path) -> Path:
    """The file, in `folder`.

    Raises RequestError: 422 for a model too large for the format, 503 if no place comes free in
    time; ModelNotFound, ModelError and OSError.
    """
    if chosen == "onnx" and model.size_bytes > MAX_ONNX_BYTES:
        detail = f"an ONNX file ends at 2 GiB, and this model has {model.size_bytes} bytes"
        raise invalid("format", detail)
    target = folder / f"{model.id}{SUFFIXES[chosen]}"
    with _place():
        context.predictors.get(model)  # which refuses one that is not as it was recorded
        try:
            manifest, _ = (
                context.artifacts.fetch(f"{model.artifact}/{name}") for name in (MANIFEST, WEIGHTS)
            )
            export(manifest.parent, target, chosen)
        except FileNotFoundError as error:  # deleted since its row was read
            raise ModelNotFound(model.id) from error
    return target


@contextmanager
def _place() -> Iterator[None]:
    if not _places.acquire(timeout=PLACE_SECONDS):
        detail = f"{MAX_EXPORTS} exports are under way here; try again"
        raise RequestError(503, "busy", detail)
    try:
        yield
    finally:
        _places.release()
