"""A cache of loaded models that evicts the least recently used."""

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

from dropout_core.errors import ModelError
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import MANIFEST, WEIGHTS, Description, Manifest
from store.artifacts.artifact_store import ArtifactStore
from store.errors import ModelNotFound
from store.models import Model

OVERHEAD_BYTES = 100 * 1024  # that a model takes beside its weights, about
LOADED_AT_ONCE = 2


class Predictors:
    """Predictors by model id, up to `max_bytes` of weights. Safe to share between threads."""

    def __init__(self, artifacts: ArtifactStore, *, max_bytes: int) -> None:
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._loaded: OrderedDict[str, tuple[Predictor, int]] = OrderedDict()
        self._loading: dict[str, Future[Predictor]] = {}
        self._lock = threading.Lock()
        self._loaders = ThreadPoolExecutor(LOADED_AT_ONCE, thread_name_prefix="load")

    def loaded(self, model_id: str) -> Predictor | None:
        """Return the predictor if it is loaded, and mark it as used."""
        with self._lock:
            if model_id not in self._loaded:
                return None
            self._loaded.move_to_end(model_id)
            return self._loaded[model_id][0]

    def load(self, model: Model) -> Future[Predictor]:
        """Start to load the model, or return the future of the load that is under way.

        The future raises ModelNotFound if the model's files are deleted, and ModelError if they are
        damaged or it cannot be served here.
        """
        with self._lock:
            future = self._loading.get(model.id)
            if future is None:
                future = self._loading[model.id] = self._loaders.submit(self._load, model)
            return future

    def get(self, model: Model) -> Predictor:
        """Return the predictor; wait until it is loaded. Raises what the future of `load` does."""
        return self.loaded(model.id) or self.load(model).result()

    def fetch(self, model: Model) -> Path:
        """Return a folder with the model's files. Raises FileNotFoundError if they are deleted."""
        manifest, _ = (
            self._artifacts.fetch(f"{model.artifact}/{name}") for name in (MANIFEST, WEIGHTS)
        )
        return manifest.parent

    def fitting(self, models: Sequence[Model]) -> list[Model]:
        """Return the first models, as many as fit in memory together."""
        sizes = accumulate(_size_bytes(model) for model in models)
        return [model for model, size in zip(models, sizes, strict=True) if size <= self._max_bytes]

    def forget(self, model_id: str) -> None:
        """Unload the model."""
        with self._lock:
            self._loaded.pop(model_id, None)

    def _load(self, model: Model) -> Predictor:
        try:
            predictor = self.loaded(model.id) or self._read(model)
            with self._lock:
                self._loaded[model.id] = (predictor, _size_bytes(model))
                while self._num_bytes() > self._max_bytes and len(self._loaded) > 1:
                    self._loaded.popitem(last=False)
            return predictor
        finally:
            with self._lock:
                del self._loading[model.id]

    def _read(self, model: Model) -> Predictor:
        try:
            predictor = Predictor.load(self.fetch(model))
        except (FileNotFoundError, ModelError) as error:
            # Deleted after its record was read.
            if isinstance(error.__cause__ or error, FileNotFoundError):
                raise ModelNotFound(model.id) from error
            raise
        if not _is_as_recorded(predictor, model):
            raise ModelError("the manifest is not the one that was recorded")
        return predictor

    def _num_bytes(self) -> int:
        return sum(size for _, size in self._loaded.values())


def _size_bytes(model: Model) -> int:
    return model.size_bytes + OVERHEAD_BYTES


def _is_as_recorded(predictor: Predictor, model: Model) -> bool:
    """Return whether the manifest, which has the weights' checksum, equals the model's record."""
    if model.manifest.get("format_version") != Description.model_fields["format_version"].default:
        return True  # from the first release: a migration rewrote the record, not the file
    recorded = Manifest.model_validate_json(json.dumps(model.manifest))
    return recorded == predictor.description
