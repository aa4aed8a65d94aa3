"""Write a model as a file, for every request anew."""

import threading
from pathlib import Path

from app.context import Context
from app.http.errors import RequestError, invalid
from app.http.slots import SLOT_SECONDS
from dropout_core.export.process import MAX_ONNX_BYTES, SUFFIXES, Format, export
from store.errors import ModelNotFound
from store.models import Model

MAX_EXPORTS = 2  # at a time: each uses a core, and several times the memory of the model

_slots = threading.BoundedSemaphore(MAX_EXPORTS)


def write(context: Context, model: Model, chosen: Format, *, folder: Path) -> Path:
    """Write the model to a file in `folder` and return its path.

    Raises RequestError: 422 for a model too large for the format, 503 if no slot comes free in
    time; ModelNotFound, ModelError and OSError.
    """
    if chosen == "onnx" and model.size_bytes > MAX_ONNX_BYTES:
        detail = f"an ONNX file may have 2 GiB, and this model has {model.size_bytes} bytes"
        raise invalid("format", detail)
    target = folder / f"{model.id}{SUFFIXES[chosen]}"
    if not _slots.acquire(timeout=SLOT_SECONDS):
        detail = f"{MAX_EXPORTS} exports are running already; try again"
        raise RequestError(503, "busy", detail)
    try:
        context.predictors.get(model)  # raises ModelError unless the files are as recorded
        export(context.predictors.fetch(model), target, chosen)
    except FileNotFoundError as error:  # deleted after its record was read
        raise ModelNotFound(model.id) from error
    finally:
        _slots.release()
    return target
