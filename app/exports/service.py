"""Write a model as a file, for every request anew."""

from pathlib import Path

from app.context import Context
from app.http.errors import invalid
from dropout_core.export.process import MAX_ONNX_BYTES, SUFFIXES, Format, export
from store.errors import ModelNotFound
from store.models import Model


def write(context: Context, model: Model, chosen: Format, *, folder: Path) -> Path:
    """Write the model to a file in `folder` and return its path.

    Raises RequestError (422) for a model too large for the format; ModelNotFound, ModelError and
    OSError.
    """
    if chosen == "onnx" and model.size_bytes > MAX_ONNX_BYTES:
        detail = f"an ONNX file may have 2 GiB, and this model has {model.size_bytes} bytes"
        raise invalid("format", detail)
    target = folder / f"{model.id}{SUFFIXES[chosen]}"
    try:
        context.predictors.get(model)  # raises ModelError unless the files are as recorded
        export(context.predictors.fetch(model), target, chosen)
    except FileNotFoundError as error:  # deleted after its record was read
        raise ModelNotFound(model.id) from error
    return target
