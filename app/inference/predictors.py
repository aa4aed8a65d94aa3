"""Models loaded once and kept, the least recently used going first."""

import json
import threading
from collections import OrderedDict

from dropout_core.errors import ModelError
from dropout_core.inference import Predictor
from dropout_core.tabular import MANIFEST, WEIGHTS, Description, Manifest
from store.artifacts import ArtifactStore
from store.errors import ModelNotFound
from store.models import Model

BESIDE_BYTES = 100 * 1024  # what a model takes beside its weights, about


class Predictors:
    """Predictors by model id, bounded by the bytes of their weights. Safe to share by threads."""

    def __init__(self, artifacts: ArtifactStore, *, max_bytes: int) -> None:
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._loaded: OrderedDict[str, tuple[Predictor, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, model: Model) -> Predictor:
        """Raises ModelNotFound if the model's files are gone, and ModelError if they are damaged or
        it cannot be served here.
        """
        with self._lock:
            if model.id in self._loaded:
                self._loaded.move_to_end(model.id)
                return self._loaded[model.id][0]
        predictor = self._load(model)
        with self._lock:
            self._loaded[model.id] = (predictor, model.size_bytes + BESIDE_BYTES)
            while self._num_bytes() > self._max_bytes and len(self._loaded) > 1:
                self._loaded.popitem(last=False)
        return predictor

    def forget(self, model_id: str) -> None:
        with self._lock:
            self._loaded.pop(model_id, None)

    def _load(self, model: Model) -> Predictor:
        try:
            manifest, _ = (
                self._artifacts.fetch(f"{model.artifact}/{name}") for name in (MANIFEST, WEIGHTS)
            )
            predictor = Predictor.load(manifest.parent)
        except (FileNotFoundError, ModelError) as error:
            # Deleted since its row was read.
            if isinstance(error.__cause__ or error, FileNotFoundError):
                raise ModelNotFound(model.id) from error
            raise
        if not _is_as_recorded(predictor, model):
            raise ModelError("the manifest is not the one that was recorded")
        return predictor

    def _num_bytes(self) -> int:
        return sum(size for _, size in self._loaded.values())


def _is_as_recorded(predictor: Predictor, model: Model) -> bool:
    """The manifest vouches for the weights, and the model's row for the manifest."""
    if model.manifest.get("format_version") != Description.model_fields["format_version"].default:
        return True  # of the first release: its row was rewritten since, and its file was not
    recorded = Manifest.model_validate_json(json.dumps(model.manifest))
    return recorded == predictor.description
